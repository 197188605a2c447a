// A world for the promise of virtual addresses: real controllers and agents, kernels with leases, and everything that can go wrong between
// them, from a seed. The rule: at any time at most one node's gate is open for an address. Not a model of packets.

import { FixedLeadership } from "../../src/adapters/memory/leadership.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { MemoryVersionedStore } from "../../src/adapters/memory/versioned-store.ts";
import { MemoryVipGate } from "../../src/adapters/memory/vip-gate.ts";
import { MemoryVipHost } from "../../src/adapters/memory/vip-host.ts";
import type { Ip } from "../../src/core/ip.ts";
import { ipFromNumber, ipToNumber, parseIp } from "../../src/core/ip.ts";
import type { NodeLease, VipRecord } from "../../src/core/vip.ts";
import { vipTimers } from "../../src/core/vip.ts";
import { whyNot } from "../../src/core/vip-holder.ts";
import { VipAgent } from "../../src/vip/vip-agent.ts";
import { VipController } from "../../src/vip/vip-controller.ts";
import { Random } from "../random.ts";
import { Timeline } from "../timeline.ts";
import { Violation } from "../violation.ts";
import { ModelClaims } from "./claims.ts";
import { DriftingClock, Host } from "./host.ts";
import { calmLink, Link, LinkedStore, SlowGate } from "./link.ts";
import { PeerNet } from "./peers.ts";

/** What became of a world. */
export type VipReport = {
  readonly seed: number;
  readonly failure: string | undefined;
  /** Grants that were made: a world in which nothing moves shows nothing. */
  readonly grants: number;
  /** Looks of the judge at an open gate: a world in which nobody answers shows nothing. */
  readonly openLooks: number;
};

type Node = {
  readonly name: string;
  readonly drift: { readonly offsetMs: number; readonly rate: number };
  kernel: MemoryVipGate;
  agent:
    | {
        readonly host: Host;
        readonly link: Link;
        readonly gate: SlowGate;
        readonly agent: VipAgent;
        /** It was asked to end in order. */
        isEnding: boolean;
      }
    | undefined;
};

type Controller = {
  readonly host: Host;
  readonly link: Link;
  readonly leadership: FixedLeadership;
  readonly controller: VipController;
};

/** How far clocks of the model are off: the product promises to bear a tenth between two of them. */
const worstRate = 0.04;

/** How many worlds have a pool that holds addresses without the API server. */
const holdRate = 0.3;

/** After the last fault everything has to be in order within this time, and stay so. */
const calmMs = 30_000;
const steadyMs = 10_000;

const vipOf = (record: VipRecord): Ip => record.ip;
const nodeOf = (lease: NodeLease): string => lease.nodeName;

/** One world of one seed. */
export class VipWorld {
  readonly #seed: number;
  readonly #timeline = new Timeline();
  readonly #random: Random;
  readonly #foreign: Random;
  readonly #trace: (line: string) => void;
  readonly #vips = new MemoryVersionedStore<Ip, VipRecord>(vipOf);
  readonly #leases = new MemoryVersionedStore<string, NodeLease>(nodeOf);
  readonly #claims: ModelClaims;
  readonly #ips: readonly Ip[];
  readonly #nodes: readonly Node[];
  readonly #controllers: Controller[] = [];
  /** Undefined in a world whose pool fences. */
  readonly #peers: PeerNet | undefined;
  readonly #epochs = new Map<string, number>();
  #grants = 0;
  #openLooks = 0;
  #isCalm = false;

