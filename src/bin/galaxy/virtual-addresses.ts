// The daemon's part that answers for virtual addresses: the agent with its lease, the kernel's gate, and the node's network around it. Does
// nothing until the API server knows their objects and all of them are read; on a cluster without virtual addresses that is never.

import { join } from "node:path";
import manifest from "../../../package.json" with { type: "json" };
import { ApiClient } from "../../adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../../adapters/kubernetes/credentials.ts";
import { KubernetesPodConditions } from "../../adapters/kubernetes/pod-conditions.ts";
import { KubernetesVipClaims } from "../../adapters/kubernetes/vip-claims.ts";
import { readVipPeerKey } from "../../adapters/kubernetes/vip-peer-key.ts";
import {
  KubernetesNodeLeaseStore,
  KubernetesVipStore,
  vipLeaseNamespace,
} from "../../adapters/kubernetes/vip-stores.ts";
import { NetlinkVipRoutes } from "../../adapters/linux/netlink-vip-routes.ts";
import { NftSession } from "../../adapters/linux/nft-session.ts";
import { NftVipGate } from "../../adapters/linux/vip-gate.ts";
import { LinuxVipNetwork } from "../../adapters/linux/vip-network.ts";
import { IprouteVipRoutes } from "../../adapters/linux/vip-routes.ts";
import { leaveVipSession, takeVipSession } from "../../adapters/linux/vip-session-file.ts";
import { VipSpeaker } from "../../adapters/linux/vip-speaker.ts";
import { PrometheusVipNodeMetrics } from "../../adapters/metrics/prometheus-vip-metrics.ts";
import { SteadyClock } from "../../adapters/system/clock.ts";
import { TcpPortProbe } from "../../adapters/system/port-probe.ts";
import { UdpVipPeers } from "../../adapters/system/vip-peers.ts";
import type { Ip } from "../../core/ip.ts";
import { vipTimers } from "../../core/vip.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { VipAgent } from "../../vip/vip-agent.ts";
import { VipNode } from "../../vip/vip-node.ts";
import { VipProber } from "../../vip/vip-prober.ts";
import { VipReports } from "../../vip/vip-reports.ts";
import { vipProbeCondition } from "../../wire/vip-claim.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";

/** Another daemon of this node may still be ending. */
const lockLimitMs = 5_000;

const retryMs = 2_000;

