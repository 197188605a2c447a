// Where the API server is found and which credentials are used. That a real API server accepts them is tested in test/e2e.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WorldError } from "../../ports/world-error.ts";
import { type AccessOptions, openApiAccess } from "./credentials.ts";

const inCluster = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-credentials-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function refusal(options: AccessOptions): Promise<string> {
  try {
    const access = await openApiAccess(options);
    await access.credentials();
  } catch (error) {
    assert.ok(error instanceof WorldError, String(error));
    assert.equal(error.code, "KUBECONFIG_UNUSABLE");
    return error.message;
  }
  return assert.fail("it was accepted");
}

test("in a pod the service account is used, and read again when the token was refused", async () => {
  await withFolder(async (folder) => {
    await writeFile(join(folder, "token"), "one\n");
    await writeFile(join(folder, "ca.crt"), "CA");
    const access = await openApiAccess({ env: inCluster, serviceAccountFolder: folder });
    assert.equal(access.server.href, "https://10.96.0.1/");
    const first = await access.credentials();
    assert.deepEqual(first, { tls: { ca: "CA" }, authorization: "Bearer one" });
    await writeFile(join(folder, "token"), "two\n");
    assert.equal(await access.credentials(), first, "not read for every request");
    access.forget();
    const second = await access.credentials();
    assert.equal(second.authorization, "Bearer two");
    assert.equal(second.tls, first.tls, "the same authority keeps the connections");
    await writeFile(join(folder, "ca.crt"), "CA2");
    access.forget();
    assert.deepEqual((await access.credentials()).tls, { ca: "CA2" });
  });
});

test("an IPv6 service address is a valid URL", async () => {
  const access = await openApiAccess({
    env: { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" },
  });
  assert.equal(access.server.href, "https://[fd00::1]:6443/");
});

test("--master wins over the environment, and over plain HTTP no token is sent", async () => {
  const access = await openApiAccess({ env: inCluster, master: "http://127.0.0.1:8001" });
  assert.equal(access.server.href, "http://127.0.0.1:8001/");
  assert.deepEqual(await access.credentials(), { tls: {}, authorization: undefined });
});

test("what is missing is named with the next step", async () => {
  assert.match(await refusal({ env: {} }), /--kubeconfig FILE or --master URL/);
  assert.match(await refusal({ env: {}, master: "ftp://x" }), /--master is "ftp:\/\/x"/);
  await withFolder(async (folder) => {
    const env = inCluster;
    assert.match(
      await refusal({ env, serviceAccountFolder: folder }),
      /automountServiceAccountToken/,
    );
    await writeFile(join(folder, "ca.crt"), "CA");
    await writeFile(join(folder, "token"), " \n");
    assert.match(await refusal({ env, serviceAccountFolder: folder }), /token is empty/);
  });
});

test("a kubeconfig gives server, authority and token; --master replaces the server", async () => {
  await withFolder(async (folder) => {
    const file = join(folder, "config");
    const ca = Buffer.from("CA").toString("base64");
    await writeFile(
      file,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
        clusters: [
          {
            name: "k",
            cluster: { server: "https://10.0.0.1:6443", "certificate-authority-data": ca },
          },
        ],
        users: [{ name: "u", user: { token: "secret" } }],
      }),
    );
    const access = await openApiAccess({ kubeconfig: file, env: {} });
    assert.equal(access.server.href, "https://10.0.0.1:6443/");
    const credentials = await access.credentials();
    assert.equal(credentials.authorization, "Bearer secret");
    assert.equal(String(credentials.tls.ca), "CA");
    access.forget();
    assert.equal((await access.credentials()).tls, credentials.tls);
    const other = await openApiAccess({ kubeconfig: file, master: "https://10.0.0.2", env: {} });
    assert.equal(other.server.href, "https://10.0.0.2/");
  });
});

test("a kubeconfig that cannot be used says why, names the file and never shows the token", async () => {
  await withFolder(async (folder) => {
    const file = join(folder, "config");
    assert.match(await refusal({ kubeconfig: file }), /config: .*ENOENT.*--kubeconfig/);
    await writeFile(file, "{ not yaml: [");
    assert.match(await refusal({ kubeconfig: file }), /config/);
    await writeFile(
      file,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "nowhere",
        contexts: [],
        clusters: [],
        users: [{ name: "u", user: { token: "secret" } }],
      }),
    );
    const message = await refusal({ kubeconfig: file });
    assert.match(message, /current-context "nowhere"/);
    await writeFile(
      file,
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
        clusters: [{ name: "k", cluster: { server: "https://k", "proxy-url": "http://p" } }],
        users: [{ name: "u", user: {} }],
      }),
    );
    assert.match(await refusal({ kubeconfig: file }), /proxy-url, which is not supported/);
    assert.ok(!message.includes("secret"));
  });
});