  /** @param trace takes every line of what happens */
  constructor(seed: number, trace: ((line: string) => void) | undefined) {
    this.#seed = seed;
    this.#random = new Random(seed);
    const startMs = this.#timeline.nowMs();
    this.#trace = (line) =>
      trace?.(`${((this.#timeline.nowMs() - startMs) / 1000).toFixed(3)} ${line}`);
    const random = this.#random;
    this.#foreign = new Random(seed + 2_000_003);
    // From a source of its own: worlds whose pool fences are what they are without it.
    this.#peers = new Random(seed + 1_000_003).chance(holdRate) ? new PeerNet() : undefined;
    const first = ipToNumber(parseIp("192.0.2.50") as Ip) as number;
    this.#ips = Array.from({ length: random.integer(1, 3) }, (_, index) =>
      ipFromNumber(first + index),
    );
    this.#claims = new ModelClaims({
      name: "model",
      ranges: [{ first, last: first + 9 }],
      namespaces: undefined,
      mode: { kind: "Route" },
      onControlPlaneLoss: this.#peers === undefined ? "Fence" : "Hold",
      minReadyMs: random.pick([0, 1_000, 5_000]),
      lastResort: "release",
    });
    this.#nodes = Array.from({ length: random.integer(2, 4) }, (_, index) => {
      const drift = { offsetMs: random.integer(-60_000, 60_000), rate: this.#rate() };
      return { name: `n${index}`, drift, kernel: this.#newKernel(drift), agent: undefined };
    });
    this.#watchRecords();
  }

  /** Now and then somebody else on the wire answers for an address that is held, and its node says so in the record for a while. */
  #planForeignClaim(untilMs: number): void {
    const random = this.#foreign;
    this.#timeline.after(random.integer(2_000, 20_000), () => {
      if (this.#timeline.nowMs() >= untilMs || this.#isCalm) return;
      const ip = random.pick(this.#ips);
      this.#sayForeign(ip, "0a:00:00:00:00:01 on eth0");
      this.#timeline.after(random.integer(500, 9_000), () => this.#sayForeign(ip, undefined));
      this.#planForeignClaim(untilMs);
    });
  }

  #sayForeign(ip: Ip, foreignOwner: string | undefined): void {
    const record = this.#vips.get(ip);
    if (record?.holder === undefined || record.foreignOwner === foreignOwner) return;
    this.#trace(`${ip} is ${foreignOwner === undefined ? "no more" : "now"} claimed by others`);
    void this.#vips.update({ ...record, foreignOwner });
  }

  /** Lets faults happen for a time, then lets the world come to rest, and says what was wrong. */
  async run(faultsMs: number): Promise<VipReport> {
    const rule = () => this.#judge();
    let failure: string | undefined;
    try {
      const startMs = this.#timeline.nowMs();
      this.#begin();
      this.#planFault(startMs + faultsMs);
      this.#planForeignClaim(startMs + faultsMs);
      await this.#timeline.runUntil(startMs + faultsMs, rule);
      this.#calmDown();
      await this.#timeline.runUntil(startMs + faultsMs + calmMs, rule);
      this.#judgeRest();
      const epochs = this.#vips.all().map(({ epoch }) => epoch);
      await this.#timeline.runUntil(startMs + faultsMs + calmMs + steadyMs, rule);
      this.#judgeRest();
      const later = this.#vips.all().map(({ epoch }) => epoch);
      if (epochs.join() !== later.join()) {
        throw new Violation(
          "no move without a cause",
          `epochs ${epochs.join()} became ${later.join()}`,
        );
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      failure = error.message;
      this.#trace(failure);
    }
    return { seed: this.#seed, failure, grants: this.#grants, openLooks: this.#openLooks };
  }

  #rate(): number {
    return 1 + (this.#random.fraction() * 2 - 1) * worstRate;
  }

  /** A kernel just started: it answers for nothing. Its clock never stands still. */
  #newKernel(drift: Node["drift"]): MemoryVipGate {
    return new MemoryVipGate(new DriftingClock(this.#timeline, drift, (action) => action()));
  }

  #watchRecords(): void {
    this.#vips.watch((ip) => {
      const record = this.#vips.get(ip);
      if (record === undefined) return;
      const { epoch, holder, release, bornMs } = record;
      const key = `${ip} ${bornMs}`;
      const before = this.#epochs.get(key) ?? 0;
      if (epoch > before) this.#grants += 1;
      this.#epochs.set(key, epoch);
      this.#trace(
        `${ip} epoch ${epoch} ${holder === undefined ? "nobody" : `${holder.pod.name} on ${holder.nodeName} in session ${holder.session}`}, release ${release}`,
      );
    });
    this.#leases.watch((nodeName) => {
      const lease = this.#leases.get(nodeName);
      if (lease?.isRevoked === true) this.#trace(`${nodeName} session ${lease.session} revoked`);
    });
  }

  #begin(): void {
    const random = this.#random;
    const nowMs = this.#timeline.nowMs();
    const podCount = random.integer(3, 5);
    for (let index = 0; index < podCount; index += 1) {
      const podUid = `uid-${index}`;
      this.#claims.add(this.#ips, {
        pod: { namespace: "ns", name: `pod-${index}` },
        podUid,
        podIps: [parseIp(`10.0.0.${index + 1}`) as Ip],
        nodeName: (this.#nodes[index % this.#nodes.length] as Node).name,
        phase: "Running",
        isReady: random.chance(0.8),
        readySinceMs: nowMs - random.integer(0, 10_000),
        isTerminating: false,
        unableSinceMs: undefined,
        wishes: { sendsFromVip: false, ports: undefined, probe: undefined },
        isNodeReady: true,
        priority: random.pick([0, 0, 10]),
        preempts: random.chance(0.2),
        siblings: this.#ips,
        told: undefined,
      });
    }
    for (const node of this.#nodes) this.#startAgent(node);
    this.#startController(true);
    this.#startController(false);
  }

  #startAgent(node: Node, resumed?: number): void {
    const host = new Host(this.#timeline);
    const ends = { timeline: this.#timeline, random: this.#random.fork(), host };
    const link = new Link(ends);
    const gate = new SlowGate(() => node.kernel, ends);
    const clock = new DriftingClock(this.#timeline, node.drift, (action) => host.run(action));
    const agent = new VipAgent({
      nodeName: node.name,
      vips: new LinkedStore(link, this.#vips, vipOf),
      leases: new LinkedStore(link, this.#leases, nodeOf),
      gate,
      host: new MemoryVipHost(),
      clock,
      log: new MemoryLog(),
      timers: vipTimers,
      ...(this.#peers === undefined ? {} : { peers: this.#peers.join(node.name, ends) }),
    });
    node.agent = { host, link, gate, agent, isEnding: false };
    agent.start(resumed);
    this.#trace(`agent of ${node.name} starts${resumed === undefined ? "" : " and goes on"}`);
  }

  #startController(isLeader: boolean): void {
    const host = new Host(this.#timeline);
    const link = new Link({ timeline: this.#timeline, random: this.#random.fork(), host });
    const leadership = new FixedLeadership(isLeader);
    const drift = { offsetMs: this.#random.integer(-60_000, 60_000), rate: this.#rate() };
    // What a controller compares with its own time is told in it.
    const clock = new DriftingClock(this.#timeline, { ...drift, offsetMs: 0 }, (action) =>
      host.run(action),
    );
    const controller = new VipController({
      vips: new LinkedStore(link, this.#vips, vipOf),
      leases: new LinkedStore(link, this.#leases, nodeOf),
      claims: this.#claims,
      addresses: { keep: async () => ({ kind: "kept" }), giveBack: async () => {} },
      leadership,
      clock,
      log: new MemoryLog(),
      timers: vipTimers,
    });
    controller.start();
    this.#controllers.push({ host, link, leadership, controller });
  }

  #planFault(untilMs: number): void {
    this.#timeline.after(this.#random.integer(50, 2_500), () => {
      if (this.#timeline.nowMs() >= untilMs || this.#isCalm) return;
      this.#fault();
      this.#planFault(untilMs);
    });
  }

  #fault(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    const pod = random.pick(this.#claims.pods());
    const { host, link, leadership } = random.pick(this.#controllers);
    const holds = this.#peers !== undefined;
    const kind = random.weighted({
      readiness: 8,
      terminate: 1,
      revive: 1,
      "agent paused": 4,
      "agent cut": 4,
      "agent slow, then cut": 3,
      "agent killed": 2,
      "agent restarts as its pods fail": 2,
      "agent hands on": 3,
      "agent leaves": 1,
      "node crash": 2,
      "kernel slow": 3,
      "controller paused": 2,
      "controller cut": 2,
      "leader changes": 2,
      "second leader": 1,
      "links bad": 4,
      "links good": 3,
      "lease deleted": 1,
      "record deleted": 1,
      "API away": holds ? 4 : 0,
      "peers cut": holds ? 3 : 0,
      "peers lose": holds ? 1 : 0,
    });
    this.#trace(`fault: ${kind} (${node.name}, ${pod.pod.name})`);
    const nowMs = this.#timeline.nowMs();
    switch (kind) {
      case "readiness":
        this.#claims.change(pod.podUid, { isReady: !pod.isReady, readySinceMs: nowMs });
        for (const { podUid, isReady } of this.#claims.pods()) {
          // More pods are ready than not, or there would be nowhere to go.
          if (!isReady && podUid !== pod.podUid && random.chance(0.5)) {
            this.#claims.change(podUid, { isReady: true, readySinceMs: nowMs });
          }
        }
        return;
      case "terminate":
        this.#claims.change(pod.podUid, { isTerminating: true });
        return;
      case "revive":
        this.#claims.change(pod.podUid, { isTerminating: false });
        return;
      case "agent paused":
        node.agent?.host.pause(random.integer(50, 6_000));
        return;
      case "agent cut":
        this.#cut(node.agent?.link, random.integer(300, 9_000));
        return;
      case "agent slow, then cut": {
        const present = node.agent?.link;
        if (present === undefined) return;
        present.faults = { ...calmLink, slowAnswer: 1 };
        this.#timeline.after(random.integer(2_000, 4_000), () =>
          this.#cut(present, random.integer(4_000, 9_000)),
        );
        return;
      }
      case "agent killed":
        this.#killAgent(node);
        return;
      case "agent restarts as its pods fail":
        this.#killAgent(node, 400);
        for (const { podUid, nodeName } of this.#claims.pods()) {
          if (nodeName === node.name) this.#claims.change(podUid, { isReady: false });
        }
        return;
      case "agent hands on":
        this.#endAgent(node, (agent) => agent.handOn(random.pick([4_000, 12_000])));
        return;
      case "agent leaves":
        this.#endAgent(node, async (agent) => {
          await agent.leave();
          return undefined;
        });
        return;
      case "node crash":
        this.#killAgent(node);
        node.kernel = this.#newKernel(node.drift);
        return;
      case "kernel slow":
        if (node.agent !== undefined) node.agent.gate.hangs = random.pick([0, 0.05, 0.3]);
        return;
      case "controller paused":
        host.pause(random.integer(50, 9_000));
        return;
      case "controller cut":
        this.#cut(link, random.integer(300, 9_000));
        return;
      case "leader changes": {
        const leader = random.pick(this.#controllers);
        for (const each of this.#controllers) {
          each.leadership.become(each === leader, "model");
        }
        leader.controller.lead();
        return;
      }
      case "second leader":
        leadership.become(true, "model");
        return;
      case "links bad":
        this.#spoilLinks();
        return;
      case "links good":
        for (const each of this.#links()) each.faults = calmLink;
        return;
      case "lease deleted": {
        const lease = this.#leases.get(node.name);
        if (lease !== undefined) void this.#leases.remove(lease);
        return;
      }
      case "record deleted": {
        // As the API server does it: the finalizer keeps the object, which says that it was deleted.
        const record = this.#vips.get(random.pick(this.#ips));
        if (record !== undefined) void this.#vips.update({ ...record, isDeleted: true });
        return;
      }
      case "API away": {
        // For everybody, but perhaps for one who is cut off later or is back before the others.
        const forMs = random.integer(1_000, 25_000);
        for (const each of this.#links()) {
          this.#timeline.after(random.integer(0, random.pick([10, 4_000])), () =>
            this.#cut(each, Math.max(300, forMs - random.integer(0, random.pick([10, 4_000])))),
          );
        }
        return;
      }
      case "peers cut": {
        // Often the node is cut off from everybody.
        const forMs = random.integer(500, 15_000);
        this.#peers?.cut.add(node.name);
        this.#timeline.after(forMs, () => this.#peers?.cut.delete(node.name));
        if (random.chance(0.6)) this.#cut(node.agent?.link, forMs);
        return;
      }
      case "peers lose":
        if (this.#peers !== undefined) this.#peers.lossRate = random.pick([0, 0.2, 0.6]);
    }
  }

  /** Ends in order, as far as faults let it, and starts again; a new process goes on where the old one says so. */
  #endAgent(node: Node, end: (agent: VipAgent) => Promise<number | undefined>): void {
    const running = node.agent;
    if (running === undefined || running.isEnding) return;
    running.isEnding = true;
    const pauseMs = this.#random.pick([10, 400, 3_000]);
    const startAgain = (session?: number) => {
      if (node.agent !== running) return;
      running.host.kill();
      node.agent = undefined;
      this.#timeline.after(pauseMs, () => {
        if (node.agent !== undefined) return;
        this.#startAgent(node, session);
        // What the old process left in the kernel is still there when the new one dies at once.
        if (!diesAgain || this.#isCalm) return;
        this.#timeline.after(lifeMs, () => {
          if (!this.#isCalm) this.#killAgent(node);
        });
      });
    };
    const diesAgain = this.#random.chance(0.4);
    const lifeMs = this.#random.pick([20, 60, 200, 1_200]);
    end(running.agent).then(startAgain, () => startAgain());
    // Whoever started it does not wait for ever.
    this.#timeline.after(10_000, () => startAgain());
  }

  #cut(link: Link | undefined, forMs: number): void {
    if (link === undefined || this.#isCalm) return;
    link.isCut = true;
    this.#timeline.after(forMs, () => {
      link.isCut = false;
    });
  }

  #killAgent(node: Node, longestMs = this.#random.pick([800, 8_000])): void {
    node.agent?.host.kill();
    node.agent = undefined;
    this.#timeline.after(this.#random.integer(10, longestMs), () => {
      if (node.agent === undefined) this.#startAgent(node);
    });
  }

  #spoilLinks(): void {
    const random = this.#random;
    const part = () => (random.chance(0.4) ? random.fraction() * 0.15 : 0);
    for (const link of this.#links()) {
      link.faults = {
        refused: part(),
        requestLost: part(),
        answerLost: part(),
        happensLate: part(),
        slow: random.fraction() * 0.5,
        slowMs: random.pick([100, 800, 3_000]),
        slowAnswer: random.pick([0, 0.5, 1]),
      };
    }
  }

  #links(): readonly Link[] {
    const agents = this.#nodes.flatMap(({ agent }) => agent?.link ?? []);
    return [...this.#controllers.map(({ link }) => link), ...agents];
  }

  /** No more faults: links are good, every node has an agent, one controller leads. */
  #calmDown(): void {
    this.#isCalm = true;
    this.#trace("faults end");
    for (const node of this.#nodes) {
      if (node.agent === undefined) this.#startAgent(node);
      else node.agent.gate.hangs = 0;
    }
    for (const link of this.#links()) {
      link.faults = calmLink;
      link.isCut = false;
    }
    this.#peers?.cut.clear();
    if (this.#peers !== undefined) this.#peers.lossRate = 0;
    for (const [index, { leadership }] of this.#controllers.entries()) {
      leadership.become(index === 0, "model");
    }
  }

  /** The rule that must hold at any time. */
  #judge(): void {
    const answering = new Map<Ip, string>();
    for (const node of this.#nodes) {
      for (const { ip, epoch } of node.kernel.answeringNow()) {
        this.#openLooks += 1;
        const other = answering.get(ip);
        const text = `node ${node.name} (epoch ${epoch})`;
        if (other !== undefined) {
          throw new Violation("one holder", `${other} and ${text} answer for ${ip}`);
        }
        answering.set(ip, text);
      }
    }
  }

  /** When nothing goes wrong any more: who may hold an address holds one, and the record says so. */
  #judgeRest(): void {
    for (const ip of this.#ips) {
      const able = this.#claims
        .claimsOf(ip)
        .filter(
          (claim) =>
            whyNot(ip, { ...claim, session: 1, holdsSibling: false, heldDownUntilMs: 0 }) ===
            undefined,
        );
      const record = this.#vips.get(ip);
      const holder = record?.holder;
      const open = this.#nodes.filter(({ kernel }) =>
        kernel.answeringNow().some((entry) => entry.ip === ip && entry.epoch === record?.epoch),
      );
      const told = holder === undefined ? "nobody" : `${holder.pod.name} on ${holder.nodeName}`;
      if (
        holder !== undefined &&
        record?.look.state !== (record?.foreignOwner ? "Conflict" : "Held")
      ) {
        throw new Violation("shown as it is", `${ip} is held by ${told} and ${record?.look.state}`);
      }
      if (able.length === 0) {
        if (holder === undefined && open.length === 0) continue;
        throw new Violation("nobody may hold", `${ip} is held by ${told}`);
      }
      const isAble = able.some(({ podUid }) => podUid === holder?.podUid);
      if (!isAble || open.length !== 1 || open[0]?.name !== holder?.nodeName) {
        const names = open.map(({ name }) => name).join(", ");
        throw new Violation(
          "held after faults end",
          `${ip}: the record says ${told}, release ${record?.release}, ${record?.look.state}; answering: [${names}]; able: ${able.map(({ pod }) => pod.name).join(", ")}`,
        );
      }
    }
  }
}
