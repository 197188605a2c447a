// The real agent of a node over a gate in memory, against a real API server: for tests of the control side, which have no network.

import { ApiClient } from "../../src/adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../../src/adapters/kubernetes/credentials.ts";
import {
  KubernetesNodeLeaseStore,
  KubernetesVipStore,
  vipLeaseNamespace,
} from "../../src/adapters/kubernetes/vip-stores.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { MemoryVipGate } from "../../src/adapters/memory/vip-gate.ts";
import { MemoryVipHost } from "../../src/adapters/memory/vip-host.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { VipTimers } from "../../src/core/vip.ts";
import { VipAgent } from "../../src/vip/vip-agent.ts";

const times = { firstPauseMs: 50, maxPauseMs: 500 };

/** An agent that runs, and the gate that outlives it. */
export type MemoryAgent = { readonly gate: MemoryVipGate; readonly stop: () => void };

/** Starts the agent of a node; resolves when it has read all records. */
export async function startMemoryAgent(options: {
  readonly kubeconfig: string;
  readonly nodeName: string;
  readonly timers: VipTimers;
}): Promise<MemoryAgent> {
  const { nodeName, timers } = options;
  const log = new MemoryLog();
  const clock = new SystemClock();
  const client = new ApiClient({ access: await openApiAccess({ kubeconfig: options.kubeconfig }) });
  const vips = new KubernetesVipStore({ client, log, times });
  const namespace = vipLeaseNamespace;
  const leases = new KubernetesNodeLeaseStore({ client, log, namespace, nodeName, times });
  const gate = new MemoryVipGate(clock);
  const host = new MemoryVipHost();
  vips.start();
  await vips.whenSynced();
  const agent = new VipAgent({ nodeName, vips, leases, gate, host, clock, log, timers });
  agent.start();
  return {
    gate,
    stop: () => {
      agent.stop();
      vips.stop();
      client.close();
    },
  };
}
