// Whether a waiting pod could be served, found out by trying everything in the small world: no index, no order of preference, no memory.
// The product's answers are judged against it, so that it uses none of the product's decisions.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import { podKey, workloadKey } from "../src/adapters/simulated/keys.ts";
import type { SimPod, SimWorkload, WorkloadKind } from "../src/adapters/simulated/objects.ts";
import type { Allocation } from "../src/core/allocation.ts";
import { isBound } from "../src/core/allocation.ts";
import { poolInForce } from "../src/core/decide-pool.ts";
import { podIsFinished } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import { familyOf } from "../src/core/ip.ts";
import { addressesOf } from "../src/core/ip-range.ts";
import type { WorkloadRef } from "../src/core/owner.ts";
import { podIdText, podsAreInterchangeable, workloadIdText } from "../src/core/owner.ts";
import type { Slot } from "../src/core/pick.ts";
import { slotAccepts, slotsOf } from "../src/core/pick.ts";
import type { Topology } from "../src/core/subnets.ts";
import { addressLimitOf } from "./address-limit.ts";
import { addressQuotaOf, quotaNamespaceOf } from "./quota-rule.ts";

/** An address and what taking it means. */
type Candidate = {
  readonly ip: Ip;
  readonly from: "own" | "reserved" | "new";
  /** It counts for the namespace only when the pod has it. */
  readonly isCharged: boolean;
};

/** The name of a node on which the pod could get all its addresses now; undefined when there is none, or nobody should serve the pod. */
export function placeFor(pod: SimPod, api: SimApi, topology: Topology): string | undefined {
  const { facts } = pod;
  if (facts.nodeName !== "" || pod.deletedAtMs !== undefined || podIsFinished(facts)) return;
  if (!facts.wantsAddress || facts.problems.length > 0) return;
  const workload = workloadOf(pod, api);
  if (workload === "unknown") return;
  const ref = workload?.ref;
  const records = api.list("records");
  const ofName = records.filter(
    ({ owner }) => owner.kind === "pod" && podIdText(owner.pod) === podKey(facts.id),
  );
  // An earlier pod of the name still has addresses: that is another rule's matter.
  if (ofName.some(({ podUid }) => podUid !== "" && podUid !== facts.uid)) return;
  const own = ofName.filter(
    (record) =>
      record.podUid === facts.uid ||
      (topology.isConfigured(record.ip) && isOf(record, ref, facts.pool)),
  );
  const size =
    facts.pool === undefined
      ? undefined
      : poolInForce(api.list("pools").filter(({ name }) => name === facts.pool))?.size;
  if (!mayAsk(pod, workload)) return;
  if (own.length === 0 && !isWithinLimit(pod, workload, records, size)) return;
  const room =
    size === undefined
      ? Number.POSITIVE_INFINITY
      : size - records.filter((record) => poolOf(record) === facts.pool).length;
  const { namespace } = facts.id;
  const quota =
    addressQuotaOf(namespace, api.list("quotas")) -
    records.filter((record) => quotaNamespaceOf(record) === namespace).length;
  const taken = new Set([...records.map(({ ip }) => ip), ...carried(api)]);
  for (const { facts: node } of api.list("nodes")) {
    if (pod.onlyNode !== undefined && pod.onlyNode !== node.name) continue;
    const zone = topology.zoneOf(node.internalIps);
    if (zone === undefined) continue;
    const subnets = zone.subnetIndexes.flatMap((index) => topology.subnets[index] ?? []);
    const ownFamilies = own.map(({ ip }) => familyOf(ip));
    const isOpen = facts.request.kind === "families" && facts.request.families === undefined;
    const slots = slotsOf(
      facts.request,
      new Set(
        isOpen && own.length > 0
          ? ownFamilies
          : [...subnets.map(({ family }) => family), ...ownFamilies],
      ),
    );
    if (slots.length === 0) continue;
    const candidates: Candidate[] = [
      ...own
        .filter(({ ip }) => topology.zoneMayUse(zone, ip))
        .map(({ ip }) => ({ ip, from: "own" as const, isCharged: false })),
      ...records
        .filter(
          ({ ip, owner }) =>
            isReservedFor(owner, pod, ref) &&
            zone.subnetIndexes.some(
              (index) => topology.subnets[index] === topology.subnetFor(ip),
            ) &&
            topology.isConfigured(ip),
        )
        .map(({ ip, owner }) => ({
          ip,
          from: "reserved" as const,
          isCharged: owner.kind === "pool",
        })),
      ...subnets
        .flatMap(({ ranges }) => ranges.flatMap((range) => [...addressesOf(range)]))
        .filter((ip) => !taken.has(ip))
        .map((ip) => ({ ip, from: "new" as const, isCharged: true })),
    ];
    const everyOwn = own.map(({ ip }) => ({ ip, from: "own" as const, isCharged: false }));
    const ownCount = mostOwn(slots, everyOwn);
    if (canServe(slots, candidates, { ownCount, room, quota })) return node.name;
  }
  return undefined;
}

