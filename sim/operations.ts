// What users, operators and fate do to the world, one operation at a time. Each finds its objects by chance; one that finds none does nothing.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import { podKey, workloadKey } from "../src/adapters/simulated/keys.ts";
import type { Kubelets } from "../src/adapters/simulated/kubelets.ts";
import type {
  PodTemplate,
  SimPod,
  SimWorkload,
  WorkloadKind,
} from "../src/adapters/simulated/objects.ts";
import { deletePod, evictPod } from "../src/adapters/simulated/pod-verbs.ts";
import type { Allocation } from "../src/core/allocation.ts";
import type { AddressRequest, PoolFacts } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import type { IpRange } from "../src/core/ip-range.ts";
import { addressesOf, mergeRanges } from "../src/core/ip-range.ts";
import type { WorkloadRef } from "../src/core/owner.ts";
import { builtInWorkload } from "../src/core/owner.ts";
import type { QuotaFacts } from "../src/core/quota.ts";
import { policyInForce } from "../src/core/release-policy.ts";
import type { ReserveTtl } from "../src/core/reserve-ttl.ts";
import type { PodSubnet } from "../src/core/subnets.ts";
import type { Random } from "./random.ts";
import type { OperationName, Swarm } from "./swarm.ts";

/** What operations work on. */
export type OperationParts = {
  readonly api: SimApi;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly kubelets: Kubelets;
  /** What only the world can do. */
  readonly fate: (name: Fate) => void;
  /** Later in the life of the world. */
  readonly after: (delayMs: number, action: () => void) => void;
};

/** What befalls processes. */
export type Fate = Extract<
  OperationName,
  "crash process" | "overstay leader" | "cut network" | "stale workloads"
>;

/** Plural of chance: names are few, so that workloads meet their predecessors. */
const namespaces = ["ns1", "ns2"] as const;
const poolNames = ["blue", "green"] as const;
const quotaNames = ["first", "second"] as const;

/** Milliseconds that pass in a world, and no limit. */
const reserveTtls: readonly ReserveTtl[] = [20_000, 60_000, 180_000, "never"];

/** Does operations. */
export class Operations {
  readonly #parts: OperationParts;
  #podCount = 0;

  constructor(parts: OperationParts) {
    this.#parts = parts;
  }

