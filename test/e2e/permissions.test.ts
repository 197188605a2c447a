// The roles of deploy/ on a real API server: the programs do the whole main path as their ServiceAccounts, the API server's audit log says which
// rule each call used, no call is refused, and no rule is there that nothing uses. So removing one refuses a call; a sample is removed for real.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { parseAllDocuments } from "yaml";
import { vipLeaseNamespace } from "../../src/adapters/kubernetes/vip-stores.ts";
import { vipTimers } from "../../src/core/vip.ts";
import { parseIpamFlags } from "../../src/wire/ipam-options.ts";
import { parseNodeOptions } from "../../src/wire/node-options.ts";
import { vipAddressesAnnotation, vipProbeAnnotation } from "../../src/wire/vip-claim.ts";
import { type ApiClient, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { removeAtExit, tailOf } from "../control-plane/child-program.ts";
import { quickFlags, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import {
  type ControlPlane,
  type SchedulerOptions,
  startControlPlane,
} from "../control-plane/control-plane.ts";
import { bind, filterNames } from "../control-plane/extender-client.ts";
import {
  type FaultyApiProxy,
  isRecordWrite,
  startFaultyApiProxy,
} from "../control-plane/faulty-api-proxy.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import {
  customResourceDefinitions,
  deployments,
  events,
  floatingIps,
  floatingVips,
  type Kind,
  type KubeObject,
  leases,
  nodes as nodeKind,
  pods,
  pools,
  replicaSets,
  statefulSets,
  vipPools,
} from "../control-plane/kinds.ts";
import { reasonToSkipKubectl } from "../control-plane/kubectl.ts";
import {
  aConfigMap,
  aDeployment,
  aPod,
  aStatefulSet,
  aWorkload,
} from "../control-plane/manifests.ts";
import { kubeconfigWith } from "../control-plane/pod-programs.ts";
import { logLinesOf } from "../control-plane/program-log.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import { callSdn, podEnvironment, startDaemon } from "../node/programs.ts";
import { startMemoryAgent } from "../vip/memory-agent.ts";
import { locateNft } from "../vip/programs.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipKubectl());
const skipLab = await reasonToSkipLab();
const root = fileURLToPath(new URL("../..", import.meta.url));
const namespace = "kube-system";
const account = (name: string) => `system:serviceaccount:${namespace}:${name}`;

type Rule = {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
};
type Role = KubeObject & { readonly rules: readonly Rule[] };
const rbac = "rbac.authorization.k8s.io/v1";
const clusterRoles: Kind<Role> = {
  apiVersion: rbac,
  kind: "ClusterRole",
  plural: "clusterroles",
  namespaced: false,
};
const roles: Kind<Role> = { apiVersion: rbac, kind: "Role", plural: "roles", namespaced: true };

/** The roles of a program. */
function rolesOf(
  name: string,
): readonly (readonly [Kind<Role>, { readonly name: string; readonly namespace?: string }])[] {
  const own = [
    [clusterRoles, { name }],
    [clusterRoles, { name: `${name}-virtual-addresses` }],
    [roles, { name, namespace: vipLeaseNamespace }],
  ] as const;
  return name === "galaxy" ? own : [...own, [roles, { name, namespace }]];
}

/** A call as the API server's audit log has it. */
type AuditedCall = {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly resource: string;
    readonly subresource?: string;
    readonly apiGroup?: string;
  };
  readonly annotations?: Readonly<Record<string, string>>;
};

