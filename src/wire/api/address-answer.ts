// An address as the API shows it: the fields of the Go system, and what is wanted beyond them.

import type { Allocation } from "../../core/allocation.ts";
import { isBound, stateOf } from "../../core/allocation.ts";
import type { EntryPhase } from "../../core/allocation-table.ts";
import type { Ip } from "../../core/ip.ts";
import type { ReleasePolicy } from "../../core/release-policy.ts";
import { formatTime } from "../json-value.ts";
import type { AddressState, FloatingIp } from "./floating-ip.ts";

/** The numbers of the policies on the wire. */
export const policyNumbers: Readonly<Record<ReleasePolicy, number>> = {
  "pod-delete": 0,
  immutable: 1,
  never: 2,
};

/** What is known of an address beside its record. */
export type AddressFacts = {
  readonly ip: Ip;
  /** Undefined: it is free. */
  readonly allocation: Allocation | undefined;
  readonly phase: EntryPhase | undefined;
  /** It is promised to a pod that is being scheduled. */
  readonly isHeld: boolean;
  /** Phase of the pod, `Deleted`, or undefined when it concerns no pod. */
  readonly podStatus: string | undefined;
  readonly isReleasable: boolean;
  /** The pod subnet, as a CIDR block; undefined when none lists the address. */
  readonly subnet: string | undefined;
};

/** The state of an address as one word. */
export function addressStateOf({
  allocation,
  phase,
  isHeld,
}: Pick<AddressFacts, "allocation" | "phase" | "isHeld">): AddressState {
  if (allocation === undefined) return isHeld ? "held" : "free";
  if (phase === "unsettled" || phase === "lost") return "unknown";
  const states = { Bound: "bound", Reserved: "reserved", Admin: "admin", Draining: "draining" };
  return states[stateOf(allocation)] as AddressState;
}

/** The established fields; those that have nothing to say are left out, as Go does. */
export function formatAddress(facts: AddressFacts): FloatingIp {
  const { allocation } = facts;
  if (allocation === undefined) {
    return { ip: facts.ip, policy: 0, ...(facts.isReleasable ? { releasable: true } : {}) };
  }
  const { owner } = allocation;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
  const namespace = pod?.namespace ?? workload?.namespace;
  return {
    ip: facts.ip,
    policy: policyNumbers[allocation.policy],
    updateTime: formatTime(allocation.updatedAtMs),
    ...(namespace === undefined ? {} : { namespace }),
    ...(workload === undefined ? {} : { appName: workload.name, appType: workload.kind }),
    ...(workload?.type === "deployment" ? { isDeployment: true } : {}),
    ...(pod === undefined ? {} : { podName: pod.name }),
    ...(pool === undefined ? {} : { poolName: pool }),
    ...(facts.podStatus === undefined ? {} : { status: facts.podStatus }),
    ...(facts.isReleasable ? { releasable: true } : {}),
    ...(isBound(allocation)
      ? { attr: JSON.stringify({ NodeName: allocation.nodeName, Uid: allocation.podUid }) }
      : {}),
  };
}

/** The established fields and those of `wide=true`. */
export function formatWideAddress(facts: AddressFacts): FloatingIp {
  const { allocation } = facts;
  return {
    ...formatAddress(facts),
    state: addressStateOf(facts),
    ...optional("nodeName", allocation?.nodeName),
    ...optional("lastNodeName", allocation?.lastNodeName),
    ...optional("podUid", allocation?.podUid),
    ...optional("subnet", facts.subnet),
  };
}

function optional(name: string, text: string | undefined): Readonly<Record<string, string>> {
  return text === undefined || text === "" ? {} : { [name]: text };
}