  /** Does one operation. @returns what was done, for the trace */
  run(name: OperationName): string {
    const { api, random, kubelets, fate } = this.#parts;
    switch (name) {
      case "create workload":
        return this.#createWorkload();
      case "scale": {
        const workload = this.#anyWorkload();
        if (workload === undefined) return "nothing to scale";
        const replicas = random.integer(0, 5);
        this.#putWorkload({ ...workload, replicas });
        return `${keyOf(workload)} to ${replicas}`;
      }
      case "scale back":
        return this.#scaleThereAndBack();
      case "roll": {
        const workload = this.#anyWorkload();
        if (workload === undefined) return "nothing to roll";
        const template = random.chance(0.7)
          ? { ...workload.template, revision: workload.template.revision + 1 }
          : this.#template(workload.kind, workload.template.revision + 1);
        this.#putWorkload({ ...workload, template });
        return `${keyOf(workload)} to ${describe(template)}`;
      }
      case "delete workload": {
        const workload = this.#anyWorkload();
        if (workload === undefined) return "nothing to delete";
        api.remove("workloads", keyOf(workload), "user");
        return keyOf(workload);
      }
      case "recreate workload": {
        const workload = this.#anyWorkload();
        if (workload === undefined) return "nothing to recreate";
        api.remove("workloads", keyOf(workload), "user");
        this.#putWorkload({ ...workload, uid: api.newUid() });
        return keyOf(workload);
      }
      case "create bare pod":
        return this.#createBarePod();
      case "delete pod":
      case "force delete pod": {
        const pod = this.#anyPod(() => true);
        if (pod === undefined) return "no pod";
        deletePod(api, podKey(pod.facts.id), { force: name === "force delete pod" });
        return podKey(pod.facts.id);
      }
      case "evict pod": {
        const pod = this.#anyPod(({ facts }) => facts.phase === "Running");
        if (pod === undefined) return "no pod";
        evictPod(api, podKey(pod.facts.id));
        return podKey(pod.facts.id);
      }
      case "stop node":
      case "start node": {
        const isUp = name === "stop node";
        const nodes = api.list("nodes").filter((node) => node.isUp === isUp);
        const node = nodes.length === 0 ? undefined : random.pick(nodes);
        // One node stays, so that something goes on.
        if (node === undefined || (isUp && nodes.length === 1)) return "no node";
        if (isUp) kubelets.stopNode(node.facts.name);
        else kubelets.startNode(node.facts.name);
        return node.facts.name;
      }
      case "change config":
        api.put("config", "config", { kind: "valid", subnets: this.#otherSubnets() }, "operator");
        return "other ranges";
      case "break config":
        api.put("config", "config", { kind: "broken" }, "operator");
        return "broken";
      case "write pool":
        return this.#writePool();
      case "delete pool": {
        const pools = api.keys("pools");
        if (pools.length === 0) return "no pool";
        const key = random.pick(pools);
        api.remove("pools", key, "user");
        return key;
      }
      case "write quota":
        return this.#writeQuota();
      case "delete quota": {
        const quotas = api.keys("quotas");
        if (quotas.length === 0) return "no quota";
        const key = random.pick(quotas);
        api.remove("quotas", key, "user");
        return key;
      }
      case "delete record": {
        const record = this.#anyRecord(() => true);
        if (record === undefined) return "no record";
        api.remove("records", record.ip, "operator");
        return record.ip;
      }
      case "edit record": {
        const record = this.#anyRecord(({ owner }) => owner.kind !== "admin");
        if (record === undefined) return "no record";
        return this.#editRecord(record);
      }
      case "label record": {
        const record = this.#anyRecord(({ owner }) => owner.kind !== "admin");
        if (record === undefined) return "no record";
        // As the label hides from the product whose the record was.
        const owner = { kind: "admin", key: "reserved by hand" } as const;
        this.#putRecord({ ...record, owner });
        return record.ip;
      }
      case "unlabel record": {
        const record = this.#anyRecord(({ owner }) => owner.kind === "admin");
        if (record === undefined) return "no record";
        api.remove("records", record.ip, "operator");
        return record.ip;
      }
      case "reserve address": {
        const ip = this.#anyFreeAddress();
        if (ip === undefined) return "no free address";
        this.#putRecord({
          ip,
          owner: { kind: "admin", key: "pool__reserved-for-node_" },
          policy: "never",
          nodeName: "",
          lastNodeName: "",
          podUid: "",
          updatedAtMs: api.nowMs(),
          isDraining: false,
          version: "",
        });
        return ip;
      }
      case "crash process":
      case "overstay leader":
      case "cut network":
      case "stale workloads":
        fate(name);
        return "";
      case "wait":
        return "";
      default:
        return name satisfies never;
    }
  }