describe("the roles of deploy", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-permissions-"));
  removeAtExit(folder);
  const auditLog = join(folder, "audit.log");
  let plane: ControlPlane;
  let api: ApiClient;
  let nodes: SimulatedNodes;
  let proxy: FaultyApiProxy;
  let ipam: GalaxyIpam;

  before(async () => {
    const policy = join(folder, "policy.json");
    const users = [account("galaxy-ipam"), account("galaxy")];
    writeFileSync(
      policy,
      JSON.stringify({
        apiVersion: "audit.k8s.io/v1",
        kind: "Policy",
        omitStages: ["RequestReceived"],
        rules: [{ level: "Metadata", users }, { level: "None" }],
      }),
    );
    plane = await startControlPlane({
      flags: {
        "kube-apiserver": [
          "--allow-privileged=true",
          `--audit-policy-file=${policy}`,
          `--audit-log-path=${auditLog}`,
        ],
      },
    });
    ({ api } = plane);
    nodes = await startSimulatedNodes(api);
    await nodes.add([
      { name: "a1", internalIp: "10.49.27.1" },
      { name: "node1", internalIp: "10.70.0.11" },
    ]);
    await install();
    await api.apply(aConfigMap({ floatingips: [...twoSubnets, labSubnet] }));
    await prepareOldHistory();
    proxy = await startFaultyApiProxy();
    const { url, ca } = api.address;
    proxy.forwardTo({ url, ca, token: await tokenOf("galaxy-ipam") });
    ipam = await start([`--master=${proxy.url}`]);
    await plane.startScheduler(scheduler(ipam.url));
    await ipam.whenReady();
  });

  after(async () => {
    await ipam?.stop("SIGKILL");
    await proxy?.stop();
    await nodes?.stop();
    await plane?.stop();
  });

  /** The old Policy where the scheduler still reads it; docs/install.md is tested with the newer form. */
  function scheduler(extenderUrl: string): SchedulerOptions {
    if (plane.version.minor > 22) return { extenderUrl, nodeCacheCapable: true };
    const text = readFileSync(join(root, "deploy/scheduler/policy.json"), "utf8");
    const policy: unknown = JSON.parse(text.replace("http://GALAXY_IPAM:9040", extenderUrl));
    return { written: { kind: "policy", policy } };
  }

  /** Applies the example with kubectl, as an administrator does. */
  async function install(): Promise<void> {
    cpSync(join(root, "deploy"), join(folder, "deploy"), { recursive: true });
    const overlay = join(folder, "deploy/overlays/example");
    if (plane.version.minor < 21) {
      const file = join(overlay, "kustomization.yaml");
      const text = readFileSync(file, "utf8");
      writeFileSync(file, `${text}components:\n  - ../../components/kubernetes-1-20\n`);
    }
    await promisify(execFile)("kubectl", [
      `--kubeconfig=${plane.kubeconfigOf("admin")}`,
      `--cache-dir=${join(folder, "kubectl")}`,
      "apply",
      "-k",
      overlay,
    ]);
  }

  async function tokenOf(name: string): Promise<string> {
    const answer = (await api.call(
      "POST",
      `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { audiences: [], expirationSeconds: 3_600 },
      },
    )) as { readonly status: { readonly token: string } };
    return answer.status.token;
  }

  async function kubeconfigOf(name: string): Promise<string> {
    const file = join(folder, `${name}.kubeconfig`);
    writeFileSync(file, JSON.stringify(kubeconfigWith(api.address, await tokenOf(name))));
    return file;
  }

  /** galaxy-ipam as its ServiceAccount; it labels a pod that the Deployment of the manifests made. */
  async function start(flags: readonly string[]): Promise<GalaxyIpam> {
    const [pod] = await api.waitFor(
      "a pod of the Deployment",
      { kind: pods, namespace, labelSelector: "app=galaxy-ipam" },
      (seen) => seen.length > 0,
    );
    return startGalaxyIpam({
      kubeconfig: await kubeconfigOf("galaxy-ipam"),
      flags: [...quickFlags, ...flags],
      env: { POD_NAME: pod?.metadata.name ?? "", POD_NAMESPACE: namespace },
    });
  }

  /** A whole chunk of history that is too old to be kept, so that the next change removes it. */
  async function prepareOldHistory(): Promise<void> {
    const atMs = Date.now() - 365 * 86_400_000;
    const line = JSON.stringify({ ip: "10.49.70.2", at: atMs });
    const time = new Date(atMs).toISOString();
    const changes = gzipSync(Array.from({ length: 1_000 }, () => line).join("\n"));
    await waitUntil(
      "the definition of histories to be served",
      () =>
        api
          .call("POST", "/apis/galaxy.k8s.io/v1alpha1/floatingiphistories", {
            apiVersion: "galaxy.k8s.io/v1alpha1",
            kind: "FloatingIPHistory",
            metadata: { name: "changes-000000000000000" },
            spec: {
              first: 0,
              count: 1_000,
              from: time,
              until: time,
              writer: "earlier",
              serial: 1,
              changes: changes.toString("base64"),
            },
          })
          .then(
            () => true,
            () => false,
          ),
      (done) => done,
    );
  }

  function calls(user: string): readonly AuditedCall[] {
    return readFileSync(auditLog, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as AuditedCall)
      .filter((call) => call.user.username === account(user));
  }

  /** Verbs on resources that a call used: "watch pods", "create pods/binding". */
  function used(user: string): ReadonlySet<string> {
    return new Set(
      calls(user)
        .filter(isAllowed)
        .flatMap(({ verb, objectRef }) => {
          if (objectRef === undefined) return [];
          const { resource, subresource, apiGroup = "" } = objectRef;
          const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
          return [`${verb} ${whole} of "${apiGroup}"`];
        }),
    );
  }

  function refused(user: string): readonly string[] {
    return calls(user)
      .filter((call) => !isAllowed(call))
      .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
  }

  /** Of everything that is granted to a program: also for virtual addresses, whose roles are apart. */
  async function granted(name: string): Promise<readonly string[]> {
    const all = await Promise.all(rolesOf(name).map(([kind, at]) => api.get(kind, at)));
    const found = all.flatMap((role) => role?.rules ?? assert.fail("the role is there"));
    return found.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource} of "${group}"`)),
      ),
    );
  }

  const adminCall = (method: string, path: string, body?: unknown) =>
    fetch(`${ipam.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${plane.tokenOf("admin")}`,
        "content-type": "application/json",
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  /**
   * Two addresses are held and lost: one by a pod that goes away while its agent does not answer any more, which takes the lease of its node; one
   * whose node has no lease any more, in the place of which galaxy-ipam puts one.
   */
  async function loseVirtualAddresses(): Promise<void> {
    await api.create(aVipPool("edge"));
    const claims = [
      ["a1", "claims-a", "192.0.2.50"],
      ["node1", "claims-b", "192.0.2.51"],
    ] as const;
    const kubeconfig = plane.kubeconfigOf("admin");
    const agents = await Promise.all(
      claims.map(([nodeName]) => startMemoryAgent({ kubeconfig, nodeName, timers: vipTimers })),
    );
    for (const [nodeName, name, address] of claims) {
      await api.create(aClaimant(name, nodeName, { [vipAddressesAnnotation]: address }));
    }
    for (const [, , name] of claims) {
      const at = { name };
      await api.waitForOne("it to be held", floatingVips, at, (vip) => stateOf(vip) === "Held");
    }
    for (const agent of agents) agent.stop();
    const lease = { name: "node1", namespace: vipLeaseNamespace };
    await api.delete(leases, lease);
    await api.delete(pods, { name: "claims-a", namespace: "default" });
    await api.waitForOne("another lease", leases, lease, () => true);
    await api.delete(pods, { name: "claims-b", namespace: "default" });
    await api.waitFor("no virtual address", { kind: floatingVips }, (all) => all.length === 0);
  }

  function aVipPool(name: string) {
    const spec = { ranges: ["192.0.2.50~192.0.2.59"], minReadySeconds: 0 };
    return { apiVersion: "galaxy.k8s.io/v1alpha1", kind: "VIPPool", metadata: { name }, spec };
  }

  function aClaimant(name: string, nodeName: string, annotations: Record<string, string>) {
    return aPod({ name, nodeName, annotations, wantsFloatIp: false });
  }

  function stateOf({ status }: { readonly status?: Readonly<Record<string, unknown>> }): unknown {
    return status?.["state"];
  }

  test("galaxy-ipam does all its work with its role, nothing is refused and nothing is left over", async () => {
    // Workloads of each kind, through the scheduler, and away again: that they are gone is read from the API server.
    const wish = { replicas: 2, policy: "immutable" };
    await api.create(aDeployment({ name: "web", ...wish }));
    await api.create(aStatefulSet({ name: "db", ...wish, replicas: 1 }));
    await api.create(aWorkload("apps/v1", "ReplicaSet", { name: "bare", ...wish, replicas: 1 }));
    await api.waitFor("addresses", { kind: floatingIps }, (all) => all.length === 4);
    await waitForCleanAudit(api);
    // An address that is kept for its pod's name meanwhile.
    const [db] = await api.list(podsOf("default", "db"));
    await api.delete(pods, { name: "db-0", namespace: "default" });
    await api.waitFor(
      "the pod to be there again",
      podsOf("default", "db"),
      ([pod]) => pod !== undefined && isReady(pod) && pod.metadata.uid !== db?.metadata.uid,
    );
    for (const [kind, name] of [
      [deployments, "web"],
      [statefulSets, "db"],
      [replicaSets, "bare"],
    ] as const) {
      await api.scale(kind, { name, namespace: "default" }, 0);
    }
    await api.waitFor("no addresses", { kind: floatingIps }, (all) => all.length === 0);

    // A pool by the API; its status once in the way of somebody else's write.
    const conflict = proxy.break(
      ({ method, path }) => method === "PATCH" && path.includes("/pools/blue/status"),
      { kind: "status", code: 409 },
      { times: 1 },
    );
    for (const size of [2, 3]) {
      const answer = await adminCall("POST", "/v1/pool", {
        name: "blue",
        size,
        preAllocateIP: true,
      });
      assert.ok(answer.status < 300, await answer.text());
    }
    await waitUntil(
      "the conflict",
      async () => conflict.count(),
      (count) => count === 1,
    );
    await api.waitFor("three addresses", { kind: floatingIps }, (all) => all.length === 3);
    const deleted = await adminCall("DELETE", "/v1/pool/blue?release=true");
    assert.ok(deleted.status < 300, await deleted.text());
    await api.waitFor("no pool", { kind: pools }, (all) => all.length === 0);
    await api.waitFor("no addresses", { kind: floatingIps }, (all) => all.length === 0);

    // A quota by the API: made, changed and deleted, each seen before the next.
    for (const [method, limit] of [
      ["PUT", 5],
      ["PUT", 6],
      ["DELETE", undefined],
    ] as const) {
      const body = limit === undefined ? undefined : { limit, namespaces: ["team-a"] };
      const answer = await adminCall(method, "/v1/quota/team-a", body);
      assert.ok(answer.status < 300, await answer.text());
      await waitUntil(
        `the quota with limit ${limit}`,
        async () => {
          const listed = await adminCall("GET", "/v1/quota");
          const { quotas } = (await listed.json()) as { quotas: readonly { limit: number }[] };
          return quotas.map((quota) => quota.limit);
        },
        (limits) => (limit === undefined ? limits.length === 0 : limits[0] === limit),
      );
    }

    // An answer that is lost: the record is read back.
    const lost = proxy.break(isRecordWrite("POST"), { kind: "lose answer" }, { times: 1 });
    await api.create(aPod({ name: "bare-0", policy: "never" }));
    await api.waitForOne(
      "the pod to run",
      pods,
      { name: "bare-0", namespace: "default" },
      (pod) => pod.status.phase === "Running",
    );
    assert.equal(lost.count(), 1);
    // Nodes that are not known yet are asked about, and why a pod is refused is told each time.
    const strange = await api.create(
      aPod({ name: "strange", policy: "immutable", schedulerName: "nobody" }),
    );
    assert.match(await bind(ipam.url, strange, "nowhere"), /nowhere does not exist/);
    const refusals = () =>
      api.list({ kind: events, namespace: "default", fieldSelector: "reason=FloatingIPRefused" });
    await waitUntil(
      "the refusal to be told twice",
      async () => {
        await filterNames(ipam.url, strange, ["a1"]);
        return refusals();
      },
      ([event]) => (event?.count ?? 1) > 1,
      { everyMs: 500 },
    );

    await loseVirtualAddresses();

    const wanted = await granted("galaxy-ipam");
    let replicas = 0;
    // A watch is in the log when it has ended.
    assert.ok(proxy.cutWatches() > 0);
    await waitUntil(
      "every rule to be used",
      async () => {
        // Histories are written now and then, when there is something new.
        replicas = 1 - replicas;
        await api.scale(deployments, { name: "web", namespace: "default" }, replicas);
        const seen = used("galaxy-ipam");
        return wanted.filter((rule) => !seen.has(rule));
      },
      (unused) => unused.length === 0,
      { everyMs: 500, timeoutMs: 60_000 },
    );
    assert.deepEqual(refused("galaxy-ipam"), []);
  });

  test("the daemon does all its work with its role, nothing is refused and nothing is left over", {
    skip: skipLab,
  }, async (t) => {
    const nft = await locateNft();
    if (nft.kind === "missing") throw new Error(nft.because);
    await using lab = await NetworkLab.open();
    const { nodes: machines } = await lab.outsideWithNodes(1);
    const [machine] = machines;
    assert.ok(machine !== undefined);
    // Between the daemon and the API server, so that watches end, and a write of a virtual address meets another one.
    const own = await startFaultyApiProxy();
    t.after(() => own.stop());
    const { url, ca } = api.address;
    own.forwardTo({ url, ca, token: await tokenOf("galaxy") });
    const conflict = own.break(
      ({ method, path }) => method === "PUT" && path.includes("/floatingvips/"),
      { kind: "status", code: 409 },
      { times: 1 },
    );
    // The daemon is to make its lease itself.
    await api.delete(leases, { name: "node1", namespace: vipLeaseNamespace });
    await using daemon = await startDaemon({
      lab,
      node: machine,
      nodeName: "node1",
      config: {
        NetworkConf: [{ type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" }],
        ENIIPNetwork: "galaxy-k8s-vlan",
      },
      access: `--master=${own.url}`,
      env: { PATH: [dirname(nft.file), process.env.PATH].join(":") },
    });
    // An address that the node is granted, and a probe that it is to report.
    await api.apply(aVipPool("edge"));
    await api.create(aClaimant("held-0", "node1", { [vipAddressesAnnotation]: "192.0.2.52" }));
    const probed = { [vipAddressesAnnotation]: "192.0.2.53", [vipProbeAnnotation]: "tcp:80" };
    await api.create(aClaimant("probed-0", "node1", probed));
    await api.patch(nodeKind, { name: "node1" }, { metadata: { labels: { there: "yes" } } });
    const pod = await api.create(aPod({ name: "there-0", nodeSelector: { there: "yes" } }));
    await api.waitForOne(
      "the pod to run",
      pods,
      { name: "there-0", namespace: "default" },
      (seen) => seen.status.phase === "Running",
    );
    const inside = await lab.namespace("pod1");
    const who = { name: "there-0", uid: pod.metadata.uid ?? "", netns: inside.path };
    const call = (command: string) =>
      callSdn(daemon.socket, podEnvironment(command, who), { cniVersion: "1.0.0" });
    const added = await call("ADD");
    assert.equal(added.code, 0, JSON.stringify(added.json));
    assert.deepEqual(await call("DEL"), { code: 0, json: {} });
    // A pod of another node: said on the pod, and again.
    const other = await api.create(aPod({ name: "elsewhere-0", nodeName: "a1" }));
    const elsewhere = {
      name: "elsewhere-0",
      uid: other.metadata.uid ?? "",
      netns: (await lab.namespace("pod2")).path,
    };
    const wanted = await granted("galaxy");
    await waitUntil(
      "the conflict",
      async () => conflict.count(),
      (count) => count === 1,
    );
    await waitUntil(
      "every rule to be used",
      async () => {
        // A watch is in the log when it has ended.
        own.cutWatches();
        const environment = podEnvironment("ADD", elsewhere);
        const refusal = await callSdn(daemon.socket, environment, { cniVersion: "1.0.0" });
        assert.equal(refusal.code, 1, JSON.stringify(refusal.json));
        const seen = used("galaxy");
        return wanted.filter((rule) => !seen.has(rule));
      },
      (unused) => unused.length === 0,
      { everyMs: 1_000, timeoutMs: 60_000 },
    );
    assert.deepEqual(refused("galaxy"), []);
    for (const name of ["held-0", "probed-0"]) {
      await api.delete(pods, { name, namespace: "default" });
    }
    await api.waitFor("no virtual address", { kind: floatingVips }, (all) => all.length === 0);
  });

  test("every component is accepted by the API server, and the programs understand the flags that come with it", async () => {
    const overlay = join(folder, "deploy/overlays/example");
    const file = join(overlay, "kustomization.yaml");
    const text = readFileSync(file, "utf8");
    const components = ["mutual-tls", "node-port", "monitoring"];
    const lines = components.map((name) => `  - ../../components/${name}\n`).join("");
    const begun = text.includes("components:\n") ? text : `${text}components:\n`;
    writeFileSync(file, `${begun}${lines}`);
    try {
      const kubectl = async (...args: readonly string[]) => {
        const own = [
          `--kubeconfig=${plane.kubeconfigOf("admin")}`,
          `--cache-dir=${folder}/kubectl`,
        ];
        return (await promisify(execFile)("kubectl", [...own, ...args])).stdout;
      };
      const said = await kubectl("apply", "--dry-run=server", "-k", overlay);
      assert.match(said, /service\/galaxy-ipam-metrics created/);
      type Workload = {
        readonly kind: string;
        readonly spec: { readonly template: { readonly spec: PodSpec } };
      };
      type PodSpec = { readonly containers: readonly { readonly args: readonly string[] }[] };
      const objects = parseAllDocuments(await kubectl("kustomize", overlay)).map(
        (document) => document.toJS() as Workload,
      );
      const argsOf = (kind: string) =>
        objects.find((object) => object.kind === kind)?.spec.template.spec.containers[0]?.args ??
        [];
      const ipamArgs = argsOf("Deployment");
      assert.ok(ipamArgs.some((arg) => arg.startsWith("--extender-client-ca-file=")));
      assert.equal(parseIpamFlags(ipamArgs).kind, "flags");
      assert.equal(parseNodeOptions(argsOf("DaemonSet")).kind, "options");
    } finally {
      writeFileSync(file, text);
    }
  });

  /** Takes one verb on one resource from a role of galaxy-ipam, and gives it back at the end. */
  async function without(verb: string, resource: string, then: () => Promise<void>): Promise<void> {
    const isVip = resource.startsWith("floatingvips");
    const [kind, at] = ["leases", "configmaps"].includes(resource)
      ? ([roles, { name: "galaxy-ipam", namespace }] as const)
      : ([clusterRoles, { name: `galaxy-ipam${isVip ? "-virtual-addresses" : ""}` }] as const);
    const role = await api.get(kind, at);
    assert.ok(role !== undefined);
    const rules = role.rules.flatMap((rule) => {
      if (!rule.resources.includes(resource)) return [rule];
      const others = rule.resources.filter((one) => one !== resource);
      return [
        ...(others.length === 0 ? [] : [{ ...rule, resources: others }]),
        { ...rule, resources: [resource], verbs: rule.verbs.filter((one) => one !== verb) },
      ].filter(({ verbs }) => verbs.length > 0);
    });
    await api.patch(kind, at, { rules });
    try {
      await then();
    } finally {
      await api.patch(kind, at, { rules: role.rules });
    }
  }

  for (const [verb, resource] of [
    ["create", "pods/binding"],
    ["create", "floatingips"],
  ] as const) {
    test(`without the right to ${verb} ${resource} a bind says what to grant, and works when it is granted`, async () => {
      const name = `needs-${resource.replace("/", "-")}`;
      const pod = await api.create(aPod({ name, schedulerName: "nobody" }));
      await without(verb, resource, async () => {
        await waitUntil(
          "the refusal",
          () => bind(ipam.url, pod, "a1"),
          (error) =>
            error.includes(`cannot ${verb} resource "${resource}"`) && /grant it/.test(error),
          { everyMs: 200 },
        );
      });
      await waitUntil(
        "the bind",
        () => bind(ipam.url, pod, "a1"),
        (error) => error === "",
      );
    });
  }

  test("without a right that it needs from the start, galaxy-ipam says which in one line, runs on, and is ready when it is granted", async (t) => {
    t.after(() => ipam.stop());
    await ipam.stop();
    for (const [verb, resource] of [
      ["get", "customresourcedefinitions"],
      ["list", "configmaps"],
    ] as const) {
      await without(verb, resource, async () => {
        ipam = await start([]);
        const { text } = await waitUntil(
          `health to name ${verb} ${resource}`,
          () => ipam.health("/readyz"),
          (seen) => seen.text.includes(`cannot ${verb} resource`) && seen.text.includes(resource),
        );
        assert.match(text, /grant it in the program's ClusterRole/);
        assert.doesNotMatch(text, /\n/);
      });
      await ipam.whenReady();
      await ipam.stop();
    }
    // Without a watch it reads everything again and again, and says why; without virtual addresses it serves everything else.
    await without("watch", "pods", () =>
      without("list", "floatingvips", async () => {
        ipam = await start([]);
        for (const lack of ["watch resource .{0,6}pods", "list resource .{0,6}floatingvips"]) {
          await waitUntil(
            "the log to name what lacks",
            async () => tailOf(ipam.logFile, 1_000),
            (text) =>
              new RegExp(`cannot ${lack}.*grant it in the program's ClusterRole`).test(text),
          );
        }
      }),
    );
    await ipam.whenReady();
    await ipam.stop();
  });

  test("a definition that is missing, or of another program, is said in one line with what to apply", async () => {
    const name = "pools.galaxy.k8s.io";
    const vipName = "floatingvips.galaxy.k8s.io";
    const definition = await api.get(customResourceDefinitions, { name });
    assert.ok(definition !== undefined);
    await api.delete(customResourceDefinitions, { name });
    await api.delete(customResourceDefinitions, { name: vipName });
    await api.waitFor("the definitions to be gone", { kind: customResourceDefinitions }, (all) =>
      all.every(({ metadata }) => metadata.name !== name && metadata.name !== vipName),
    );
    await api.apply(aVipPool("late"));
    ipam = await start([]);
    const { text } = await waitUntil(
      "health to name the definition",
      () => ipam.health("/readyz"),
      (seen) => seen.text.includes(name),
    );
    assert.match(
      text,
      /it is missing.*apply the definitions of this version \(deploy\/base\/crds\)/,
    );
    // As the Go system makes it: no status, no columns. It works, and the log says what is better.
    const [version] = definition.spec.versions;
    const old = { name: "v1alpha1", served: true, storage: true, schema: goPoolSchema };
    assert.ok(version !== undefined);
    await api.create({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name, annotations: definition.metadata.annotations ?? {} },
      spec: { ...definition.spec, versions: [old] },
    });
    await ipam.whenReady();
    const lines = logLinesOf(ipam.logFile).filter(({ level }) => level === "warn");
    const said = lines.filter(
      (line) =>
        /differ from this program/.test(JSON.stringify(line)) &&
        /"pools/.test(JSON.stringify(line)),
    );
    assert.equal(said.length, 1);
    assert.match(JSON.stringify(said), /pools\.galaxy\.k8s\.io.*deploy\/base\/crds/);
    const ofVips = lines.filter(({ message }) => /virtual addresses/.test(message));
    assert.equal(ofVips.length, 1, JSON.stringify(ofVips));
    assert.match(JSON.stringify(ofVips), /floatingvips\.galaxy\.k8s\.io.*deploy\/base\/crds/);
    const answer = await adminCall("POST", "/v1/pool", {
      name: "old",
      size: 1,
      preAllocateIP: true,
    });
    assert.ok(answer.status < 300, await answer.text());
    await api.waitFor(
      "its address",
      { kind: floatingIps, labelSelector: "galaxy.k8s.io/pool=old" },
      (all) => all.length === 1,
    );
    await install();
    await api.waitForOne(
      "its status",
      pools,
      { name: "old", namespace },
      (pool) => pool.status?.["allocated"] === 1,
    );
    // Virtual addresses are served from now on, without another start.
    await api.waitForOne(
      "the status of a VIPPool",
      vipPools,
      { name: "late" },
      (pool) => (pool as { status?: { addresses?: number } }).status?.addresses === 10,
    );
  });
});

function isAllowed({ annotations }: AuditedCall): boolean {
  return annotations?.["authorization.k8s.io/decision"] === "allow";
}

/** What the Go system says of a Pool. */
const goPoolSchema = {
  openAPIV3Schema: {
    type: "object",
    properties: { size: { type: "integer" }, preAllocateIP: { type: "boolean" } },
  },
};

/** The pods of the lab's node. */
const labSubnet = {
  nodeSubnets: ["10.70.0.0/24"],
  ips: ["10.70.0.100~10.70.0.120"],
  subnet: "10.70.0.0/24",
  gateway: "10.70.0.1",
  vlan: 0,
};
