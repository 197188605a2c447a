// The documents of the API about itself: Swagger 1.2 against both established ones, OpenAPI 3.1 against its own references, the page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aPodSubnet } from "../builders.ts";

type Json = { readonly [name: string]: Json } & readonly Json[] & string;

/** An established document without its prose: operations and models. The older one is a table and leaves some members out. */
type Established = {
  readonly operations: readonly {
    readonly path: string;
    readonly method: string;
    readonly parameters: readonly { readonly name: string }[];
    readonly responseMessages: readonly {
      readonly code: number;
      readonly responseModel?: string;
    }[];
  }[];
  readonly models: Readonly<
    Record<
      string,
      {
        readonly id: string;
        readonly required?: readonly string[];
        readonly properties: Readonly<Record<string, unknown>>;
      }
    >
  >;
};

function read(name: string): Established {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}

const newer = read("established-swagger.json");
const older = read("established-swagger-older.json");

/** Where the older document says otherwise than the newer one, which holds: no document can say both. */
const replaced = {
  /** Answers whose model has become another one that has everything of the former. */
  answers: { "POST /v1/pool 200": "api.UpdatePoolResp" } as Readonly<Record<string, string>>,
  /** Properties that are not there in every answer any more. */
  required: ["api.FloatingIP.attr"],
};

/** Every member of `expected` is in `actual` with the same value; lists are equal. */
function assertWithin(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected !== "object" || expected === null || Array.isArray(expected)) {
    assert.deepEqual(actual, expected, where);
    return;
  }
  assert.ok(typeof actual === "object" && actual !== null, where);
  for (const [name, value] of Object.entries(expected)) {
    assertWithin((actual as Record<string, unknown>)[name], value, `${where}.${name}`);
  }
}

