// Where the command line looks for the server, and what it refuses.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { CommandProblem } from "./command-problem.ts";
import type { ConnectionOptions } from "./connection.ts";
import { openConnection } from "./find-server.ts";
import { servicePath } from "./kubeconfig.ts";

const folder = mkdtempSync(join(tmpdir(), "find-server-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const service = "kube-system/https:galaxy-ipam:9041";
const env = { HOME: folder };

async function found(options: Partial<ConnectionOptions>, more = {}) {
  const { base, headers } = await openConnection(
    { service, requestTimeout: 30, ...options },
    { ...env, ...more },
  );
  return { url: base.href, headers };
}

async function refusal(options: Partial<ConnectionOptions>, more = {}): Promise<string> {
  const error: unknown = await found(options, more).catch((problem: unknown) => problem);
  assert.ok(error instanceof CommandProblem, String(error));
  assert.equal(error.exitCode, 2);
  return error.message;
}

function kubeconfig(name: string, user: object, server = "https://10.0.0.1:6443"): string {
  const file = join(folder, name);
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "main",
    contexts: [{ name: "main", context: { cluster: "one", user: "me" } }],
    clusters: [{ name: "one", cluster: { server } }],
    users: [{ name: "me", user }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

describe("the server", () => {
  test("is the one that is named, on this machine without and elsewhere with encryption", async () => {
    const urls = [
      ["http://127.0.0.1:9041/", "http://127.0.0.1:9041/"],
      ["localhost:1", "http://localhost:1/"],
      ["galaxy.example:9041", "https://galaxy.example:9041/"],
      ["https://[fd00::1]:9041/base/", "https://[fd00::1]:9041/base"],
    ] as const;
    for (const [server, url] of urls) assert.equal((await found({ server })).url, url);
    assert.equal((await found({}, { GALAXY_SERVER: "localhost:7" })).url, "http://localhost:7/");
  });

  test("is this machine when nothing says another", async () => {
    assert.equal((await found({})).url, "http://127.0.0.1:9041/");
  });

  test("gets the token of the option, the file or the environment, and never in clear text elsewhere", async () => {
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "from-file\n");
    const server = "https://galaxy.example";
    const sent = async (options: Partial<ConnectionOptions>, more = {}) =>
      (await found({ server, ...options }, more)).headers["authorization"];
    assert.equal(await sent({ token: "t" }), "Bearer t");
    assert.equal(await sent({ tokenFile }), "Bearer from-file");
    assert.equal(await sent({}, { GALAXY_TOKEN: "e" }), "Bearer e");
    assert.equal(await sent({}), undefined);
    assert.match(
      await refusal({ server: "http://10.0.0.1", token: "t" }),
      /not encrypted.*use https/,
    );
    assert.match(await refusal({ server, token: "a b" }), /blanks/);
    assert.match(await refusal({ server, token: "t", tokenFile }), /use one/);
    assert.match(
      await refusal({ server, tokenFile: join(folder, "none") }),
      /--token-file cannot be read/,
    );
  });

  test("is refused when it is no address", async () => {
    assert.match(await refusal({ server: "ftp://x" }), /"ftp:\/\/x" of --server.*write it like/);
    assert.match(await refusal({}, { GALAXY_SERVER: "http://" }), /GALAXY_SERVER/);
  });

  test("is behind the API server of a kubeconfig, with the token once for each of the two", async () => {
    const file = kubeconfig("token-config", { token: "mine" });
    const path = "/api/v1/namespaces/kube-system/services/https:galaxy-ipam:9041/proxy";
    assert.deepEqual(await found({ kubeconfig: file }), {
      url: `https://10.0.0.1:6443${path}`,
      headers: { authorization: "Bearer mine", "x-galaxy-authorization": "Bearer mine" },
    });
    assert.deepEqual((await found({ token: "other" }, { KUBECONFIG: file })).headers, {
      authorization: "Bearer mine",
      "x-galaxy-authorization": "Bearer other",
    });
    mkdirSync(join(folder, "home", ".kube"), { recursive: true });
    writeFileSync(
      join(folder, "home", ".kube", "config"),
      JSON.stringify({ apiVersion: "v1", kind: "Config" }),
    );
    assert.match(await refusal({}, { HOME: join(folder, "home") }), /names no cluster/);
    assert.match(await refusal({ kubeconfig: join(folder, "gone") }), /cannot be read/);
    assert.match(await refusal({ context: "x" }), /needs a kubeconfig/);
  });

  test("is named as namespace, scheme, name and port behind an API server", () => {
    assert.equal(
      servicePath("galaxy/galaxy-ipam:api"),
      "/api/v1/namespaces/galaxy/services/galaxy-ipam:api/proxy",
    );
    for (const wrong of ["galaxy-ipam", "a/b/c", "a/../../x", "a/ftp:b:1", ""]) {
      assert.throws(() => servicePath(wrong), /write it like kube-system/);
    }
  });
});
