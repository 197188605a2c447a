// What becomes of one record of a backup: entered as it was, entered for later, or left out with the reason. What is there now is always
// right: nothing that a record or a living pod has is ever changed. Pure; who asks the world and enters is ipam/restore.ts.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import { decideReclaim } from "./decide-reclaim.ts";
import type { PodFacts, WorkloadState } from "./facts.ts";
import type { Owner, WorkloadRef } from "./owner.ts";
import {
  describeOwner,
  podIdText,
  podsAreInterchangeable,
  sameOwner,
  workloadIdText,
} from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";
import { vipOwnerKey } from "./vip.ts";

/** What is known about one record of a backup, all of it of one moment. */
export type RestoreFacts = {
  /** The record as the backup has it. */
  readonly recorded: Allocation;
  /** The record of the address that is there now. */
  readonly found: Allocation | undefined;
  /** Living pods whose annotation names the address. */
  readonly carriers: readonly PodFacts[];
  /** The living pod of the name that the record has; undefined when it is certain that there is none. */
  readonly pod: PodFacts | undefined;
  /** The workload of {@link carriers}' first, else of {@link pod}, as it is read now. */
  readonly workloadOfPod: WorkloadRef | undefined;
  /** State of the recorded workload; `gone` where it decides nothing. */
  readonly workload: WorkloadState;
  /** Addresses of the same family that the recorded workload has without this one, pools aside. */
  readonly ownedCount: number;
  /** How many more addresses the recorded pool may have; undefined: any number. */
  readonly poolRoom: number | undefined;
  /** The name of the recorded pod got another address after the backup was made. */
  readonly hasLaterAddress: boolean;
  /** Uid of the pod that the address is promised to while it is being scheduled. */
  readonly promisedTo: string | undefined;
  readonly isConfigured: boolean;
};

/** A record to enter. */
export type RestoredRecord = {
  readonly owner: Owner;
  readonly policy: ReleasePolicy;
  /** Both "" when it is kept for later. */
  readonly podUid: string;
  readonly nodeName: string;
  readonly lastNodeName: string;
};

/**
 * - `enter`: nobody has the address, and whoever it is entered for is entitled to it
 * - `nothing`: the record is there
 * - `leave`: it was overtaken by what happened since; nobody misses anything
 * - `refuse`: somebody else has it, or it cannot be entered now; an operator has to choose
 */
export type RestoreDecision =
  | { readonly do: "enter"; readonly record: RestoredRecord }
  | { readonly do: "nothing" }
  | { readonly do: "leave"; readonly because: LeaveReason; readonly who?: string }
  | { readonly do: "refuse"; readonly because: RefuseReason; readonly who?: string };

/** Why a record of a backup is owed to nobody. */
export type LeaveReason =
  | "policy pod-delete"
  | "workload gone"
  | "scaled down"
  | "policy not supported"
  | "outside the configuration"
  | "pod runs with other addresses"
  | "its owner has gone on"
  | "its pod has another address"
  | "pool has its size"
  | "virtual address";

/** Why an operator has to choose. */
export type RefuseReason =
  | "record of another"
  | "another pod carries it"
  | "two pods carry it"
  | "its pod carries others"
  | "not configured"
  | "promised"
  | "workload state unknown";

/** Decides about one record. */
export function decideRestore(facts: RestoreFacts): RestoreDecision {
  const { recorded, found, carriers } = facts;
  const { owner } = recorded;
  if (found !== undefined) return besideRecord(recorded, found);
  // The pods that claim it have it kept again; without one it would be kept for ever.
  if (owner.kind === "admin" && owner.key === vipOwnerKey) return leave("virtual address");
  const [carrier, another] = carriers;
  if (carrier !== undefined && another !== undefined) {
    return refuse("two pods carry it", `${nameOf(carrier)} and ${nameOf(another)}`);
  }
  if (carrier !== undefined) return forCarrier(facts, carrier);
  if (facts.promisedTo !== undefined) return refuse("promised");
  if (!facts.isConfigured) return refuse("not configured");
  switch (owner.kind) {
    case "admin":
    case "foreign":
      return enterForLater(recorded, owner);
    case "pool":
      return enterForPool(facts, owner);
    case "workload":
      return withoutPod(facts);
    case "pod":
      return forPodOfName(facts);
    default:
      return owner satisfies never;
  }
}