describe("the documents", () => {
  let api: ApiWorld;
  before(async () => {
    api = await ApiWorld.leading([aPodSubnet()]);
  });
  after(() => api.close());

  for (const [age, established] of [
    ["newer", newer],
    ["older", older],
  ] as const) {
    test(`Swagger 1.2 has every operation of the ${age} document with its parameters and answers`, async () => {
      const { status, body } = await api.call("/apidocs.json/v1");
      assert.equal(status, 200);
      assert.equal(body.swaggerVersion, "1.2");
      assert.equal(body.resourcePath, "/v1");
      assert.equal(body.basePath, api.url);
      assert.ok(established.operations.length === 5);
      for (const expected of established.operations) {
        const where = `${expected.method} ${expected.path}`;
        const paths = body.apis as readonly Json[];
        const path = paths.find((found) => found["path"] === expected.path);
        const operations = (path?.["operations"] ?? []) as readonly Json[];
        const operation = operations.find((found) => found["method"] === expected.method);
        assert.ok(operation !== undefined, where);
        const { parameters, responseMessages, path: _, ...rest } = expected;
        assertWithin(operation, rest, where);
        const served = operation["parameters"] as readonly Json[];
        for (const parameter of parameters) {
          const found = served.find(({ name }) => name === (parameter.name as unknown));
          assertWithin(found, parameter, `${where} ${parameter.name}`);
        }
        for (const { name, required } of served) {
          const isKnown = parameters.some((parameter) => parameter.name === (name as unknown));
          assert.ok(isKnown || (required as unknown) === false, `${where} asks for ${name}`);
        }
        for (const message of responseMessages) {
          const answer = `${where} ${message.code}`;
          const found = (operation["responseMessages"] as readonly Json[]).find(
            ({ code }) => code === (message.code as unknown),
          );
          const other = established === older ? replaced.answers[answer] : undefined;
          if (other === undefined) {
            assertWithin(found, message, answer);
            continue;
          }
          assertWithin(found, { ...message, responseModel: other }, answer);
          const former = established.models[message.responseModel ?? ""];
          assert.ok(former !== undefined, answer);
          assertWithin(body.models[other].properties, former.properties, answer);
          for (const name of former.required ?? [])
            assert.ok(body.models[other].required.includes(name), `${answer} ${name}`);
        }
      }
    });

    test(`Swagger 1.2 has every model of the ${age} document with its properties`, async () => {
      const { body } = await api.call("/apidocs.json/v1");
      assert.ok(Object.keys(established.models).length >= 9);
      for (const [id, expected] of Object.entries(established.models)) {
        const model = body.models[id];
        assert.ok(model !== undefined, id);
        assert.equal(model.id, id);
        assertWithin(model.properties, expected.properties, id);
        for (const name of expected.required ?? []) {
          const where = `${id}.${name}`;
          const isReplaced = established === older && replaced.required.includes(where);
          assert.equal((model.required ?? []).includes(name), !isReplaced, where);
        }
      }
    });
  }

  test("Swagger 1.2 asks for no more of an established model than the newer document", async () => {
    const { body } = await api.call("/apidocs.json/v1");
    for (const [id, { required = [] }] of Object.entries(newer.models)) {
      for (const name of body.models[id].required ?? []) {
        assert.ok(required.includes(name), `${id}.${name}`);
      }
    }
  });

  test("a client made from the older document is understood", async () => {
    const query = older.operations[0]?.parameters.map(({ name }) => name) ?? [];
    const values: Record<string, string> = {
      isDeployment: "true",
      page: "0",
      size: "10",
      sort: "ip asc",
    };
    const search = new URLSearchParams(
      Object.fromEntries(query.map((name) => [name, values[name] ?? "x"])),
    );
    const list = await api.call(`/v1/ip?${search.toString()}`);
    assert.deepEqual([list.status, list.body.content], [200, []]);
    // It knows nothing of preAllocateIP.
    const pool = await api.call("/v1/pool", { body: { name: "older", size: 2 } });
    assert.deepEqual([pool.status, pool.body.code], [200, 200]);
    const shown = await api.call("/v1/pool/older");
    assert.deepEqual([shown.status, shown.body.pool.size], [200, 2]);
    // It sends back what it was shown, attr and all.
    const ips = [
      {
        attr: "",
        ip: "10.49.27.2",
        isDeployment: false,
        policy: 0,
        namespace: "default",
        appName: "sts",
        podName: "sts-0",
        poolName: "",
        releasable: true,
        status: "Deleted",
        updateTime: "2019-10-10T08:37:13.498446133Z",
      },
    ];
    const known = Object.keys(older.models["api.FloatingIP"]?.properties ?? {});
    assert.deepEqual(Object.keys(ips[0] ?? {}).toSorted(), known.toSorted());
    const release = await api.call("/v1/ip", { body: { ips } });
    assert.deepEqual([release.status, release.body.unreleased], [202, ["10.49.27.2"]]);
    assert.equal((await api.call("/v1/pool/older", { method: "DELETE" })).status, 200);
  });

  test("the resource listing names the declaration", async () => {
    const { body } = await api.call("/apidocs.json");
    assert.equal(body.swaggerVersion, "1.2");
    assert.deepEqual(
      body.apis.map(({ path }: { path: string }) => path),
      ["/v1"],
    );
  });

  test("every model that Swagger 1.2 refers to is there", async () => {
    const { body } = await api.call("/apidocs.json/v1");
    const references = [
      ...JSON.stringify(body).matchAll(/"(?:\$ref|responseModel)":"([^"]+)"/g),
    ].map(([, name]) => name as string);
    for (const name of references) assert.ok(Object.hasOwn(body.models, name), name);
  });

  test("OpenAPI 3.1 has every operation, and every reference in it leads somewhere", async () => {
    const { body } = await api.call("/openapi.json");
    assert.equal(body.openapi, "3.1.0");
    const served = new Set<string>();
    for (const [path, operations] of Object.entries(body.paths as Record<string, object>)) {
      for (const method of Object.keys(operations)) served.add(`${method.toUpperCase()} ${path}`);
    }
    for (const operation of operations) assert.ok(served.has(operation), operation);
    const references = [
      ...JSON.stringify(body).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g),
    ];
    assert.ok(references.length > 0);
    for (const [, name] of references) {
      assert.ok(Object.hasOwn(body.components.schemas, name as string), name);
    }
    const ids = Object.values(body.paths as Record<string, Record<string, { operationId: string }>>)
      .flatMap((operations) => Object.values(operations))
      .map(({ operationId }) => operationId);
    assert.equal(new Set(ids).size, ids.length);
  });

  test("the page names every operation and loads nothing", async () => {
    const { status, text, headers } = await api.call("/docs");
    assert.equal(status, 200);
    assert.match(headers.get("content-type") ?? "", /^text\/html/);
    assert.match(text, /DELETE \/v1\/reservation\/\{ip\}/);
    assert.doesNotMatch(text, /<script|src=|https?:\/\//);
  });
});

/** What every mode of the program serves. */
const operations = [
  "GET /v1/ip",
  "POST /v1/ip",
  "GET /v1/ip/{ip}",
  "GET /v1/pool",
  "POST /v1/pool",
  "GET /v1/pool/{name}",
  "DELETE /v1/pool/{name}",
  "PUT /v1/reservation/{ip}",
  "DELETE /v1/reservation/{ip}",
  "GET /v1/subnet",
  "GET /v1/address-map",
  "GET /v1/explain/pod/{namespace}/{name}",
  "GET /v1/vip",
  "GET /v1/check",
  "POST /v1/check/repair",
  "POST /v1/import",
  "GET /v1/backup",
  "POST /v1/restore",
  "POST /v1/restore/pools",
  "POST /v1/restore/quotas",
  "GET /v1/status",
];
