// A generator walks the API's own description against the running server, with valid and hostile input: never a defect (500), never silence, and
// every answer is what the description says. The world behind it is in memory; what answers mean is tested elsewhere.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { asList, asObject, type JsonObject, textAt, valueAt } from "../src/wire/json-value.ts";
import { ApiWorld } from "./api-world.ts";
import { aNode, aPod, aPodSubnet } from "./builders.ts";

/** An operation of the description. */
type Operation = {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly place: string;
    readonly schema: JsonObject;
  }[];
  readonly body: JsonObject | undefined;
  readonly responses: JsonObject;
};

/** A request as it goes over the wire. */
type Wish = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
};

/** Longer than any answer takes on a busy machine: what takes longer is called silence. */
const silenceMs = 60_000;

const runs = Number(process.env["API_CONTRACT_RUNS"] ?? 25);

/** Words that mean something in the world of this test. */
const known = fc.constantFrom(
  ...["10.0.70.2", "10.0.70.3", "10.0.70.9", "192.168.0.1", "fd00::2", "10.0.70.0/24"],
  ...["ns1", "web-0", "web", "blue", "statefulset", "deployments", "ip desc", "true"],
  ...["2026-11-21T05:43:40Z", "1", "0"],
);

const hostile = fc.oneof(
  fc.constantFrom(
    ...["", " ", "null", "-1", "1e309", "NaN", "9".repeat(400), "x".repeat(3_000)],
    ...["../../etc/passwd", "..", "%", "%00", "%2e%2e", "\u0000", "\u{1F389}", "'; --", "<script>"],
    ...["__proto__", "constructor", "toString", "hasOwnProperty", "10.0.70.999", "010.0.70.2"],
    ...[
      "fd00::1%eth0",
      "::ffff:10.0.70.2",
      "10.0.70.2/33",
      "2026-13-45",
      "+275760-09-13T00:00:00.001Z",
    ],
    ...["(a+)+$", "a".repeat(100) + "!", "\r\nx: y", "[]", "{}", "pool__x_"],
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
);

const anyJson = fc.jsonValue({ maxDepth: 4 });

/** Values that a schema accepts, as far as it is plain. */
function valid(schema: JsonObject): fc.Arbitrary<unknown> {
  const options = asList(schema["anyOf"] ?? schema["oneOf"]);
  if (options.length > 0)
    return fc.oneof(...options.map((option) => valid(asObject(option) ?? {})));
  if ("const" in schema) return fc.constant(schema["const"]);
  const allowed = asList(schema["enum"]);
  if (allowed.length > 0) return fc.constantFrom(...allowed);
  switch (schema["type"]) {
    case "integer":
    case "number":
      return fc.integer({
        min: Number(schema["minimum"] ?? -5),
        max: Math.min(Number(schema["maximum"] ?? 20), Number(schema["minimum"] ?? 0) + 1_000),
      });
    case "boolean":
      return fc.boolean();
    case "array":
      return fc.array(valid(asObject(schema["items"]) ?? {}), { maxLength: 4 });
    case "object": {
      const properties = Object.entries(asObject(schema["properties"]) ?? {});
      const required = asList(schema["required"]) as string[];
      return fc.record(
        Object.fromEntries(properties.map(([name, each]) => [name, valid(asObject(each) ?? {})])),
        { requiredKeys: required },
      );
    }
    case "string":
      return schema["format"] === "date-time"
        ? fc
            .date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
            .map((date) => date.toISOString())
        : known;
    default:
      return anyJson;
  }
}

/** Mostly what the schema accepts, with something else in any place. */
function nearly(schema: JsonObject): fc.Arbitrary<unknown> {
  const wrong = fc.oneof(hostile, anyJson, known);
  const within: fc.Arbitrary<unknown> =
    schema["type"] === "object"
      ? fc.record(
          Object.fromEntries(
            Object.entries(asObject(schema["properties"]) ?? {}).map(([name, each]) => [
              name,
              fc.oneof({ weight: 4, arbitrary: valid(asObject(each) ?? {}) }, wrong),
            ]),
          ),
          { requiredKeys: [] },
        )
      : schema["type"] === "array"
        ? fc.array(nearly(asObject(schema["items"]) ?? {}), { maxLength: 4 })
        : wrong;
  return fc.oneof({ weight: 3, arbitrary: valid(schema) }, { weight: 3, arbitrary: within }, wrong);
}

const textOf = (value: unknown) =>
  typeof value === "string" ? value : (JSON.stringify(value) ?? "");

function wishes(operation: Operation): fc.Arbitrary<Wish> {
  const { method, path, parameters, body } = operation;
  const inPath = parameters.filter(({ place }) => place === "path");
  const inQuery = parameters.filter(({ place }) => place === "query");
  const record = (of: typeof parameters, requiredKeys: string[]) =>
    fc.record(
      Object.fromEntries(of.map(({ name, schema }) => [name, nearly(schema).map(textOf)])),
      { requiredKeys },
    );
  const bodyText =
    body === undefined
      ? fc.constant(undefined)
      : fc.oneof(
          { weight: 6, arbitrary: nearly(body).map((value) => JSON.stringify(value)) },
          fc.constantFrom(undefined, "", "{", "[", '{"ips":', "nul", "\u0000", "[".repeat(9_000)),
          fc.constant('{"__proto__": {"x": 1}}'),
        );
  const contentType = fc.oneof(
    { weight: 8, arbitrary: fc.constant("application/json") },
    fc.constantFrom("", "text/plain", "application/xml", "application/json; charset=utf-16", "x"),
  );
  return fc
    .tuple(
      record(
        inPath,
        inPath.map(({ name }) => name),
      ),
      record(inQuery, []),
      fc.dictionary(fc.constantFrom("x", "__proto__", "page", "size", "a[]"), hostile, {
        maxKeys: 1,
      }),
      bodyText,
      contentType,
      fc.oneof(
        { weight: 9, arbitrary: fc.constant(method) },
        fc.constantFrom("PATCH", "DELETE", "PUT", "POST", "GET"),
      ),
    )
    .map(([values, query, strange, text, type, verb]) => {
      const filled = path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => {
        // Without anything there it is the path of another operation.
        const value = values[name] || "-";
        return encodeURIComponent(value.toWellFormed());
      });
      const pairs = Object.entries({ ...query, ...strange }).map(
        ([name, value]) =>
          `${encodeURIComponent(name)}=${encodeURIComponent(value.toWellFormed())}`,
      );
      return {
        method: verb,
        path: pairs.length === 0 ? filled : `${filled}?${pairs.join("&")}`,
        headers: text === undefined || type === "" ? {} : { "content-type": type },
        body: text,
      };
    });
}

