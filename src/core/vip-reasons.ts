// In words: why a pod may not hold a virtual address, and what to do about it. The words themselves come from vip-holder.ts; decides nothing.

import type { Ip } from "./ip.ts";
import { familyOf } from "./ip.ts";
import { podIdText } from "./owner.ts";
import type { VipClaimant, VipRecord } from "./vip.ts";

/** A sentence about a claimant that names pod, cause and remedy; whether it holds, stands by or may not hold. */
export function explainClaimant(record: VipRecord, claimant: VipClaimant): string {
  const { holder, ip } = record;
  const pod = `pod ${podIdText(claimant.pod)}`;
  const { namespace, name } = claimant.pod;
  if (holder?.pod.namespace === namespace && holder.pod.name === name) {
    if (claimant.reason === undefined) return `${pod} holds ${ip}`;
  }
  return claimant.reason === undefined
    ? `${pod} may hold ${ip} and stands by`
    : `${pod} may not hold ${ip}: ${causeOf(claimant, ip)}`;
}

function causeOf({ nodeName, pod, reason }: VipClaimant, ip: Ip): string {
  switch (reason) {
    case "PodTerminating":
      return "it is being deleted";
    case "PodNotRunning":
      return "it does not run yet; look at its events";
    case "PodNotReady":
      return "its Ready condition is not True; look at its readiness probe";
    case "ProbeFailing":
      return `the probe of its annotation fails, or node ${nodeName} has not reported it yet; look at its port`;
    case "NoAddressOfFamily":
      return `it has no ${familyOf(ip)} address of its own; give its network one, or claim an address of its family`;
    case "NodeNotReady":
      return `its node ${nodeName} is not ready`;
    case "NoFreshAgent":
      return `no agent of node ${nodeName} renews its lease; look at the galaxy daemon there`;
    case "NoPool":
      return `no VIPPool has ${ip}; extend the ranges of one, or claim another address`;
    case "NamespaceNotAllowed":
      return `namespace ${pod.namespace} is in no namespaces of its VIPPool; add it there`;
    case "AddressForbidden":
      return `${ip} is never a virtual address; claim another one`;
    case undefined:
      return "";
    default:
      return reason;
  }
}
