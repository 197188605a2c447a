// The documents of the API about itself: Swagger 1.2 against the established one, OpenAPI 3.1 against its own references, the page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aPodSubnet } from "../builders.ts";

type Json = { readonly [name: string]: Json } & readonly Json[] & string;

/** The newer established document without its prose: operations and models. */
const established = JSON.parse(
  readFileSync(new URL("established-swagger.json", import.meta.url), "utf8"),
) as {
  readonly operations: readonly {
    readonly path: string;
    readonly method: string;
    readonly nickname: string;
    readonly type: string;
    readonly parameters: readonly { readonly name: string }[];
    readonly responseMessages: readonly { readonly code: number }[];
    readonly produces: readonly string[];
    readonly consumes: readonly string[];
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

/** What the older document has and the newer one has not. */
const older = {
  parameters: { "GET /v1/ip": ["isDeployment"] },
  properties: { "api.FloatingIP": ["attr", "isDeployment"] },
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

  test("Swagger 1.2 has every established operation with its parameters and answers", async () => {
    const { status, body } = await api.call("/apidocs.json/v1");
    assert.equal(status, 200);
    assert.equal(body.swaggerVersion, "1.2");
    assert.equal(body.resourcePath, "/v1");
    assert.equal(body.basePath, api.url);
    for (const expected of established.operations) {
      const where = `${expected.method} ${expected.path}`;
      const paths = body.apis as readonly Json[];
      const path = paths.find((found) => found["path"] === expected.path);
      const operations = (path?.["operations"] ?? []) as readonly Json[];
      const operation = operations.find((found) => found["method"] === expected.method);
      assert.ok(operation !== undefined, where);
      const { parameters, responseMessages, path: _, ...rest } = expected;
      assertWithin(operation, rest, where);
      for (const parameter of parameters) {
        const found = (operation["parameters"] as readonly Json[]).find(
          ({ name }) => name === (parameter.name as unknown),
        );
        assertWithin(found, parameter, `${where} ${parameter.name}`);
      }
      for (const message of responseMessages) {
        const found = (operation["responseMessages"] as readonly Json[]).find(
          ({ code }) => code === (message.code as unknown),
        );
        assertWithin(found, message, `${where} ${message.code}`);
      }
      for (const name of older.parameters[where as "GET /v1/ip"] ?? []) {
        assert.ok(
          (operation["parameters"] as readonly Json[]).some((found) => found["name"] === name),
        );
      }
    }
  });

  test("Swagger 1.2 has every established model with its properties, and asks for no more of them", async () => {
    const { body } = await api.call("/apidocs.json/v1");
    for (const [id, expected] of Object.entries(established.models)) {
      const model = body.models[id];
      assert.ok(model !== undefined, id);
      assert.equal(model.id, id);
      assertWithin(model.properties, expected.properties, id);
      const required = new Set(expected.required ?? []);
      for (const name of model.required ?? []) assert.ok(required.has(name), `${id}.${name}`);
      for (const name of required)
        assert.ok((model.required ?? []).includes(name), `${id}.${name}`);
    }
    for (const [id, names] of Object.entries(older.properties)) {
      for (const name of names) assert.ok(Object.hasOwn(body.models[id].properties, name), name);
    }
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
  "GET /v1/status",
];