/** The answer; of a stream its head alone. Rejects when there is none in time. */
function send(port: number, wish: Wish): Promise<{ status: number; type: string; text: string }> {
  return new Promise((resolve, reject) => {
    const { method, path, body } = wish;
    const headers = {
      ...wish.headers,
      ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
    };
    const asked = request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
      const status = response.statusCode ?? 0;
      const type = response.headers["content-type"] ?? "";
      if (type.startsWith("text/event-stream")) {
        resolve({ status, type, text: "" });
        asked.destroy();
        return;
      }
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("end", () => resolve({ status, type, text: Buffer.concat(chunks).toString() }));
      response.once("error", reject);
    });
    asked.setTimeout(silenceMs, () => asked.destroy(new Error(`no answer in ${silenceMs} ms`)));
    asked.once("error", reject);
    asked.end(body);
  });
}

/** A schema with what it refers to in its place. */
function inlined(schema: unknown, document: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((item) => inlined(item, document));
  const object = asObject(schema);
  if (object === undefined) return schema;
  const reference = object["$ref"];
  if (typeof reference === "string") {
    const found = valueAt(document, "components", "schemas", reference.split("/").at(-1) ?? "");
    assert.ok(found !== undefined, `${reference} leads nowhere`);
    return inlined(found, document);
  }
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, inlined(value, document)]),
  );
}