/** A record that is there is newer than any backup, or somebody chose to have it so. */
function besideRecord(recorded: Allocation, found: Allocation): RestoreDecision {
  const isSame =
    sameOwner(recorded.owner, found.owner) &&
    recorded.policy === found.policy &&
    recorded.podUid === found.podUid;
  if (isSame) return { do: "nothing" };
  return isKin(recorded.owner, found.owner)
    ? leave("its owner has gone on", ownerText(found))
    : refuse("record of another", ownerText(found));
}

/** A living pod has the address: it keeps it, and the record is made for it alone. */
function forCarrier(facts: RestoreFacts, carrier: PodFacts): RestoreDecision {
  const { recorded, workloadOfPod } = facts;
  const owner: Owner = {
    kind: "pod",
    pod: carrier.id,
    workload: workloadOfPod,
    pool: carrier.pool,
  };
  if (recorded.owner.kind === "pod" && podIdText(recorded.owner.pod) === podIdText(carrier.id)) {
    return {
      do: "enter",
      record: {
        owner,
        policy: carrier.policy,
        podUid: carrier.uid,
        nodeName: carrier.nodeName,
        lastNodeName: "",
      },
    };
  }
  return isKin(recorded.owner, owner)
    ? leave("its owner has gone on", `pod ${nameOf(carrier)}`)
    : refuse("another pod carries it", nameOf(carrier));
}

/** No living pod carries the address; one of the recorded name may run without it. */
function forPodOfName(facts: RestoreFacts): RestoreDecision {
  const { pod } = facts;
  if (pod !== undefined && pod.assignedIps.length > 0) {
    return refuse("its pod carries others", `${nameOf(pod)} (${pod.assignedIps.join(", ")})`);
  }
  if (facts.hasLaterAddress) return leave("its pod has another address");
  return withoutPod(facts);
}

/** What would become of the address if its pod went now: a record that would be released at once is none to enter. */
function withoutPod(facts: RestoreFacts): RestoreDecision {
  const { ownedCount, recorded, workload } = facts;
  const decision = decideReclaim({
    allocation: recorded,
    pod: { kind: "gone" },
    workload,
    ownedCount: ownedCount + 1,
    isConfigured: facts.isConfigured,
  });
  if (decision.do === "release") return leave(decision.because);
  if (decision.do === "keep" && decision.because === "workload state unknown") {
    return refuse("workload state unknown");
  }
  const owner = decision.do === "reserve" ? decision.owner : recorded.owner;
  if (owner.kind === "pool") return enterForPool(facts, owner);
  if (owner.kind === "pod" && owner.pool !== undefined && facts.poolRoom === 0) {
    return leave("pool has its size", owner.pool);
  }
  return enterForLater(recorded, owner);
}

function enterForPool(facts: RestoreFacts, owner: Owner & { readonly kind: "pool" }) {
  return facts.poolRoom === 0
    ? leave("pool has its size", owner.pool)
    : enterForLater(facts.recorded, owner);
}

function enterForLater(recorded: Allocation, owner: Owner): RestoreDecision {
  const { lastNodeName, nodeName, policy } = recorded;
  return {
    do: "enter",
    record: {
      owner,
      policy,
      podUid: "",
      nodeName: "",
      lastNodeName: nodeName === "" ? lastNodeName : nodeName,
    },
  };
}

function leave(because: LeaveReason, who?: string): RestoreDecision {
  return { do: "leave", because, ...(who === undefined ? {} : { who }) };
}

function refuse(because: RefuseReason, who?: string): RestoreDecision {
  return { do: "refuse", because, ...(who === undefined ? {} : { who }) };
}

