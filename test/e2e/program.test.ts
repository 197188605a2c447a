// galaxy-ipam as a program: its command line, what it says when it cannot start, how it ends, its definitions and metrics.

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import manifest from "../../package.json" with { type: "json" };
import { type ApiClient, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { freePort } from "../control-plane/child-program.ts";
import { quickFlags, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { bind, filterNames } from "../control-plane/extender-client.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import {
  customResourceDefinitions,
  type FloatingIp,
  floatingIps,
  type Manifest,
  type Pod,
  type Pool,
  pods,
  pools,
} from "../control-plane/kinds.ts";
import { aConfigMap, aFloatingIp, aPod, aPool } from "../control-plane/manifests.ts";
import { logLinesOf } from "../control-plane/program-log.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

const skip = await reasonToSkip();
const program = fileURLToPath(new URL("../../src/bin/galaxy-ipam.ts", import.meta.url));
const kubectl = "/usr/bin/kubectl";

/** What a run of the program left behind. */
type Run = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
};

/** Starts the program; `ended` resolves when it ends by itself or is ended, at the latest after two minutes by SIGKILL. */
function run(args: readonly string[]): {
  readonly child: ChildProcess;
  readonly ended: Promise<Run>;
} {
  const env = { ...process.env };
  delete env["KUBERNETES_SERVICE_HOST"];
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", program, ...args],
    { env, stdio: ["ignore", "pipe", "pipe"] },
  );
  const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
  const ended = new Promise<Run>((resolve) => {
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err });
    });
  });
  return { child, ended };
}

describe("the command line", () => {
  test("--help lists the flags, --version says the version", async () => {
    const [help, version] = await Promise.all([run(["--help"]).ended, run(["--version"]).ended]);
    assert.deepEqual([help.code, help.err, version.code, version.err], [0, "", 0, ""]);
    for (const flag of ["--kubeconfig", "--port", "--leader-elect", "--floatingips", "--config"]) {
      assert.ok(help.out.includes(flag), flag);
    }
    assert.equal(version.out, `galaxy-ipam ${manifest.version}\n`);
  });

  test("wrong flags are all named, with the next step, and end the program with 2", async () => {
    const { code, err } = await run(["--prot=1", "--api-port=many", "--kube-config=x", "word"])
      .ended;
    assert.equal(code, 2);
    assert.match(err, /there is no flag --prot/);
    assert.match(err, /--api-port=many: not a port/);
    assert.match(err, /there is no flag --kube-config; did you mean --kubeconfig\?/);
    assert.match(err, /"word" is not a flag/);
  });

  test("a JSON configuration that is missing or broken is named and ends the program with 2", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "galaxy-program-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const broken = join(folder, "broken.json");
    writeFileSync(broken, '{"schedule_plugin": {"resyncInterval": "often"}}');
    const missing = join(folder, "missing.json");
    const [one, other] = await Promise.all([
      run([`--config=${missing}`]).ended,
      run([`--config=${broken}`]).ended,
    ]);
    assert.deepEqual([one.code, other.code], [2, 2]);
    assert.ok(one.err.includes(missing) && /correct the path/.test(one.err), one.err);
    assert.ok(other.err.includes(broken) && /resyncInterval/.test(other.err), other.err);
  });

  test("a kubeconfig that cannot be used is named with the next step and ends the program with 1", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "galaxy-program-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const cases: readonly (readonly [string, string | undefined, RegExp])[] = [
      ["missing", undefined, /ENOENT.*check the path/s],
      ["garbage", "{ not: [yaml", /check the path and the YAML/],
      ["empty", "apiVersion: v1\nkind: Config\n", /current-context/],
    ];
    const runs = cases.map(([name, text]) => {
      const file = join(folder, name);
      if (text !== undefined) writeFileSync(file, text);
      return run([`--kubeconfig=${file}`, "--port=0", "--api-port=0"]).ended;
    });
    for (const [index, { code, err }] of (await Promise.all(runs)).entries()) {
      const [name, , message] = cases[index] as (typeof cases)[number];
      assert.equal(code, 1, `${name}: ${err}`);
      assert.ok(err.includes(join(folder, name)), err);
      assert.match(err, message);
      assert.doesNotMatch(err, /\n\s+at /, "no stack trace");
    }
  });

  test("certificates that are missing are named in one line with the next step and end the program with 1", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "galaxy-program-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    // As the component mutual-tls mounts them, from a Secret that is empty.
    const file = (name: string) => join(folder, name);
    const { code, out, err } = await run([
      `--tls-cert-file=${file("tls.crt")}`,
      `--tls-private-key-file=${file("tls.key")}`,
      `--extender-client-ca-file=${file("ca.crt")}`,
      "--master=http://127.0.0.1:1",
      "--port=0",
      "--api-port=0",
    ]).ended;
    assert.equal(code, 1, out);
    assert.ok(err.startsWith(`galaxy-ipam: read ${file("tls.crt")} of --tls-cert-file: `), err);
    assert.match(err, /^.*; correct the path, or create the Secret that is mounted there\n$/);
  });

  test("a port in use is named with the next step and ends the program with 1", async (t) => {
    const holder = await listenOnLoopback();
    t.after(() => holder.server.close());
    const taken = `--port=${holder.port}`;
    const [extender, api] = await Promise.all([
      run(["--master=http://127.0.0.1:1", taken, "--api-port=0"]).ended,
      run(["--master=http://127.0.0.1:1", `--api-port=${holder.port}`, "--port=0"]).ended,
    ]);
    for (const { code, err } of [extender, api]) {
      assert.equal(code, 1, err);
      assert.match(err, new RegExp(`listen on 127.0.0.1:${holder.port}`));
      assert.match(err, /stop the program that has the port or choose another one/);
    }
  });

  test("an API server that is away or says nothing does not end the program; health says why; SIGTERM ends it in order", async (t) => {
    const silent = await listenOnLoopback();
    t.after(() => silent.server.close());
    for (const master of ["http://127.0.0.1:1", `http://127.0.0.1:${silent.port}`]) {
      const apiPort = await freePort();
      const { child, ended } = run([`--master=${master}`, "--port=0", `--api-port=${apiPort}`]);
      const health = async (path: string) => {
        const answer = await fetch(`http://127.0.0.1:${apiPort}${path}`);
        return { status: answer.status, text: await answer.text() };
      };
      const isAway = master.endsWith(":1");
      await waitUntil(
        "the reason in health",
        () => health("/healthy"),
        ({ status, text }) => status === 503 && (!isAway || /ECONNREFUSED/.test(text)),
      );
      assert.equal((await health("/livez")).status, 200);
      assert.equal((await health("/readyz")).status, 503);
      child.kill("SIGTERM");
      const { code, signal, err } = await ended;
      assert.deepEqual([code, signal], [0, null], err);
    }
  });
});