function operationsOf(document: unknown): readonly Operation[] {
  return Object.entries(asObject(valueAt(document, "paths")) ?? {}).flatMap(([path, methods]) =>
    Object.entries(asObject(methods) ?? {}).map(([method, found]) => {
      const operation = asObject(inlined(found, document)) ?? {};
      return {
        method: method.toUpperCase(),
        path,
        parameters: asList(operation["parameters"]).map((parameter) => ({
          name: textAt(parameter, "name") ?? "",
          place: textAt(parameter, "in") ?? "",
          schema: asObject(valueAt(parameter, "schema")) ?? {},
        })),
        body: asObject(valueAt(operation["requestBody"], "content", "application/json", "schema")),
        responses: asObject(operation["responses"]) ?? {},
      };
    }),
  );
}

const opened = await ApiWorld.leading([
  aPodSubnet(),
  aPodSubnet({ cidr: "fd00::/64", ranges: ["fd00::2~fd00::ff"], gateway: "fd00::1" }),
]);
const port = Number(new URL(opened.url).port);
const document: unknown = (await opened.call("/openapi.json")).body;
const operations = operationsOf(document);

describe("the API's description and the server agree", () => {
  const validators = new Map<unknown, ReturnType<typeof Compile>>();

  before(async () => {
    const { world } = opened;
    world.cluster.putNode(aNode("n1", "10.0.1.1"));
    await world.settle();
    for (const name of ["web-0", "web-1"]) await world.schedule(aPod({ name, policy: "never" }));
    world.cluster.putPool({ name: "blue", size: 2, preAllocate: true });
    await world.settle();
    await world.deletePod({ namespace: "ns1", name: "web-1" });
  });

  after(async () => {
    await opened.close();
  });

  /** The schema of an answer; undefined when the description knows none of that status. */
  function schemaOf(
    responses: JsonObject,
    status: number,
    type: string,
  ): { readonly schema: unknown } | undefined {
    const response = responses[String(status)] ?? responses["default"];
    if (response === undefined) return undefined;
    return { schema: valueAt(response, "content", type.split(";")[0] ?? "", "schema") };
  }

  function check(operation: Operation, wish: Wish, answer: Awaited<ReturnType<typeof send>>) {
    const { status, type, text } = answer;
    const what = `${wish.method} ${wish.path} ${wish.body ?? ""}\nanswered ${status} ${type} ${text.slice(0, 500)}`;
    assert.notEqual(status, 500, what);
    const served =
      wish.method === operation.method
        ? operation
        : operations.find(({ method, path }) => method === wish.method && path === operation.path);
    if (status >= 400) {
      const problem = JSON.parse(text) as JsonObject;
      assert.equal(problem["code"], status, what);
      assert.ok(String(problem["message"]).length > 0, what);
      assert.doesNotMatch(text, /\bat .*\.[tj]s:\d+|node_modules|undefined/, what);
      if (served === undefined) return;
    }
    assert.ok(served !== undefined, what);
    const described = schemaOf(served.responses, status, type);
    assert.ok(described !== undefined, `${what}\nbut the description has no such status`);
    if (described.schema === undefined || !type.startsWith("application/json")) return;
    let validator = validators.get(described.schema);
    if (validator === undefined) {
      validator = Compile(described.schema as TSchema);
      validators.set(described.schema, validator);
    }
    const body: unknown = JSON.parse(text);
    if (!validator.Check(body)) {
      const [error] = validator.Errors(body);
      assert.fail(`${what}\n${error?.instancePath}: ${error?.message}`);
    }
  }

  it("describes operations to walk through", () => {
    assert.ok(operations.length >= 18, `${operations.length}`);
  });

  for (const operation of operations) {
    it(`${operation.method} ${operation.path}`, async () => {
      await fc.assert(
        fc.asyncProperty(wishes(operation), async (wish) => {
          check(operation, wish, await send(port, wish));
        }),
        { numRuns: runs, endOnFailure: true },
      );
    });
  }

  it("the world is whole afterwards: a page of addresses and the health are answered", async () => {
    assert.equal((await opened.call("/v1/ip?size=5")).status, 200);
    assert.equal((await opened.call("/readyz")).status, 200);
  });
});
