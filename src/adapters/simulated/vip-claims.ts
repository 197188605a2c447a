// The VipClaims and PodConditions ports on a simulated API server: what pods of its workloads claim. One pool of addresses for documentation is
// always there. Judges nothing.

import type { Ip } from "../../core/ip.ts";
import { ipFromNumber, ipToNumber } from "../../core/ip.ts";
import { parseCidr } from "../../core/ip-range.ts";
import type { PodId } from "../../core/owner.ts";
import { podIdText } from "../../core/owner.ts";
import { macOf } from "../../core/short-hash.ts";
import type { ForbiddenRange, VipPool } from "../../core/vip-holder.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  HolderCondition,
  PodConditions,
  VipClaim,
  VipClaims,
} from "../../ports/vip-claims.ts";
import type { Change, SimApi } from "./api.ts";
import { nodeGraceMs } from "./kubelets.ts";
import type { SimNode, SimPod } from "./objects.ts";

/** Addresses that nobody has (RFC 5737, RFC 3849). */
const exampleRanges = ["192.0.2.0/24", "2001:db8::/64"].flatMap(
  (text) => parseCidr(text)?.range ?? [],
);

const examplePool: VipPool = {
  name: "example",
  ranges: exampleRanges,
  namespaces: undefined,
  mode: { kind: "L2", interfaces: "*" },
  onControlPlaneLoss: "Fence",
  minReadyMs: 2_000,
  lastResort: "release",
};

/** Claims of a simulated cluster, whose cache is the server itself. */
export class SimulatedVipClaims implements VipClaims, PodConditions {
  readonly #api: SimApi;
  readonly #clock: Clock;
  readonly #listeners = new Set<(ip: Ip) => void>();
  /** Keys of the pods that claim an address. */
  readonly #podsByIp = new Map<Ip, Set<string>>();
  /** What this world alone knows of pods, by uid. */
  readonly #readySinceMs = new Map<string, number>();
  readonly #told = new Map<string, HolderCondition>();

  /** @param api may have objects already */
  constructor(api: SimApi, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /** Begins with what is there, and follows what changes. Called once. */
  start(): void {
    for (const key of this.#api.keys("pods")) this.#see(key, undefined, this.#api.get("pods", key));
    this.#api.listeners.add((change) => this.#follow(change));
  }

  claimedIps(): readonly Ip[] {
    return [...this.#podsByIp.keys()];
  }

  claimsOf(ip: Ip): readonly VipClaim[] {
    return [...(this.#podsByIp.get(ip) ?? [])].flatMap((key) => {
      const pod = this.#api.get("pods", key);
      return pod === undefined || isFinished(pod) ? [] : this.#claimOf(pod);
    });
  }

  ipsOf(pod: PodId): readonly Ip[] {
    return this.#api.get("pods", podIdText(pod))?.virtualIps ?? [];
  }

  pools(): readonly VipPool[] {
    return [examplePool];
  }

  forbidden(): readonly ForbiddenRange[] {
    return this.#api.list("nodes").flatMap(({ facts }) =>
      facts.internalIps.map((ip) => {
        const value = ipToNumber(ip);
        return { range: { first: value, last: value }, what: `an address of node ${facts.name}` };
      }),
    );
  }

  complaints(): readonly [] {
    return [];
  }

  async tell(
    pod: { readonly id: PodId; readonly uid: string },
    condition: HolderCondition,
  ): Promise<"told" | "gone"> {
    if (this.#api.get("pods", podIdText(pod.id))?.facts.uid !== pod.uid) return "gone";
    this.#told.set(pod.uid, condition);
    return "told";
  }

  watch(listener: (ip: Ip) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #follow(change: Change): void {
    if (change.collection === "pods") this.#see(change.key, change.before, change.value);
    if (change.collection === "nodes") this.#seeNode(change.key, change.value);
  }

  #see(key: string, before: SimPod | undefined, pod: SimPod | undefined): void {
    const ips = new Set([...(before?.virtualIps ?? []), ...(pod?.virtualIps ?? [])]);
    if (ips.size === 0) return;
    for (const ip of before?.virtualIps ?? []) {
      const keys = this.#podsByIp.get(ip);
      keys?.delete(key);
      if (keys?.size === 0) this.#podsByIp.delete(ip);
    }
    for (const ip of pod?.virtualIps ?? []) {
      const keys = this.#podsByIp.get(ip) ?? new Set();
      this.#podsByIp.set(ip, keys.add(key));
    }
    const uid = pod?.facts.uid ?? before?.facts.uid ?? "";
    if (pod?.isReady !== true) this.#readySinceMs.delete(uid);
    else if (!this.#readySinceMs.has(uid)) this.#readySinceMs.set(uid, this.#clock.nowMs());
    if (pod === undefined) this.#told.delete(uid);
    this.#tell(ips);
  }

  /** A node that fell silent is called not ready a while later, of which nothing else tells. */
  #seeNode(name: string, node: SimNode | undefined): void {
    const tell = () => {
      const own = this.#api.list("pods").filter(({ facts }) => facts.nodeName === name);
      this.#tell(new Set(own.flatMap(({ virtualIps = [] }) => virtualIps)));
    };
    tell();
    if (node?.isUp === false) this.#clock.after(nodeGraceMs, tell);
  }

  #tell(ips: ReadonlySet<Ip>): void {
    for (const listener of [...this.#listeners]) {
      // In the turn after the change, as a watch does.
      queueMicrotask(() => {
        if (this.#listeners.has(listener)) for (const ip of ips) listener(ip);
      });
    }
  }

  #claimOf({ deletedAtMs, facts, isReady, virtualIps = [] }: SimPod): VipClaim {
    const { assignedIps, id, nodeName, phase, uid } = facts;
    const node = this.#api.get("nodes", nodeName);
    const isNodeReady =
      node !== undefined && (node.isUp || this.#clock.nowMs() - node.downSinceMs < nodeGraceMs);
    const notReadySinceMs = node?.isUp === false ? node.downSinceMs : undefined;
    return {
      pod: id,
      podUid: uid,
      podIps: assignedIps.length > 0 ? assignedIps : [overlayIp(uid)],
      nodeName,
      phase,
      isReady,
      readySinceMs: this.#readySinceMs.get(uid) ?? 0,
      isTerminating: deletedAtMs !== undefined,
      unableSinceMs: deletedAtMs ?? (isNodeReady ? undefined : notReadySinceMs),
      wishes: { sendsFromVip: false, ports: undefined, probe: undefined },
      isNodeReady,
      priority: 0,
      preempts: false,
      told: this.#told.get(uid),
      siblings: virtualIps,
    };
  }
}

function isFinished({ facts: { phase } }: SimPod): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

/** The address that a cluster network would give to a pod that asks for no float IP. */
function overlayIp(uid: string): Ip {
  const [, , , third = "0", fourth = "0"] = macOf(uid).split(":");
  const offset = Number.parseInt(third, 16) * 256 + Number.parseInt(fourth, 16);
  return ipFromNumber(0x0af4_0000 + offset);
}
