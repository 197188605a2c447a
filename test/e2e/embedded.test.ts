// `npm start` on a machine without Kubernetes: the example lives, floats and survives, what the program says to try works as it stands, and
// state that is not ours stays as it is.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type {
  SimulatedNode,
  SimulatedPod,
  SimulatedWorkload,
} from "../../src/wire/api/simulation.ts";
import type { VipAnswer } from "../../src/wire/api/vip.ts";
import { waitUntil } from "../control-plane/api.ts";
import { type ChildProgram, removeAtExit, tailOf } from "../control-plane/child-program.ts";
import { outsideCluster, startEmbedded } from "../control-plane/embedded-program.ts";

const program = fileURLToPath(new URL("../../src/bin/galaxy-ipam.ts", import.meta.url));
const tlsFlags = ["--tls-cert-file=/cert", "--tls-private-key-file=/key"];
const patience = { everyMs: 100, timeoutMs: 180_000 };

/** The program in a folder of its own, from one life to the next. */
class Embedded {
  readonly folder = mkdtempSync(join(tmpdir(), "galaxy-embedded-"));
  readonly stateFolder = join(this.folder, "state");
  url = "";
  #child: ChildProgram | undefined;
  #life = 0;

  constructor() {
    removeAtExit(this.folder);
  }