/** The workload that the pod counts for; `unknown` when its controller is gone, as its pods soon are. */
function workloadOf({ facts }: SimPod, api: SimApi): SimWorkload | undefined | "unknown" {
  const { controller, id } = facts;
  if (controller === undefined) return undefined;
  const kind = controller.kind.toLowerCase() as WorkloadKind;
  const direct = api.get("workloads", workloadKey(kind, id.namespace, controller.name));
  if (direct === undefined || direct.uid !== controller.uid) return "unknown";
  if (direct.deployment === undefined) return direct;
  return (
    api.get("workloads", workloadKey("deployment", id.namespace, direct.deployment)) ?? "unknown"
  );
}

/** Spec float-ip 4, filter 2 and 5: which policies and ranges a pod of this kind may have. */
function mayAsk({ facts }: SimPod, workload: SimWorkload | undefined): boolean {
  if (facts.policy === "pod-delete") return true;
  if (facts.request.kind === "ranges" && podsAreInterchangeable(workload?.ref)) return false;
  const kind = workload?.kind;
  if (kind === "deployment" || kind === "replicaset" || kind === "statefulset") return true;
  if (!/-[0-9]*$/.test(facts.id.name)) return false;
  return facts.policy === "never" || kind === "tapp";
}

/** Spec float-ip 4, filter 3. */
function isWithinLimit(
  { facts }: SimPod,
  workload: SimWorkload | undefined,
  records: readonly Allocation[],
  size: number | undefined,
): boolean {
  if (facts.policy === "pod-delete") return true;
  const users = records.filter(
    (record) =>
      isBound(record) &&
      record.podUid !== facts.uid &&
      record.owner.kind === "pod" &&
      record.owner.pool === facts.pool,
  );
  if (size !== undefined) return users.length < size;
  if (workload === undefined || !podsAreInterchangeable(workload.ref)) return true;
  const uids = users
    .filter(({ owner }) => owner.kind === "pod" && isSame(owner.workload, workload.ref))
    .map(({ podUid }) => podUid);
  return new Set(uids).size < addressLimitOf(workload);
}

function isOf({ owner }: Allocation, ref: WorkloadRef | undefined, pool: string | undefined) {
  if (owner.kind !== "pod" || owner.pool !== pool) return false;
  return owner.workload === undefined ? ref === undefined : isSame(ref, owner.workload);
}

function isSame(a: WorkloadRef | undefined, b: WorkloadRef | undefined): boolean {
  return a !== undefined && b !== undefined && workloadIdText(a) === workloadIdText(b);
}

/** Reserved addresses that any pod of the workload or pool may take. */
function isReservedFor(
  owner: Allocation["owner"],
  { facts }: SimPod,
  ref: WorkloadRef | undefined,
): boolean {
  if (facts.pool !== undefined) return owner.kind === "pool" && owner.pool === facts.pool;
  if (facts.policy === "pod-delete" || !podsAreInterchangeable(ref)) return false;
  return owner.kind === "workload" && isSame(owner.workload, ref);
}

function poolOf({ owner }: Allocation): string | undefined {
  return owner.kind === "pool" || owner.kind === "pod" ? owner.pool : undefined;
}

/** What living pods carry, with or without a record. */
function carried(api: SimApi): readonly Ip[] {
  return api
    .list("pods")
    .flatMap(({ facts }) =>
      facts.nodeName === "" || podIsFinished(facts) ? [] : facts.assignedIps,
    );
}

/** How many slots the pod's own addresses can serve at once, wherever they are: so many it must keep. */
function mostOwn(slots: readonly Slot[], own: readonly Candidate[]): number {
  for (let count = Math.min(slots.length, own.length); count > 0; count -= 1) {
    if (
      canServe(slots, own, { ownCount: count, room: 0, quota: 0, mayLeave: slots.length - count })
    ) {
      return count;
    }
  }
  return 0;
}

/** Tries every choice of different addresses for the slots. */
function canServe(
  slots: readonly Slot[],
  candidates: readonly Candidate[],
  wanted: {
    readonly ownCount: number;
    readonly room: number;
    /** How many the namespace may have beside those that it has. */
    readonly quota: number;
    readonly mayLeave?: number;
  },
): boolean {
  const used = new Set<Ip>();
  const attempt = (
    index: number,
    { own, fresh, charged, left }: Readonly<Record<"own" | "fresh" | "charged" | "left", number>>,
  ): boolean => {
    const slot = slots[index];
    if (slot === undefined) return own >= wanted.ownCount;
    for (const { ip, from, isCharged } of candidates) {
      if (used.has(ip) || !slotAccepts(slot, ip)) continue;
      if (from === "new" && fresh >= wanted.room) continue;
      if (isCharged && charged >= wanted.quota) continue;
      used.add(ip);
      const isServed = attempt(index + 1, {
        own: own + (from === "own" ? 1 : 0),
        fresh: fresh + (from === "new" ? 1 : 0),
        charged: charged + (isCharged ? 1 : 0),
        left,
      });
      used.delete(ip);
      if (isServed) return true;
    }
    return (
      left < (wanted.mayLeave ?? 0) && attempt(index + 1, { own, fresh, charged, left: left + 1 })
    );
  };
  return attempt(0, { own: 0, fresh: 0, charged: 0, left: 0 });
}