  /** Two who do not agree how many replicas there should be, as two autoscalers, or somebody who meant another workload. */
  #scaleThereAndBack(): string {
    const { api, random, fate, after } = this.#parts;
    const workload = this.#anyWorkload();
    if (workload === undefined || workload.replicas === 0) return "nothing to scale";
    const { replicas, uid } = workload;
    const fewer = random.integer(0, replicas - 1);
    const backMs = random.integer(50, 5_000);
    const isStale = random.chance(0.6);
    this.#putWorkload({ ...workload, replicas: fewer });
    after(backMs, () => {
      const now = api.get("workloads", keyOf(workload));
      if (now?.uid !== uid || now.replicas !== fewer) return;
      // What they know now they know for a while.
      if (isStale) fate("stale workloads");
      this.#putWorkload({ ...now, replicas });
    });
    return `${keyOf(workload)} to ${fewer}, and back after ${backMs} ms`;
  }

  /** What an operator may get wrong with an editor. */
  #editRecord(record: Allocation): string {
    const { api, random } = this.#parts;
    const what =
      record.owner.kind === "pod" && record.podUid !== ""
        ? random.pick(["policy", "node", "uid", "pod", "pool"] as const)
        : "policy";
    switch (what) {
      case "policy":
        this.#putRecord({
          ...record,
          policy: random.pick(["pod-delete", "immutable", "never"] as const),
        });
        break;
      case "node":
        this.#putRecord({ ...record, nodeName: random.pick(api.keys("nodes")) });
        break;
      case "uid":
        this.#putRecord({ ...record, podUid: "edited by hand" });
        break;
      case "pod": {
        const other = this.#anyPod(({ facts }) => facts.uid !== record.podUid);
        if (other === undefined) return "no other pod";
        const { id, uid, pool } = other.facts;
        const owner = { kind: "pod", pod: id, workload: undefined, pool } as const;
        this.#putRecord({ ...record, owner, podUid: uid });
        break;
      }
      case "pool": {
        const owner = { kind: "pool", pool: random.pick(poolNames) } as const;
        this.#putRecord({ ...record, owner, podUid: "", nodeName: "" });
        break;
      }
      default:
        return what satisfies never;
    }
    return `${what} of ${record.ip}`;
  }

  #createWorkload(): string {
    const { api, random } = this.#parts;
    const kind = random.weighted<WorkloadKind>({
      deployment: 6,
      statefulset: 5,
      replicaset: 1,
      tapp: 2,
      plain: 1,
      daemonset: 0.5,
      job: 1,
    });
    const namespace = random.pick(namespaces);
    const name = `${kind.slice(0, 2)}${random.integer(0, 2)}`;
    const key = workloadKey(kind, namespace, name);
    if (api.get("workloads", key) !== undefined) return `${key} is there`;
    const workload: SimWorkload = {
      kind,
      ref: refOf(kind, namespace, name),
      uid: api.newUid(),
      replicas: random.integer(0, 4),
      firstOrdinal: kind === "statefulset" && random.chance(0.2) ? 1 : 0,
      template: this.#template(kind, 1),
      maxSurge: random.integer(0, 1),
      maxUnavailable: 1,
      deployment: undefined,
    };
    this.#putWorkload(workload);
    return `${key} x${workload.replicas} ${describe(workload.template)}`;
  }

  #template(kind: WorkloadKind, revision: number): PodTemplate {
    const { random, swarm } = this.#parts;
    const pool = random.chance(0.2) ? random.pick(poolNames) : undefined;
    const annotation =
      kind === "daemonset" || kind === "job"
        ? undefined
        : random.pick(["immutable", "never", undefined]);
    const wantsAddress = random.chance(0.95);
    const hasPool = pool !== undefined && kind !== "daemonset" && kind !== "job";
    return {
      wantsAddress,
      policy: policyInForce(annotation, hasPool ? pool : undefined),
      pool: hasPool ? pool : undefined,
      request: this.#request(),
      revision,
      // Drawn where it may be something only, so that worlds without it stay what they were.
      ...(kind === "deployment" && swarm.surgeShare > 0 && random.chance(swarm.surgeShare)
        ? { surgeAddresses: random.integer(1, 2) }
        : {}),
      ...this.#reserveTtl(),
    };
  }

  #request(): AddressRequest {
    const { random, swarm } = this.#parts;
    if (random.chance(0.15)) {
      const subnet = random.pick(swarm.subnets);
      const ranges = Array.from({ length: random.integer(1, 3) }, () => [this.#part(subnet)]);
      return { kind: "ranges", ranges };
    }
    const families = swarm.hasIpv6 && random.chance(0.5) ? (["IPv4", "IPv6"] as const) : undefined;
    return { kind: "families", families };
  }

  /** A piece of a subnet's addresses. */
  #part(subnet: PodSubnet): IpRange {
    const { random } = this.#parts;
    const ips = [...addressesOf(subnet.ranges[0] as IpRange)];
    const first = random.integer(0, ips.length - 1);
    const last = random.integer(first, ips.length - 1);
    const base = (subnet.ranges[0] as IpRange).first;
    return typeof base === "number"
      ? { first: base + first, last: base + last }
      : { first: base + BigInt(first), last: base + BigInt(last) };
  }

  #createBarePod(): string {
    const { api, random } = this.#parts;
    this.#podCount += 1;
    const name = random.chance(0.5) ? `bare${this.#podCount}` : `bare-${random.integer(0, 3)}`;
    const id = { namespace: random.pick(namespaces), name };
    if (api.get("pods", podKey(id)) !== undefined) return `${podKey(id)} is there`;
    const policy = random.pick(["never", undefined, undefined]);
    const pod: SimPod = {
      facts: {
        id,
        uid: api.newUid(),
        phase: "Pending",
        isTerminating: false,
        nodeName: "",
        wantsAddress: true,
        policy: policyInForce(policy, undefined),
        ...this.#reserveTtl(),
        pool: undefined,
        controller: undefined,
        request: this.#request(),
        assignedIps: [],
        argsText: "",
        problems: [],
        createdAtMs: api.nowMs(),
      },
      revision: 1,
      isReady: false,
      deletedAtMs: undefined,
      onlyNode: undefined,
      priority: random.chance(0.2) ? 10 : 0,
    };
    api.put("pods", podKey(id), pod, "user");
    return podKey(id);
  }

  #writePool(): string {
    const { api, random } = this.#parts;
    const name = random.pick(poolNames);
    const namespace = random.chance(0.8) ? "kube-system" : "ns1";
    const key = `${namespace}/${name}`;
    const existing = api.get("pools", key);
    const pool: PoolFacts = {
      name,
      namespace,
      uid: existing?.uid ?? api.newUid(),
      size: random.chance(0.85) ? random.integer(0, 6) : undefined,
      preAllocate: random.chance(0.3),
      ...this.#reserveTtl(),
      createdAtMs: existing?.createdAtMs ?? api.nowMs(),
      version: api.nextVersion(),
    };
    api.put("pools", key, pool, "user");
    return `${key} size ${pool.size ?? "open"}${pool.preAllocate ? " pre-allocated" : ""}`;
  }

  #writeQuota(): string {
    const { api, random } = this.#parts;
    const name = random.pick(quotaNames);
    const existing = api.get("quotas", name);
    const quota: QuotaFacts = {
      name,
      uid: existing?.uid ?? api.newUid(),
      namespaces: random.chance(0.5) ? [] : [random.pick(namespaces)],
      limit: random.integer(0, 8),
      version: api.nextVersion(),
    };
    api.put("quotas", name, quota, "user");
    return `${name} ${quota.limit} for ${quota.namespaces.join(", ") || "every namespace"}`;
  }

  /** How long an address may be idle; nothing in worlds without that, so that they stay what they were. */
  #reserveTtl(): { readonly reserveTtl?: ReserveTtl } {
    const { random, swarm } = this.#parts;
    return swarm.ttlShare > 0 && random.chance(swarm.ttlShare)
      ? { reserveTtl: random.pick(reserveTtls) }
      : {};
  }

  /** The seed's subnets with other lengths of ranges; sometimes one is left out. */
  #otherSubnets(): readonly PodSubnet[] {
    const { random, swarm } = this.#parts;
    const kept = swarm.subnets.filter(() => random.chance(0.9));
    const subnets = kept.length === 0 ? swarm.subnets : kept;
    return subnets.map((subnet) => {
      if (random.chance(0.4)) return subnet;
      return { ...subnet, ranges: mergeRanges([this.#part(subnet), this.#part(subnet)]) };
    });
  }

  #anyFreeAddress(): Ip | undefined {
    const { api, random, swarm } = this.#parts;
    const free = swarm.subnets
      .flatMap((subnet) => subnet.ranges.flatMap((range) => [...addressesOf(range)]))
      .filter((ip) => api.get("records", ip) === undefined);
    return free.length === 0 ? undefined : random.pick(free);
  }

  #anyWorkload(): SimWorkload | undefined {
    const { api, random } = this.#parts;
    const all = api.list("workloads").filter((workload) => workload.deployment === undefined);
    return all.length === 0 ? undefined : random.pick(all);
  }

  #anyPod(accepts: (pod: SimPod) => boolean): SimPod | undefined {
    const { api, random } = this.#parts;
    const all = api.list("pods").filter(accepts);
    return all.length === 0 ? undefined : random.pick(all);
  }

  #anyRecord(accepts: (record: Allocation) => boolean): Allocation | undefined {
    const { api, random } = this.#parts;
    const all = api.list("records").filter(accepts);
    return all.length === 0 ? undefined : random.pick(all);
  }

  #putRecord(record: Allocation): void {
    const { api } = this.#parts;
    api.put("records", record.ip, { ...record, version: api.nextVersion() }, "operator");
  }

  #putWorkload(workload: SimWorkload): void {
    this.#parts.api.put("workloads", keyOf(workload), workload, "user");
  }
}

function keyOf(workload: SimWorkload): string {
  return workloadKey(workload.kind, workload.ref.namespace, workload.ref.name);
}

/** How the product names a workload of a kind. */
export function refOf(kind: WorkloadKind, namespace: string, name: string): WorkloadRef {
  switch (kind) {
    case "deployment":
    case "statefulset":
    case "replicaset":
      return builtInWorkload(kind, { namespace, name });
    case "daemonset":
      return { type: "custom", kind, apiGroup: "apps", namespace, name };
    case "job":
      return { type: "custom", kind, apiGroup: "batch", namespace, name };
    case "tapp":
      return { type: "custom", kind, apiGroup: "apps.tkestack.io", namespace, name };
    case "plain":
      return { type: "custom", kind, apiGroup: "example.org", namespace, name };
    default:
      return kind satisfies never;
  }
}

function describe(template: PodTemplate): string {
  const pool = template.pool === undefined ? "" : ` pool ${template.pool}`;
  const ranges =
    template.request.kind === "ranges" ? ` ${template.request.ranges.length} ranges` : "";
  const surge = template.surgeAddresses === undefined ? "" : ` surge ${template.surgeAddresses}`;
  return `revision ${template.revision} policy ${template.policy}${pool}${ranges}${surge}`;
}