  async start(): Promise<void> {
    this.#life += 1;
    const logName = `life-${this.#life}.log`;
    ({ child: this.#child, url: this.url } = await startEmbedded({ folder: this.folder, logName }));
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    await this.#child?.stop(signal, 30_000);
  }

  /** What it printed in this life. */
  output(): string {
    return readFileSync(join(this.folder, `life-${this.#life}.log`), "utf8");
  }

  async get<T>(path: string): Promise<T> {
    return (await this.call("GET", path)) as T;
  }

  /** The body of an answer with status 200. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await answer.text();
    assert.equal(
      answer.status,
      200,
      `${method} ${path}: ${text}\n${tailOf(this.#child?.logFile ?? "")}`,
    );
    return JSON.parse(text);
  }

  async pods(query = ""): Promise<readonly SimulatedPod[]> {
    return (await this.get<{ pods: SimulatedPod[] }>(`/v1/simulation/pods${query}`)).pods;
  }

  async pod(name: string): Promise<SimulatedPod | undefined> {
    return (await this.pods("?namespace=default")).find((pod) => pod.name === name);
  }

  async workloads(): Promise<readonly SimulatedWorkload[]> {
    const path = "/v1/simulation/workloads";
    return (await this.get<{ workloads: SimulatedWorkload[] }>(path)).workloads;
  }

  async nodes(): Promise<readonly SimulatedNode[]> {
    return (await this.get<{ nodes: SimulatedNode[] }>("/v1/simulation/nodes")).nodes;
  }

  /**
   * The pods when each workload has those that it wants, all ready, with addresses and none besides. They are those of the look that found it so: a
   * roll-out that was asked for before a kill begins at any moment after it.
   */
  async whenSettled(): Promise<readonly SimulatedPod[]> {
    const { pods: settled } = await waitUntil(
      "all workloads to have their pods",
      async () => ({ workloads: await this.workloads(), pods: await this.pods() }),
      ({ workloads, pods: present }) =>
        workloads.every(({ ready, pods, replicas }) => ready === replicas && pods === replicas) &&
        present.length === workloads.reduce((sum, { replicas }) => sum + replicas, 0) &&
        present.every(({ ips }) => ips.length > 0),
      patience,
    );
    return settled;
  }
}

/** No address in two pods, an address in each that wants one, and each where its node may use it. */
function auditPods(pods: readonly SimulatedPod[]): void {
  const holders = new Map<string, string>();
  for (const { name, ips, nodeName = "" } of pods) {
    assert.ok(ips.length > 0, `pod ${name} has no address`);
    for (const ip of ips) {
      assert.equal(holders.get(ip), undefined, `${ip} is in ${name} and ${holders.get(ip)}`);
      holders.set(ip, name);
      const subnets = nodeName.startsWith("node-a") ? /^10\.0\.(70|0)\./ : /^10\.1\.70\./;
      assert.match(ip, subnets, `${name} on ${nodeName}`);
    }
  }
}

const addressesOf = (pods: readonly SimulatedPod[]) => pods.flatMap(({ ips }) => ips).toSorted();

const lifeOf = ({ name, uid, nodeName, ips }: SimulatedPod) => ({ name, uid, nodeName, ips });

describe("the program without a cluster", () => {
  const embedded = new Embedded();
  before(() => embedded.start());
  after(async () => {
    await embedded.stop("SIGTERM");
    rmSync(embedded.folder, { recursive: true, force: true });
  });

  it("gives the pods of the example their addresses", async () => {
    const pods = await embedded.whenSettled();
    auditPods(pods);
    const kinds = new Set(pods.map(({ kind }) => kind));
    assert.deepEqual(kinds, new Set(["deployment", "statefulset", "tapp"]));
    const router = await embedded.pod("router-0");
    const [first, second, third] = router?.ips ?? [];
    assert.match(first ?? "", /^10\.0\.0\.2[0-3][0-9]$/);
    assert.match(second ?? "", /^10\.0\.0\.([2-9]|[12][0-9]|30)$/);
    assert.match(third ?? "", /^10\.0\.0\.([67][0-9]|80)$/);
  });

  it("says what there is, and everything that it says to try works as it stands", async () => {
    const text = await waitUntil(
      "the guide",
      async () => embedded.output(),
      (output) => output.includes("Ctrl-C stops"),
      patience,
    );
    assert.match(
      text,
      / default\/router-0 +node-a\d +10\.0\.0\.2\d\d, 10\.0\.0\.\d+, 10\.0\.0\.\d+/,
    );
    assert.ok(text.includes(`State: ${embedded.stateFolder} `), text);
    const pages = [...text.matchAll(/(http:\S+) for (?:the page|everything)/g)];
    assert.ok(pages.length > 0, text);
    for (const [, page = ""] of pages) assert.equal((await fetch(page)).status, 200, page);
    const lines = text.split("\n").filter((line) => line.startsWith("  curl "));
    assert.ok(lines.length >= 8, text);
    for (const line of lines) {
      const { url, method, body } = readCurl(line);
      if (method === "DELETE") await embedded.whenSettled();
      const answer = await fetch(url, {
        method,
        ...(body === undefined ? {} : { body, headers: { "content-type": "application/json" } }),
      });
      assert.equal(answer.status, 200, `${line}: ${await answer.text()}`);
    }
    await embedded.call("POST", "/v1/simulation/nodes/node-a1/recover");
    await embedded.call("DELETE", "/v1/simulation/workloads/statefulset/default/cache");
    await embedded.whenSettled();
  });

  it("moves a virtual address when its node is killed, and forgets it when nobody claims it", async () => {
    type Vip = VipAnswer;
    const heldWhen = (what: string, isSo: (vip: Vip) => boolean) =>
      waitUntil(
        what,
        async () => (await embedded.get<{ vips: Vip[] }>("/v1/vip?ip=192.0.2.50")).vips[0],
        (vip) => vip?.state === "Held" && isSo(vip),
        patience,
      );
    // One pod on each node, so that there is another to move to.
    await embedded.call("POST", "/v1/simulation/workloads", {
      kind: "daemonset",
      name: "entrance",
      virtualIps: ["192.0.2.50"],
    });
    const pods = (await embedded.whenSettled()).filter((pod) => pod.workload === "entrance");
    const names = pods.map(({ namespace, name }) => `${namespace}/${name}`).toSorted();
    const before = await heldWhen("it to be held", ({ candidates }) => candidates.length === 5);
    assert.ok(names.includes(before?.holder ?? ""));
    assert.deepEqual(before?.pools, ["example"]);
    assert.deepEqual(before.candidates.map(({ pod }) => pod).toSorted(), names);
    const node = before.nodeName ?? "";
    await embedded.call("POST", `/v1/simulation/nodes/${node}/kill`);
    const after = await heldWhen("it to move", ({ nodeName }) => nodeName !== node);
    assert.equal(after?.lastTransition?.reason, "AgentLost");
    await embedded.call("POST", `/v1/simulation/nodes/${node}/recover`);
    await embedded.call("DELETE", "/v1/simulation/workloads/daemonset/default/entrance");
    await waitUntil(
      "nobody to claim it",
      () => embedded.get<{ vips: Vip[] }>("/v1/vip"),
      ({ vips }) => vips.length === 0,
      patience,
    );
    await embedded.whenSettled();
  });

  it("describes the verbs of this mode with all others", async () => {
    const { paths } = await embedded.get<{ paths: Record<string, unknown> }>("/openapi.json");
    const verbs = Object.keys(paths).filter((path) => path.startsWith("/v1/simulation"));
    assert.ok(verbs.includes("/v1/simulation/nodes/{name}/kill"), verbs.join());
    assert.ok("/v1/ip" in paths);
    const status = await embedded.get<{ mode: string; configuration: { source: string } }>(
      "/v1/status",
    );
    assert.equal(status.mode, "embedded");
    assert.equal(
      status.configuration.source,
      `file ${join(embedded.stateFolder, "floatingips.json")}`,
    );
  });

  it("answers the documented requests as documented", async () => {
    const gone = { policy: 2, status: "Deleted", releasable: true, namespace: "default" };
    const list = async (query: string) => {
      const page = await embedded.get<{ content: Record<string, unknown>[] }>(`/v1/ip?${query}`);
      const { content, ...counts } = page;
      const entries = content.map(({ updateTime, ...entry }) => {
        assert.match(String(updateTime), /^\d{4}-\d\d-\d\dT/);
        return entry;
      });
      return { counts, entries };
    };
    const countsOf = (count: number) => ({
      last: true,
      totalElements: count,
      totalPages: 1,
      first: true,
      numberOfElements: count,
      size: 10,
      number: 0,
    });
    const tapp = { ...gone, appName: "nginx-deployment", appType: "tapp" };
    const ofTapp = "namespace=default&appName=nginx-deployment&appType=tapp";
    assert.deepEqual(await list(ofTapp), {
      counts: countsOf(3),
      entries: [
        { ...tapp, ip: "10.0.70.33", podName: "nginx-deployment-0" },
        { ...tapp, ip: "10.0.70.142", podName: "nginx-deployment-2" },
        { ...tapp, ip: "10.0.70.169", podName: "nginx-deployment-1" },
      ],
    });
    const sts = { ...gone, appName: "sts", appType: "statefulset" };
    assert.deepEqual(await list("appName=sts&appType=statefulsets&namespace=default"), {
      counts: countsOf(2),
      entries: [
        { ...sts, ip: "10.0.0.112", podName: "sts-0" },
        { ...sts, ip: "10.0.0.174", podName: "sts-1" },
      ],
    });
    const ips = [
      {
        ip: "10.0.70.169",
        namespace: "default",
        appName: "nginx-deployment",
        appType: "tapp",
        podName: "nginx-deployment-1",
      },
    ];
    assert.deepEqual(await embedded.call("POST", "/v1/ip", { ips }), { code: 200, message: "" });
    const both = [
      ["10.0.0.112", "sts-0"],
      ["10.0.0.174", "sts-1"],
    ].map(([ip, podName]) => ({
      ip,
      appName: "sts",
      appType: "statefulset",
      podName,
      namespace: "default",
    }));
    assert.deepEqual(await embedded.call("POST", "/v1/ip", { ips: both }), {
      code: 200,
      message: "",
    });
    assert.equal((await list(ofTapp)).entries.length, 2);
    assert.equal(
      (await list("appName=sts&appType=statefulsets&namespace=default")).entries.length,
      0,
    );
  });

  it("keeps and gives back addresses as the policies say when workloads are scaled and rolled", async () => {
    const before = await embedded.whenSettled();
    const ofNginx = before.filter(({ workload }) => workload === "nginx-deployment");
    const db0 = before.find(({ name }) => name === "db-0");
    await embedded.call(
      "POST",
      "/v1/simulation/workloads/deployment/default/nginx-deployment/roll",
    );
    await embedded.call("POST", "/v1/simulation/workloads/statefulset/default/db/scale", {
      replicas: 1,
    });
    await embedded.call("POST", "/v1/simulation/workloads/deployment/default/web/scale", {
      replicas: 6,
    });
    const rolled = await waitUntil(
      "pods of the new revision",
      () => embedded.whenSettled(),
      (pods) =>
        pods.every(({ workload, revision }) => workload !== "nginx-deployment" || revision === 2),
      patience,
    );
    auditPods(rolled);
    assert.deepEqual(
      addressesOf(rolled.filter(({ workload }) => workload === "nginx-deployment")),
      addressesOf(ofNginx),
    );
    assert.deepEqual(
      rolled.filter(({ workload }) => workload === "db").map(lifeOf),
      db0 === undefined ? [] : [lifeOf(db0)],
    );
    assert.equal(rolled.filter(({ workload }) => workload === "web").length, 6);
  });

  it("lets a pod float with its address when its node is gone", async () => {
    await embedded.whenSettled();
    const before = await embedded.pod("db-0");
    const nodeName = before?.nodeName ?? "";
    const path = `/v1/simulation/nodes/${nodeName}`;
    await embedded.call("POST", `${path}/kill`);
    await waitUntil(
      "its pods to be given up",
      () => embedded.pods(`?nodeName=${nodeName}`),
      (pods) => pods.every(({ deleting }) => deleting),
      patience,
    );
    // Nobody can know whether it still runs there, so that its address waits with it.
    assert.equal((await embedded.pod("db-0"))?.uid, before?.uid);
    await embedded.call("DELETE", path);
    const floated = await waitUntil(
      "db-0 on another node",
      () => embedded.pod("db-0"),
      (pod) => pod?.ready === true && pod.uid !== before?.uid,
      patience,
    );
    assert.notEqual(floated?.nodeName, nodeName);
    assert.deepEqual(floated?.ips, before?.ips);
    auditPods(await embedded.whenSettled());
    await embedded.call("POST", "/v1/simulation/nodes", {
      name: nodeName,
      ips: [nodeName.startsWith("node-a") ? "10.0.1.9" : "10.1.1.9"],
    });
    assert.ok((await embedded.nodes()).some(({ name, ready }) => name === nodeName && ready));
  });

  it("puts an edited configuration in force while it runs", async () => {
    const path = join(embedded.stateFolder, "floatingips.json");
    const text = readFileSync(path, "utf8");
    const entries = JSON.parse(text) as unknown[];
    const more = {
      routableSubnet: "10.9.0.0/16",
      ips: ["10.9.70.2~10.9.70.9"],
      subnet: "10.9.70.0/24",
      gateway: "10.9.70.1",
    };
    writeFileSync(path, JSON.stringify([...entries, more]));
    await waitUntil(
      "the new subnet",
      () => embedded.get<{ subnets: { subnet: string }[] }>("/v1/subnet"),
      ({ subnets }) => subnets.some(({ subnet }) => subnet === "10.9.70.0/24"),
      patience,
    );
    writeFileSync(path, text);
  });

  it("goes on after kill -9 with the same pods and the same addresses", async () => {
    const before = await embedded.whenSettled();
    await embedded.stop("SIGKILL");
    await embedded.start();
    const after = await embedded.whenSettled();
    assert.deepEqual(after.map(lifeOf), before.map(lifeOf));
    auditPods(after);
    // Records, pods and annotations say the same.
    const check = await embedded.get<{ findings: unknown[]; recordCount: number }>("/v1/check");
    assert.deepEqual(check.findings, []);
    assert.ok(check.recordCount >= after.length);
    await embedded.stop("SIGTERM");
    await embedded.start();
    assert.deepEqual((await embedded.whenSettled()).map(lifeOf), before.map(lifeOf));
  });

  it("refuses a second program on the same state, and goes on itself", async () => {
    const { code, text } = await run(`--state-dir=${embedded.stateFolder}`);
    assert.equal(code, 1, text);
    assert.match(text, /state\.db: another process has it open; stop that program first/);
    assert.ok((await embedded.pods()).length > 0);
  });
});

describe("the program without a cluster, killed in the middle of changes,", () => {
  const embedded = new Embedded();
  before(() => embedded.start());
  after(async () => {
    await embedded.stop("SIGTERM");
    rmSync(embedded.folder, { recursive: true, force: true });
  });

  it("finds pods and records together each time, and keeps what the policies promise", async () => {
    const first = await embedded.whenSettled();
    const kept = addressesOf(first.filter(({ workload }) => workload === "nginx-deployment"));
    for (const killAfterMs of [0, 30, 150, 600, 1_500]) {
      const changes = [
        embedded.call("POST", "/v1/simulation/workloads/deployment/default/nginx-deployment/roll"),
        embedded.call("POST", "/v1/simulation/workloads/deployment/default/web/roll"),
        embedded.call("POST", "/v1/simulation/workloads/statefulset/default/db/scale", {
          replicas: 1 + (killAfterMs % 4),
        }),
        ...first
          .filter(({ workload }) => workload === "game")
          .map(({ name }) => embedded.call("DELETE", `/v1/simulation/pods/default/${name}`)),
      ];
      // What was not answered may have happened or not; both must be fine.
      const asked = Promise.allSettled(changes);
      await delay(killAfterMs);
      await embedded.stop("SIGKILL");
      await asked;
      await embedded.start();
      auditPods(await embedded.whenSettled());
      await waitUntil(
        "records, pods and annotations to say the same",
        () => embedded.get<{ findings: unknown[] }>("/v1/check"),
        ({ findings }) => findings.length === 0,
        patience,
      );
    }
    const last = await embedded.whenSettled();
    assert.deepEqual(
      addressesOf(last.filter(({ workload }) => workload === "nginx-deployment")),
      kept,
    );
    const gameBefore = first.filter(({ workload }) => workload === "game");
    for (const { name, ips } of gameBefore) {
      assert.deepEqual(last.find((pod) => pod.name === name)?.ips, ips, name);
    }
  });
});

describe("the program without a cluster refuses, and says the way out, when", () => {
  const cases: readonly (readonly [
    string,
    (folder: string) => readonly string[],
    RegExp,
    number,
  ])[] = [
    [
      "the state file is no database",
      (folder) =>
        stateWith(folder, (path) => writeFileSync(path, "not a database at all".repeat(9))),
      /state\.db: it is no SQLite file; give another path, or move it away to begin with nothing \(it was left as it is\)/,
      1,
    ],
    [
      "the state file is of another program",
      (folder) =>
        stateWith(folder, (path) => {
          const database = new DatabaseSync(path);
          database.exec("CREATE TABLE theirs (a)");
          database.close();
        }),
      /state\.db: it is the SQLite file of another program/,
      1,
    ],
    [
      "the state file is empty",
      (folder) => stateWith(folder, (path) => writeFileSync(path, "")),
      /state\.db: it is empty, which a state file never is/,
      1,
    ],
    [
      "the state folder is a file",
      (folder) => {
        writeFileSync(join(folder, "file"), "");
        return [`--state-dir=${join(folder, "file")}`];
      },
      /state\.db: .*correct the path/,
      1,
    ],
    [
      "only schedulers with a certificate may call",
      (folder) => [`--state-dir=${folder}`, "--extender-client-ca-file=/ca", ...tlsFlags],
      /--extender-client-ca-file needs a cluster: the simulated scheduler has no certificate/,
      2,
    ],
    [
      "a state folder is given beside a cluster",
      (folder) => [`--state-dir=${folder}`, "--kubeconfig=/none"],
      /--state-dir is for the program without a cluster; leave it out/,
      2,
    ],
  ];
  for (const [what, prepare, says, wantedCode] of cases) {
    it(what, async (t) => {
      const folder = aFolder(t);
      const flags = prepare(folder);
      const path = join(folder, "state.db");
      const before = readIfThere(path);
      const { code, text } = await run(...flags);
      assert.equal(code, wantedCode, text);
      assert.match(text, says);
      assert.deepEqual(readIfThere(path), before);
    });
  }

  it("a port is taken", async (t) => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const { code, text } = await run(`--state-dir=${aFolder(t)}`, `--api-port=${port}`);
    assert.equal(code, 1, text);
    assert.match(
      text,
      /listen on 127\.0\.0\.1:\d+ for the API: .*stop the program that has the port/,
    );
  });
});

function aFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-refused-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function stateWith(folder: string, write: (path: string) => void): readonly string[] {
  mkdirSync(folder, { recursive: true });
  write(join(folder, "state.db"));
  return [`--state-dir=${folder}`];
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "base64");
  } catch {
    return undefined;
  }
}

/** Runs the program to its end. */
async function run(...flags: readonly string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", program, "--port=0", "--api-port=0", ...flags],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...outsideCluster },
      timeout: 120_000,
    },
  );
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
  }
  const [code] = (await once(child, "close")) as [number | null];
  return { code, text };
}

/** Method, URL and body of a line `curl -X POST -H '…' -d '…' URL`. */
function readCurl(line: string): { url: string; method: string; body: string | undefined } {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain);
  const after = (word: string) => {
    const index = words.indexOf(word);
    return index < 0 ? undefined : words[index + 1];
  };
  const url = words.find((word) => word?.startsWith("http")) ?? "";
  return { url, method: after("-X") ?? "GET", body: after("-d") };
}