describe("the program beside an API server", { skip }, () => {
  let plane: ControlPlane;
  let api: ApiClient;
  const running: GalaxyIpam[] = [];
  const nodes: SimulatedNodes[] = [];

  before(async () => {
    plane = await startControlPlane({ hasControllers: false });
    api = plane.api;
    await api.create(aConfigMap({ floatingips: twoSubnets }));
  });

  after(async () => {
    await plane?.stop();
  });

  afterEach(async () => {
    for (const ipam of running.splice(0)) await ipam.stop();
    for (const simulated of nodes.splice(0)) await simulated.stop();
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.deleteAll({ kind: floatingIps });
  });

  async function startNode(): Promise<void> {
    const simulated = await startSimulatedNodes(api);
    nodes.push(simulated);
    await simulated.add([{ name: "a1", internalIp: "10.49.27.1" }]);
  }

  async function start(user = "galaxy-ipam"): Promise<GalaxyIpam> {
    const ipam = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf(user), flags: quickFlags });
    running.push(ipam);
    return ipam;
  }

  test("D-16: definitions of the Go system are upgraded in place, and records and pools stay", async () => {
    for (const definition of [goFloatingIpDefinition, goPoolDefinition])
      await api.create(definition);
    const rows: readonly Manifest<FloatingIp>[] = [
      aFloatingIp({ ip: "10.49.70.5", key: "dp_default_web_", policy: 2 }),
      aFloatingIp({ ip: "10.49.70.6", key: "sts_default_db_db-0", policy: 2 }),
      aFloatingIp({ ip: "10.49.70.7", key: "pool__blue_", policy: 2 }),
    ];
    const isServed = async () => {
      await api.list({ kind: floatingIps });
      await api.list({ kind: pools });
      return true;
    };
    await waitUntil("the old kinds to be served", isServed, (served) => served);
    for (const row of rows) await api.create(row);
    await api.create(aPool({ name: "blue", size: 4, preAllocateIP: false }));
    const before = await api.list({ kind: floatingIps });
    const ipam = await start();
    await ipam.whenReady();
    await waitUntil(
      "a resync",
      () => ipam.metric("galaxy_resync_duration_seconds_count"),
      (count) => (count ?? 0) >= 1,
    );
    const after = await api.list({ kind: floatingIps });
    assert.deepEqual(
      after.map(({ metadata, spec }) => [metadata.name, metadata.uid, spec.key, spec.policy]),
      before.map(({ metadata, spec }) => [metadata.name, metadata.uid, spec.key, spec.policy]),
    );
    // The documented manifests, which the old schema refuses; the API server takes a moment for the new one.
    const documented: Manifest<FloatingIp> = {
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "FloatingIP",
      metadata: { name: "10.49.70.8", labels: { reserved: "yes" } },
      spec: { key: "pool__reserved-for-node_", policy: 2 },
    };
    const isTaken = async () => Boolean(await api.apply(documented));
    await waitUntil("the new schema", isTaken, (taken) => taken);
    await api.create<Pool>(aPool({ name: "example-pool", namespace: "default", size: 4 }));
    const definition = await api.get(customResourceDefinitions, {
      name: "floatingips.galaxy.k8s.io",
    });
    const [version] = definition?.spec.versions ?? [];
    const columns = version?.["additionalPrinterColumns"] as readonly { readonly name: string }[];
    assert.deepEqual(columns.map(({ name }) => name).slice(0, 8), [
      "State",
      "Namespace",
      "Workload",
      "Pod",
      "Pool",
      "Policy",
      "Node",
      "Age",
    ]);
  });

  test("kubectl get fip answers by itself", async (t) => {
    if (!existsSync(kubectl)) {
      t.skip(`${kubectl} is not installed`);
      return;
    }
    await startNode();
    const ipam = await start();
    await ipam.whenReady();
    const pod = await api.create<Pod>(aPod({ name: "shown-0", policy: "never" }));
    assert.equal(await bind(ipam.url, pod, "a1"), "");
    const args = [
      `--kubeconfig=${plane.kubeconfigOf("admin")}`,
      "--cache-dir",
      join(plane.folder, "kubectl"),
    ];
    const { stdout } = await promisify(execFile)(kubectl, [...args, "get", "fip", "-o", "wide"]);
    const [header, ...lines] = stdout.trim().split("\n");
    assert.match(
      header ?? "",
      /NAME +STATE +NAMESPACE +WORKLOAD +POD +POOL +POLICY +NODE +AGE +KIND +KEY +UPDATED/,
    );
    const line = lines.find((text) => text.includes("shown-0"));
    assert.match(
      line ?? "",
      /^10\.49\.70\.2 +Bound +default +shown-0 +never +a1 +.*NULL_default_NULL_shown-0/,
    );
  });

  test("case 135: the established metrics are there with their labels, and those that an operator alerts on", async () => {
    await startNode();
    const ipam = await start();
    await ipam.whenReady();
    const pod = await api.create<Pod>(aPod({ name: "measured" }));
    assert.deepEqual((await filterNames(ipam.url, pod, ["a1"])).NodeNames, ["a1"]);
    assert.equal(await bind(ipam.url, pod, "a1"), "");
    const subnet = { subnet: "10.49.70.0/24", first_ip: "10.49.70.2" };
    const counter = (type: string) => ipam.metric("galaxy_ip_counter", { type, ...subnet });
    assert.deepEqual(
      [await counter("total"), await counter("allocated"), await counter("bound")],
      [20, 1, 1],
    );
    assert.equal(await ipam.metric("galaxy_subnet_free_ratio", subnet), 19 / 20);
    for (const func of ["filter", "bind"]) {
      assert.equal(await ipam.metric("galaxy_schedule_latency_count", { func }), 1, func);
      const counts: number[] = [];
      for (const le of ["0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "+Inf"]) {
        counts.push((await ipam.metric("galaxy_schedule_latency_bucket", { func, le })) ?? -1);
      }
      // How long it took is up to the machine.
      assert.deepEqual([counts[0] === 0 || counts[0] === 1, counts.at(-1)], [true, 1]);
      assert.deepEqual(
        counts,
        counts.toSorted((a, b) => a - b),
        "each bucket has what the smaller ones have",
      );
    }
    for (const [name, value] of [
      ["galaxy_holds", 0],
      ["galaxy_reclaim_queue_length", 0],
      ["galaxy_leader", 1],
      ["galaxy_config_valid", 1],
    ] as const) {
      // What events asked for may still be under way.
      await waitUntil(
        `${name} to be ${value}`,
        () => ipam.metric(name),
        (seen) => seen === value,
      );
    }
    assert.equal(await ipam.metric("galaxy_changes_total", { change: "taken" }), 1);
    assert.equal(await ipam.metric("galaxy_build_info", { version: manifest.version }), 1);
    assert.ok(
      ((await ipam.metric("galaxy_watch_staleness_seconds", { resource: "pods" })) ?? 99) < 70,
    );
    const text = await (await fetch(`${ipam.apiUrl}/metrics`)).text();
    for (const name of [
      "galaxy_cloud_provider_latency",
      "galaxy_conflicts_total",
      "galaxy_api_errors_total",
    ]) {
      assert.ok(text.includes(`# TYPE ${name} `), name);
    }
    await waitForCleanAudit(api);
    await api.delete(pods, { name: "measured", namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor("no record", { kind: floatingIps }, ({ length }) => length === 0);
  });

  test("without rights the program names the missing permission in health and log, goes on, and is ready when they are granted", async () => {
    const ipam = await start("galaxy-ipam-limited");
    const reason = (what: RegExp) =>
      waitUntil(
        `health to name ${what.source}`,
        () => ipam.health("/readyz"),
        ({ status, text }) => status === 503 && what.test(text),
      );
    const { text } = await reason(/customresourcedefinitions/);
    assert.match(text, /galaxy-ipam-limited.*cannot (get|create).*ClusterRole/);
    await grant([
      ["apiextensions.k8s.io", "customresourcedefinitions"],
      ["galaxy.k8s.io", "*"],
      ["", "nodes"],
      ["", "configmaps"],
      ["apps", "*"],
    ]);
    await reason(/cannot list resource \\?"pods\\?".*ClusterRole/);
    await grant([
      ["apiextensions.k8s.io", "customresourcedefinitions"],
      ["galaxy.k8s.io", "*"],
      ["", "nodes"],
      ["", "configmaps"],
      ["apps", "*"],
      ["", "pods"],
    ]);
    await reason(/leases/);
    await grant([
      ["apiextensions.k8s.io", "customresourcedefinitions"],
      ["galaxy.k8s.io", "*"],
      ["", "nodes"],
      ["", "configmaps"],
      ["apps", "*"],
      ["", "pods"],
      ["", "pods/binding"],
      ["", "events"],
      ["coordination.k8s.io", "leases"],
    ]);
    await ipam.whenReady();
    assert.ok(ipam.isRunning());
    const log = logLinesOf(ipam.logFile).map((line) => JSON.stringify(line));
    for (const resource of ["customresourcedefinitions", "pods", "leases"]) {
      assert.ok(
        log.some((line) => line.includes("cannot") && line.includes(resource)),
        resource,
      );
    }
  });

  /** Lets galaxy-ipam-limited do everything with these resources and nothing else. */
  async function grant(
    resources: readonly (readonly [group: string, resource: string])[],
  ): Promise<void> {
    const rbac = "rbac.authorization.k8s.io";
    const name = "galaxy-ipam-limited";
    await api.apply({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name },
      rules: resources.map(([group, resource]) => ({
        apiGroups: [group],
        resources: [resource],
        verbs: ["*"],
      })),
    });
    await api.apply({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name },
      subjects: [{ apiGroup: rbac, kind: "User", name }],
    });
  }
});

async function listenOnLoopback(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return { server, port: (server.address() as AddressInfo).port };
}

/** The definitions as the Go system makes them: every field is required, nothing but them is kept. */
const goFloatingIpDefinition = goDefinition("floatingips", "FloatingIP", "Cluster", {
  spec: {
    type: "object",
    required: ["key", "policy", "attribute", "updateTime"],
    properties: {
      key: { type: "string" },
      policy: { type: "integer" },
      attribute: { type: "string" },
      updateTime: { type: "string", format: "date-time" },
    },
  },
});
const goPoolDefinition = goDefinition("pools", "Pool", "Namespaced", {
  size: { type: "integer" },
  preAllocateIP: { type: "boolean" },
});

function goDefinition(
  plural: string,
  kind: string,
  scope: "Cluster" | "Namespaced",
  properties: Readonly<Record<string, unknown>>,
): Manifest {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.galaxy.k8s.io`,
      annotations: { "api-approved.kubernetes.io": "unapproved" },
    },
    spec: {
      group: "galaxy.k8s.io",
      scope,
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: "object", required: Object.keys(properties), properties },
          },
        },
      ],
    },
  };
}