/** Whether the one owner follows from the other in the ordinary life of an address. */
function isKin(a: Owner, b: Owner): boolean {
  if (sameOwner(a, b)) return true;
  if (a.kind === "pod" && b.kind === "pod" && podIdText(a.pod) === podIdText(b.pod)) return true;
  const poolA = poolOf(a);
  if (poolA !== undefined) return poolA === poolOf(b);
  const workloadA = interchangeableOf(a);
  return workloadA !== undefined && workloadA === interchangeableOf(b);
}

function poolOf(owner: Owner): string | undefined {
  return owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
}

function interchangeableOf(owner: Owner): string | undefined {
  if (owner.kind !== "pod" && owner.kind !== "workload") return undefined;
  const { workload } = owner;
  return workload !== undefined && podsAreInterchangeable(workload)
    ? workloadIdText(workload)
    : undefined;
}

function nameOf(pod: PodFacts): string {
  return podIdText(pod.id);
}

function ownerText(allocation: Allocation): string {
  const { owner } = allocation;
  const isKept = owner.kind === "pod" && !isBound(allocation);
  return `${describeOwner(owner)}${isKept ? ", for which it is kept" : ""}`;
}

/** A decision as a sentence: what happens, why, and the next step where there is one. */
export function describeRestore(decision: RestoreDecision): string {
  switch (decision.do) {
    case "enter": {
      const { owner, podUid, nodeName } = decision.record;
      if (podUid !== "" && owner.kind === "pod") {
        return `pod ${podIdText(owner.pod)} on node ${nodeName} has it`;
      }
      switch (owner.kind) {
        case "pod":
          return `kept for pod ${podIdText(owner.pod)}`;
        case "workload":
          return `kept for workload ${workloadIdText(owner.workload)}`;
        case "pool":
          return `kept for pool ${owner.pool}`;
        case "admin":
          return `reserved by the administrator (${owner.key})`;
        case "foreign":
          return `taken out of use: its key "${owner.key}" is none of this system`;
        default:
          return owner satisfies never;
      }
    }
    case "nothing":
      return "its record is there";
    case "leave":
      return describeLeave(decision.because, decision.who ?? "");
    case "refuse":
      return describeRefusal(decision.because, decision.who ?? "");
    default:
      return decision satisfies never;
  }
}

function describeLeave(because: LeaveReason, who: string): string {
  switch (because) {
    case "its owner has gone on":
      return `it went on since the backup: ${who} has it now`;
    case "its pod has another address":
      return "the pod of that name got another address since the backup";
    case "pool has its size":
      return `pool ${who} has as many addresses as its size allows`;
    case "virtual address":
      return "a virtual address is kept again by the pods that claim it";
    case "policy pod-delete":
      return "its pod is gone, and its policy keeps nothing";
    case "workload gone":
      return "its workload does not exist; create it first if the address is to be kept";
    case "scaled down":
      return "its workload has as many addresses as it has replicas";
    case "policy not supported":
      return "its owner cannot keep an address under its policy";
    case "pod runs with other addresses":
    case "outside the configuration":
      return because;
    default:
      return because satisfies never;
  }
}

function describeRefusal(because: RefuseReason, who: string): string {
  switch (because) {
    case "record of another":
      return `it belongs to ${who}; if the backup is right, release it there (galaxyctl ip release, or ip unreserve) and restore again`;
    case "another pod carries it":
      return `living pod ${who} carries it; if the backup is right, delete that pod, release the address and restore again`;
    case "two pods carry it":
      return `pods ${who} carry it; delete the younger one and restore again (galaxyctl check names it)`;
    case "its pod carries others":
      return `its pod runs with other addresses: ${who}; to give it back, scale the workload to 0, release those and restore again`;
    case "not configured":
      return "no pod subnet lists it; apply the configuration of the backup first (galaxyctl restore FILE --manifests) and restore again";
    case "promised":
      return "it is promised to a pod that is being scheduled; restore again in a moment";
    case "workload state unknown":
      return "the state of its workload cannot be read; restore again when it can (galaxyctl status)";
    default:
      return because satisfies never;
  }
}