/** Virtual addresses as a part; where the flag says no, one that does nothing. */
export function virtualAddresses(world: NodeWorld): DaemonPart {
  const { metrics, options } = world;
  const stopping = new AbortController();
  let running = Promise.resolve();
  return {
    name: "virtual addresses",
    async start() {
      if (!options.answersForVips) return;
      const live: Live = { agent: undefined, node: undefined };
      const figures = new PrometheusVipNodeMetrics(metrics.registry, {
        held: () => live.node?.heldCount ?? 0,
        leaseLeftSeconds: () => (live.agent?.leaseLeftMs() ?? 0) / 1_000,
      });
      running = run({ world, live, figures, signal: stopping.signal });
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** What is running at the moment, for metrics. */
type Live = { agent: VipAgent | undefined; node: VipNode | undefined };

type Life = {
  readonly world: NodeWorld;
  readonly live: Live;
  readonly figures: PrometheusVipNodeMetrics;
  readonly signal: AbortSignal;
};

/** One agent of a node at a time: the second waits for the first to end. */
async function run(life: Life): Promise<void> {
  const { world, signal } = life;
  const { locks, log } = world.ports;
  while (!signal.aborted) {
    try {
      await locks.withLock("virtual addresses", lockLimitMs, () => answer(life));
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("virtual addresses are not answered for, it is tried again", {}, error);
      await Promise.race([aborted(signal), pause(world, retryMs)]);
    }
  }
}

async function answer({ world, live, figures, signal }: Life): Promise<void> {
  const { nodeName, options, events } = world;
  const { log, network: host } = world.ports;
  const clock = new SteadyClock();
  // A client of its own: nothing else of the node waits before a renewal.
  const client = new ApiClient({
    access: await openApiAccess(options),
    userAgent: `galaxy-vip/${manifest.version}`,
  });
  const vips = new KubernetesVipStore({ client, log });
  const leases = new KubernetesNodeLeaseStore({
    client,
    log,
    namespace: vipLeaseNamespace,
    nodeName,
  });
  const claims = new KubernetesVipClaims({
    client,
    log,
    readsCalico: options.vipReadsCalico,
    nodeName,
  });
  const netns = options.hostNetns === "" ? {} : { hostNetns: options.hostNetns };
  const hook = options.vipRouteHook === "" ? {} : { routeHook: options.vipRouteHook };
  const nft = new NftSession(netns);
  const { calls } = world;
  const speaker = new VipSpeaker({ ...netns, ...hook, calls, log });
  const routes =
    calls === undefined ? new IprouteVipRoutes(netns) : new NetlinkVipRoutes(calls, netns);
  const network = new LinuxVipNetwork({
    nft,
    speaker,
    host,
    routes,
    clock,
    log,
    ...netns,
    ...hook,
  });
  const gate = new NftVipGate(nft, { speaksAsAddress: (ip) => network.sendsFromVip(ip) });
  let peers: UdpVipPeers | undefined;
  const sessionFile = join(options.stateFolder, "vip-session");
  try {
    vips.start();
    claims.start();
    const synced = Promise.all([vips.whenSynced(), claims.whenSynced()]);
    await Promise.race([synced, aborted(signal)]);
    if (signal.aborted) return;
    peers = await openPeers(world, client, (name) => claims.nodeIps(name));
    const resumed = await takeVipSession(sessionFile);
    if (resumed === undefined) await gate.clear();
    else await gate.ensureTables();
    const kept = (await gate.answering()).map(({ ip }) => ip);
    await network.start(kept);
    const node = new VipNode({
      nodeName,
      vips,
      claims,
      nodeIps: (name) => claims.nodeIps(name),
      network,
      clock,
      log,
      report: new VipReports({
        nodeName,
        vips,
        events,
        clock,
        log,
        count: (what, tookMs) => figures.count(what, tookMs),
      }),
    });
    const agent = new VipAgent({
      nodeName,
      vips,
      leases,
      gate,
      host: node,
      ...(peers === undefined ? {} : { peers }),
      clock,
      log,
      timers: vipTimers,
    });
    const prober = new VipProber({
      nodeName,
      claims,
      conditions: new KubernetesPodConditions(client, vipProbeCondition),
      probe: new TcpPortProbe(),
      clock,
      log,
    });
    live.agent = agent;
    live.node = node;
    agent.start(resumed);
    node.start(kept);
    prober.start();
    const stopWatch = claims.watch((ip) => agent.lookAgain(ip));
    log.info("virtual addresses are answered for", { node: nodeName, kept: kept.length });
    await aborted(signal);
    stopWatch();
    prober.stop();
    const handedOn =
      options.vipRestartMs > 0 ? await agent.handOn(options.vipRestartMs) : undefined;
    // What cannot be handed on is given up at once, for others to take.
    const session = handedOn ?? (await leave(agent, log));
    node.stop();
    if (session !== undefined) await leaveVipSession(sessionFile, session);
    await network.stop(session !== undefined);
  } finally {
    live.agent = undefined;
    live.node = undefined;
    vips.stop();
    claims.stop();
    leases.stop();
    await peers?.close();
    client.close();
    await nft.close();
  }
}

/** The other agents; undefined where the key cannot be had or the port is taken: then all pools fence, and the log says why. */
async function openPeers(
  { nodeName, ports: { log } }: NodeWorld,
  client: ApiClient,
  ipsOf: (nodeName: string) => readonly Ip[],
): Promise<UdpVipPeers | undefined> {
  try {
    const key = await readVipPeerKey(client, vipLeaseNamespace);
    return await UdpVipPeers.open({ nodeName, ipsOf, key });
  } catch (error) {
    log.warn("pools with onControlPlaneLoss: Hold fence on this node", { node: nodeName }, error);
    return undefined;
  }
}

/** Without the API server nobody hears of it, and everybody waits for the end of the lease. */
async function leave(agent: VipAgent, log: Log): Promise<undefined> {
  try {
    await agent.leave();
  } catch (error) {
    if (!(error instanceof WorldError)) throw error;
    log.warn("the session for virtual addresses ends by itself", {}, error);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function pause(world: NodeWorld, ms: number): Promise<void> {
  return new Promise((resolve) => world.ports.clock.after(ms, resolve));
}
