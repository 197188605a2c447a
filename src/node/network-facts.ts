// Reading what is needed to judge steps: host, pod and sysctls, with one question each.

import type { AttachmentId } from "../core/cni-plan.ts";
import type { NetStep, NetworkFacts } from "../core/net-model.ts";
import { sysctlsOf } from "../core/net-model.ts";
import type { Announcer } from "../ports/announcer.ts";
import type { AttachmentStore } from "../ports/attachment-store.ts";
import type { Clock } from "../ports/clock.ts";
import type { HostNetwork } from "../ports/host-network.ts";
import type { Log } from "../ports/log.ts";
import type { NodeLocks } from "../ports/node-locks.ts";

/** What the use cases of a node work with. */
export type NodePorts = {
  readonly network: HostNetwork;
  readonly announcer: Announcer;
  readonly store: AttachmentStore;
  readonly locks: NodeLocks;
  readonly clock: Clock;
  readonly log: Log;
};

/** How long one call waits for another one that works on the same container or on the devices that all share. */
export const lockLimitMs = 60_000;

/** The lock of the devices that attachments share. */
export const sharedLock = "shared";

/** The lock of a container. */
export function containerLock(id: AttachmentId): string {
  return `container/${id.containerId}`;
}

/**
 * What host and pod look like, as far as the steps are concerned.
 * @param netns undefined when the pod is not to be looked at
 */
export async function readFacts(
  network: HostNetwork,
  netns: string | undefined,
  steps: readonly NetStep[],
): Promise<NetworkFacts> {
  const routesTo = new Set<string>();
  const routesOf = new Set<string>();
  const neighboursOf = new Set<string>();
  const functionsOf = new Set<string>();
  for (const step of steps) {
    if ("pf" in step) functionsOf.add(step.pf);
    if ((step.do === "neighbour" || step.do === "no neighbour") && step.place === "host") {
      neighboursOf.add(step.link);
    }
    if ((step.do !== "route" && step.do !== "no route") || step.place !== "host") continue;
    // The exact question finds the main table only.
    if (step.table === 254 && !step.dst.endsWith("/0")) routesTo.add(step.dst);
    else routesOf.add(step.link);
  }
  const [host, pod] = await Promise.all([
    network.readHost({
      routesOf: [...routesOf],
      routesTo: [...routesTo],
      neighboursOf: [...neighboursOf],
      functionsOf: [...functionsOf],
    }),
    netns === undefined || netns === "" ? undefined : network.readPod(netns),
  ]);
  const podKeys = pod === undefined ? [] : sysctlsOf(steps, "pod");
  const [hostSysctls, podSysctls] = await Promise.all([
    network.readSysctls(undefined, sysctlsOf(steps, "host")),
    podKeys.length === 0 ? {} : network.readSysctls(netns, podKeys),
  ]);
  return {
    host: { ...host, sysctls: hostSysctls },
    pod: pod === undefined ? undefined : { ...pod, sysctls: podSysctls },
  };
}
