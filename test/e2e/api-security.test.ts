// Who may use the API of the program in a cluster, with the tokens and rights of a real API server: allowed, forbidden, expired, absent, and
// what happens while the API server is away. Then the same with certificates in place of tokens, and a scheduler that shows one.

import assert from "node:assert/strict";
import { createSign } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { testCertificates, userCertificates } from "../certificates.ts";
import { type ApiClient, floatIpsOf, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import {
  type ChildProgram,
  freePort,
  removeAtExit,
  startProgram,
  tailOf,
} from "../control-plane/child-program.ts";
import { fourNodes, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { Galaxyctl } from "../control-plane/galaxyctl.ts";
import { pods } from "../control-plane/kinds.ts";
import { aConfigMap, aPod } from "../control-plane/manifests.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

const skip = await reasonToSkip();

describe("the API of the program in a cluster", { skip }, () => {
  let plane: ControlPlane;
  let api: ApiClient;
  let ipam: GalaxyIpam;
  let secured: ChildProgram | undefined;
  let nodes: SimulatedNodes | undefined;

  before(async () => {
    plane = await startControlPlane({
      hasControllers: false,
      users: [
        { name: "reader", groups: ["lookers"] },
        { name: "stranger", groups: [] },
      ],
    });
    api = plane.api;
    await api.create(aConfigMap({ floatingips: twoSubnets }));
    await grant("lookers", { kind: "Group", name: "lookers" }, ["get", "list"]);
    ipam = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: ["--resync-interval=1s", "--leader-elect=false"],
    });
    await ipam.whenReady();
  });

  after(async () => {
    await nodes?.stop();
    await secured?.stop("SIGTERM", 30_000);
    await ipam?.stop();
    await plane?.stop();
  });

  async function grant(
    name: string,
    subject: Readonly<Record<string, string>>,
    verbs: readonly string[],
  ): Promise<void> {
    const rbac = "rbac.authorization.k8s.io";
    await api.create({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name },
      rules: [{ apiGroups: ["galaxy.k8s.io"], resources: ["floatingips", "pools"], verbs }],
    });
    await api.create({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      subjects: [subject],
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name },
    });
  }

  async function ask(
    token: string | undefined,
    call = "GET /v1/ip",
  ): Promise<{ readonly status: number; readonly text: string }> {
    const [method = "", path = ""] = call.split(" ");
    const response = await fetch(`${ipam.apiUrl}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(method === "POST" ? { "content-type": "application/json" } : {}),
      },
      ...(method === "POST" ? { body: JSON.stringify({ ips: [{ ip: "10.49.70.2" }] }) } : {}),
    });
    return { status: response.status, text: await response.text() };
  }

  /** Rights and tokens take effect in the API server a moment after they were written. */
  async function waitForStatus(status: number, token: string | undefined, call?: string) {
    return await waitUntil(
      `${call ?? "GET /v1/ip"} to answer ${status}`,
      () => ask(token, call),
      (answer) => answer.status === status,
      { timeoutMs: 60_000 },
    );
  }

  test("without a token nothing is answered but health and metrics", async () => {
    for (const call of [
      "GET /v1/ip",
      "GET /v1/subnet",
      "GET /v1/history",
      "GET /v1/events",
      "POST /v1/ip",
      "DELETE /v1/pool/blue",
    ]) {
      const { status, text } = await ask(undefined, call);
      assert.equal(status, 401, call);
      assert.doesNotMatch(text, /10\.49/, call);
    }
    for (const path of ["/livez", "/readyz", "/healthy", "/metrics"]) {
      assert.equal((await ask(undefined, `GET ${path}`)).status, 200, path);
    }
  });

  test("who may read reads and cannot change; the administrator may do both; a stranger nothing", async () => {
    const [reader, stranger, admin] = ["reader", "stranger", "admin"].map((name) =>
      plane.tokenOf(name),
    );
    await waitForStatus(200, reader);
    assert.equal((await ask(reader, "GET /v1/subnet")).status, 200);
    for (const call of ["POST /v1/ip", "DELETE /v1/pool/blue"]) {
      const { status, text } = await ask(reader, call);
      assert.equal(status, 403, call);
      assert.match(text, /needs the verb delete on (floatingips|pools) of galaxy\.k8s\.io/);
    }
    assert.equal((await ask(stranger)).status, 403);
    assert.equal((await ask(admin)).status, 200);
    assert.notEqual((await ask(admin, "POST /v1/ip")).status, 403);
  });

  test("a token that nobody issued, and one that expired, are refused alike", async () => {
    const account = { name: "scripts", namespace: "default" };
    await api.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: account });
    await grant("scripts", { kind: "ServiceAccount", ...account }, ["list"]);
    const issued = (await api.call(
      "POST",
      "/api/v1/namespaces/default/serviceaccounts/scripts/token",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: 600 },
      },
    )) as { readonly status: { readonly token: string } };
    const { token } = issued.status;
    await waitForStatus(200, token);
    // The same token as the API server would have issued it an hour ago for ten minutes.
    const expired = resigned(token, (claims) => ({
      ...claims,
      iat: Number(claims["iat"]) - 3_600,
      nbf: Number(claims["nbf"]) - 3_600,
      exp: Number(claims["exp"]) - 3_600,
    }));
    const unchanged = resigned(token, (claims) => claims);
    assert.equal((await ask(unchanged)).status, 200, "the key of the test is the issuer's");
    const answers = await Promise.all([ask(expired), ask("made-up"), ask(`${token}x`)]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [401, 401, 401],
    );
    const messages = answers.map(({ text }) => (JSON.parse(text) as { message: string }).message);
    assert.equal(new Set(messages).size, 1, messages.join("\n"));
  });

  test("a right that was taken away is gone in seconds", async () => {
    const token = plane.tokenOf("reader");
    await waitForStatus(200, token);
    await api.call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/lookers");
    await waitForStatus(403, token);
  });

  test("while the API server is away nobody new is let in, the reason stays inside, and it heals by itself", async () => {
    const token = plane.tokenOf("admin");
    await waitForStatus(200, token);
    await plane.stopApiServer();
    const { text } = await waitForStatus(503, token);
    const { message } = JSON.parse(text) as { readonly message: string };
    assert.equal(message, "permissions cannot be checked now; try again in a moment");
    assert.equal((await ask(undefined, "GET /livez")).status, 200);
    await plane.startApiServer();
    await waitForStatus(200, token);
  });

  test("with certificates: users and the scheduler are known by theirs, and renewed ones are taken without a restart", async () => {
    await ipam.stop();
    const folder = mkdtempSync(join(tmpdir(), "galaxy-certificates-"));
    removeAtExit(folder);
    const file = (name: string, text?: string) => {
      if (text !== undefined) writeFileSync(join(folder, name), `${text}\n`);
      return join(folder, name);
    };
    const { authority, client, other, server, stranger } = testCertificates;
    const ca = file("ca.crt", authority);
    const [port, apiPort] = [await freePort(), await freePort()];
    const logFile = file("galaxy-ipam.log");
    secured = startProgram({
      name: "galaxy-ipam",
      file: process.execPath,
      args: [
        "--disable-warning=ExperimentalWarning",
        fileURLToPath(new URL("../../src/bin/galaxy-ipam.ts", import.meta.url)),
        `--kubeconfig=${plane.kubeconfigOf("galaxy-ipam")}`,
        `--port=${port}`,
        `--api-port=${apiPort}`,
        "--leader-elect=false",
        `--tls-cert-file=${file("tls.crt", server.cert)}`,
        `--tls-private-key-file=${file("tls.key", server.key)}`,
        `--extender-client-ca-file=${ca}`,
        `--api-client-ca-file=${file("users.crt", userCertificates.authority)}`,
      ],
      logFile,
    });
    const galaxyctl = new Galaxyctl({ GALAXY_SERVER: `https://localhost:${apiPort}` });
    const ask = async (user: "alice" | "former" | "nobody", ...args: readonly string[]) => {
      const flags = ["--certificate-authority", ca];
      if (user !== "nobody") {
        const { cert, key } = userCertificates[user];
        flags.push("--client-certificate", file(`${user}.crt`, cert));
        flags.push("--client-key", file(`${user}.key`, key));
      }
      const { code, stdout, stderr } = await galaxyctl.run([...flags, ...args]);
      return { code, text: `${stdout}${stderr}` };
    };
    // Alice is of the group lookers.
    await grant("lookers-again", { kind: "Group", name: "lookers" }, ["get", "list"]);
    await waitUntil(
      "alice to see the addresses",
      () => ask("alice", "ip", "list"),
      ({ code }) => code === 0,
      { timeoutMs: 90_000 },
    );
    const changed = await ask("alice", "ip", "reserve", "10.49.70.9");
    assert.notEqual(changed.code, 0);
    assert.match(changed.text, /needs the verb create on floatingips/);
    assert.match((await ask("nobody", "ip", "list")).text, /bearer token is needed/);
    assert.match((await ask("former", "ip", "list")).text, /former\.crt has expired on 2021-01-01/);

    nodes = await startSimulatedNodes(api);
    await nodes.add(fourNodes);
    const schedulerWith = (name: string, pair: { readonly cert: string; readonly key: string }) =>
      plane.startScheduler({
        extenderUrl: `https://localhost:${port}`,
        extenderTls: {
          caFile: ca,
          certFile: file(`${name}.crt`, pair.cert),
          keyFile: file(`${name}.key`, pair.key),
        },
      });
    const isBound = (name: string) =>
      api.waitForOne(
        `${name} to have an address`,
        pods,
        { name, namespace: "default" },
        (pod) => pod.spec.nodeName !== undefined && floatIpsOf(pod).length === 1,
      );
    await schedulerWith("stranger", stranger);
    await api.create(aPod({ name: "first" }));
    await waitUntil(
      "the stranger to be named",
      async () => tailOf(logFile),
      (log) => /client certificate \\"CN=stranger\\".*caller refused/.test(log),
      { timeoutMs: 60_000 },
    );
    const first = await api.get(pods, { name: "first", namespace: "default" });
    assert.equal(first?.spec.nodeName, undefined);
    await schedulerWith("scheduler", client);
    await isBound("first");

    // The server's certificate is renewed, and another authority is the users'.
    file("tls.crt", other.cert);
    file("tls.key", other.key);
    file("users.crt", stranger.cert);
    await waitUntil(
      "the renewed certificate",
      () => nameShown(apiPort, authority),
      (name) => name === "other",
      { timeoutMs: 60_000 },
    );
    const refused = await waitUntil(
      "alice not to be known any more",
      () => ask("alice", "ip", "list"),
      ({ code }) => code !== 0,
      { timeoutMs: 60_000 },
    );
    assert.match(
      refused.text,
      /client certificate "O=lookers, O=writers, CN=alice" of "CN=users" is not accepted .*--api-client-ca-file/,
    );
    await api.create(aPod({ name: "second" }));
    await isBound("second");
  });

  /** The name in the certificate that a port shows to who asks for it. */
  function nameShown(port: number, ca: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "localhost", servername: "localhost", ca }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      });
      socket.once("error", reject);
    });
  }

  /** A token with other claims, signed with the key with which the API server signs. */
  function resigned(
    token: string,
    change: (claims: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>,
  ): string {
    const [header = "", payload = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<
      string,
      unknown
    >;
    const signed = `${header}.${Buffer.from(JSON.stringify(change(claims))).toString("base64url")}`;
    const key = readFileSync(join(plane.folder, "service-account.key"), "utf8");
    const signature = createSign("SHA256").update(signed);
    return `${signed}.${signature.sign({ key, dsaEncoding: "ieee-p1363" }, "base64url")}`;
  }
});
