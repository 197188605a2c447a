// For how long a virtual address answers nobody when it moves, by cause, on the bed of network namespaces with a real API server; keepalived in
// the same bed beside it; and how long a crash takes that moves 1,000 addresses. The client asks every 5 ms from fresh ports.

import { waitUntil } from "../test/control-plane/api.ts";
import type { BedNode, BedPod } from "../test/vip/bed.ts";
import { echoPort, ipBatch, VipBed } from "../test/vip/bed.ts";
import { KeepalivedBed, keepalivedIp } from "../test/vip/keepalived.ts";
import type { FrameMeter, ProbeStream } from "../test/vip/meters.ts";
import { doubleAnswers, monotonicMs, takeOverGap } from "../test/vip/meters.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { movesTable } from "./measure/moves-table.ts";
import { median, percentile } from "./measure/statistics.ts";

/** One move: from its cause to the first answer of the new holder, and from the last answer of the old one. */
type Move = { readonly totalMs: number; readonly gapMs: number };

/** What a holder and a standby are made of. */
type Pair = {
  readonly bed: VipBed;
  readonly ip: string;
  readonly stream: ProbeStream;
  holder: BedPod;
  standby: BedPod;
};

/** A cause of a move. `most`: bounds in milliseconds, of docs/design/vip.md. */
type Cause = {
  readonly what: string;
  readonly most: { readonly total: number; readonly gapP95?: number; readonly gap?: number };
  readonly act: (pair: Pair) => Promise<void>;
  /** Brings the old holder back as a standby. */
  readonly mend: (pair: Pair) => Promise<void>;
};

const planned = { gapP95: 100, gap: 300 };

const causes: readonly Cause[] = [
  {
    what: "planned move (node not ready in the API)",
    most: { total: 1_000, ...planned },
    act: ({ bed, holder }) => bed.setNodeReady(holder.node.name, "Unknown"),
    mend: ({ bed, holder }) => bed.setNodeReady(holder.node.name, "True"),
  },
  {
    what: "pod deleted",
    most: { total: 500, ...planned },
    act: ({ holder }) => holder.delete(30),
    mend: async (pair) => {
      const { bed, holder, ip } = pair;
      await waitUntil(
        "the pod to end",
        () => holder.program.isRunning(),
        (runs) => !runs,
      );
      const { name, node } = holder;
      await bed.whenPodsEnded();
      pair.holder = await bed.startPod({ name, node: node.name, vips: ip, lingerMs: 1_000 });
    },
  },
  {
    what: "readiness lost",
    most: { total: 500, ...planned },
    act: ({ holder }) => holder.setReady(false),
    mend: ({ holder }) => holder.setReady(true),
  },
  {
    what: "agent killed",
    most: { total: 4_500 },
    act: ({ holder }) => holder.node.stopAgent("SIGKILL"),
    mend: ({ holder }) => joinAgain(holder.node),
  },
  {
    what: "node crash",
    most: { total: 4_500 },
    act: async ({ holder: { node } }) => {
      await Promise.all([node.setUplink("down"), node.setApiCable("down"), node.stopAgent()]);
    },
    mend: async ({ holder: { node } }) => {
      await Promise.all([node.setUplink("up"), node.setApiCable("up")]);
      await joinAgain(node);
    },
  },
  {
    what: "holder cut from the API server",
    most: { total: 4_500 },
    act: ({ holder }) => holder.node.setApiCable("down"),
    mend: async ({ holder: { node } }) => {
      await node.setApiCable("up");
      await node.whenJoined();
    },
  },
];

async function joinAgain(node: BedNode): Promise<void> {
  await node.startAgent();
  await node.whenJoined();
}

async function movesOf(cause: Cause, pair: Pair, runs: number): Promise<readonly Move[]> {
  const moves: Move[] = [];
  for (let run = 0; run < runs; run += 1) {
    const { bed, ip, standby, stream } = pair;
    await bed.whenVip(
      "to have a standby",
      ip,
      ({ status }) =>
        status?.state === "Held" &&
        status.holder?.uid === pair.holder.uid &&
        status.candidates?.length === 2 &&
        status.candidates.every(({ reason }) => reason === undefined),
    );
    await stream.whenAnsweredBy(pair.holder.name, monotonicMs());
    // Leases are renewed each second: the cause comes at any moment of it.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_000));
    const causedMs = monotonicMs();
    await cause.act(pair);
    await stream.whenAnsweredBy(standby.name, causedMs);
    moves.push(moveOf(stream, standby.name, causedMs));
    await cause.mend(pair);
    [pair.holder, pair.standby] = [pair.standby, pair.holder];
  }
  return moves;
}

function moveOf(stream: ProbeStream, to: string, causedMs: number): Move {
  const gap = takeOverGap(stream.answers(), to, causedMs);
  if (gap === undefined) throw new Error(`${to} never answered`);
  return { totalMs: gap.firstNewMs - causedMs, gapMs: gap.gapMs };
}

function figuresOf(what: string, moves: readonly Move[], most?: Cause["most"]): readonly Figure[] {
  const atMost = (value: number | undefined) =>
    value === undefined ? {} : { target: { relation: "at most" as const, value } };
  const of = (values: readonly number[], part: string, p95?: number, worst?: number) => {
    const sorted = values.toSorted((a, b) => a - b);
    return [
      { what: `${what}: ${part}, p50`, value: median(sorted), unit: "ms" },
      { what: `${what}: ${part}, p95`, value: percentile(sorted, 95), unit: "ms", ...atMost(p95) },
      { what: `${what}: ${part}, worst`, value: Math.max(...values), unit: "ms", ...atMost(worst) },
    ];
  };
  return [
    ...of(
      moves.map(({ totalMs }) => totalMs),
      "until the new pod answers",
      undefined,
      most?.total,
    ),
    ...of(
      moves.map(({ gapMs }) => gapMs),
      "nobody answers",
      most?.gapP95,
      most?.gap,
    ),
  ];
}

async function ofVirtualAddresses(
  chosen: readonly Cause[],
  runs: number,
): Promise<readonly Figure[]> {
  await using bed = await VipBed.open({ nodes: ["a", "b"], plane: { hasControllers: false } });
  await bed.startProduct();
  const ip = "192.0.2.50";
  await bed.addPool("bench", { ranges: [ip], interfaces: "eth0", minReadySeconds: 0 });
  const holder = await bed.startPod({ name: "a1", node: "a", vips: ip, lingerMs: 1_000 });
  await bed.whenHeldBy(ip, holder);
  const standby = await bed.startPod({ name: "b1", node: "b", vips: ip, lingerMs: 1_000 });
  bed.frames.ask(ip);
  const stream = bed.probes.begin({ do: "udp", ip, port: echoPort, everyMs: 5, isFresh: true });
  await stream.whenAnsweredBy("a1");
  const sinceMs = monotonicMs();
  await waitUntil(
    "a second of questions",
    () => monotonicMs() - sinceMs,
    (ms) => ms > 1_000,
  );
  const idle = stream.counts(sinceMs, sinceMs + 900);
  const pair: Pair = { bed, ip, stream, holder, standby };
  const figures: Figure[] = [
    {
      what: "questions lost while nothing moves",
      value: (100 * idle.lost) / idle.asked,
      unit: "%",
    },
  ];
  for (const cause of chosen) {
    figures.push(...figuresOf(cause.what, await movesOf(cause, pair, runs), cause.most));
  }
  return [...figures, exclusivity("requests answered by two nodes", bed.frames)];
}

function exclusivity(what: string, frames: FrameMeter): Figure {
  const value = doubleAnswers(frames.lines).length;
  return { what, value, unit: "requests", target: { relation: "at most", value: 0 } };
}

/** Crashes of keepalived's master, and what its nodes do when they do not hear each other. */
async function ofKeepalived(runs: number): Promise<readonly Figure[]> {
  await using bed = await KeepalivedBed.open();
  let [master, backup] = [bed.node("a"), bed.node("b")];
  await master.start();
  await waitUntil("a master", () => master.isMaster(), Boolean);
  await backup.start();
  bed.frames.ask(keepalivedIp);
  const stream = bed.probes.begin({
    do: "udp",
    ip: keepalivedIp,
    port: echoPort,
    everyMs: 5,
    isFresh: true,
  });
  const moves: Move[] = [];
  for (let run = 0; run < runs; run += 1) {
    await stream.whenAnsweredBy(master.name, monotonicMs());
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_000));
    const causedMs = monotonicMs();
    await master.crash();
    await stream.whenAnsweredBy(backup.name, causedMs);
    moves.push(moveOf(stream, backup.name, causedMs));
    await master.repair();
    await master.start();
    [master, backup] = [backup, master];
  }
  const from = bed.frames.lines.length;
  const join = await bed.cut();
  await waitUntil("two masters", () => backup.isMaster(), Boolean);
  const apartMs = 5_000;
  await new Promise((resolve) => setTimeout(resolve, apartMs));
  await join();
  const asked = bed.frames.lines.slice(from);
  return [
    ...figuresOf("keepalived, node crash", moves),
    {
      what: `keepalived, nodes that do not hear each other for ${apartMs / 1_000} s: requests answered by two nodes`,
      value: doubleAnswers(asked).length,
      unit: "requests",
    },
  ];
}

/** On a machine that others use, a thousand addresses may take minutes; then that is the figure. */
const longestMs = 600_000;

/** Addresses of one annotation at most. */
const claimsAPod = 64;

/** The crash of a node that holds many addresses: until every one was announced by the other node and answers there. */
async function ofManyAddresses(count: number): Promise<readonly Figure[]> {
  await using bed = await VipBed.open({ nodes: ["a", "b"], plane: { hasControllers: false } });
  await bed.startProduct();
  await bed.addPool("many", { ranges: ["10.99.0.0/20"], interfaces: "eth0", minReadySeconds: 0 });
  await ipBatch(bed.client, ["route add 10.99.0.0/20 dev eth0"]);
  const ips = Array.from(
    { length: count },
    (_, n) => `10.99.${1 + Math.floor(n / 200)}.${1 + (n % 200)}`,
  );
  const startOn = async (node: string) => {
    for (let from = 0; from < count; from += claimsAPod) {
      const vips = ips.slice(from, from + claimsAPod).join(",");
      await bed.startPod({ name: `${node}${from}`, node, vips });
    }
  };
  const areHeldOn = (node: string) =>
    bed.whenVips(
      `${count} addresses on ${node}`,
      (vips) => {
        const held = vips.filter(
          ({ status }) => status?.state === "Held" && status.holder?.node === node,
        );
        return held.length === count;
      },
      { timeoutMs: longestMs },
    );
  await startOn("a");
  await areHeldOn("a");
  await startOn("b");
  await bed.whenVips(
    "a standby of every address",
    (vips) =>
      vips.every(
        ({ status }) =>
          status?.candidates?.length === 2 &&
          status.candidates.every(({ reason }) => reason === undefined),
      ),
    { timeoutMs: longestMs },
  );
  const [a, b] = [bed.node("a"), bed.node("b")];
  for (const ip of [ips[0], ips.at(-1)]) bed.frames.ask(ip ?? "");
  const causedMs = monotonicMs();
  await Promise.all([a.setUplink("down"), a.setApiCable("down"), a.stopAgent()]);
  await areHeldOn("b");
  const announced = await waitUntil(
    `${count} addresses to be announced by b`,
    () => {
      const first = new Map<string, number>();
      for (const line of bed.frames.lines) {
        if (!("mac" in line) || line.mac !== b.mac || line.ms < causedMs || first.has(line.ip))
          continue;
        if (ips.includes(line.ip)) first.set(line.ip, line.ms - causedMs);
      }
      return [...first.values()];
    },
    (times) => times.length === count,
    { timeoutMs: longestMs },
  );
  const sorted = announced.toSorted((one, other) => one - other);
  return [
    {
      what: `crash of a node with ${count} addresses: half of them are on another`,
      value: median(sorted) / 1_000,
      unit: "s",
    },
    {
      what: `crash of a node with ${count} addresses: all of them are on another`,
      value: Math.max(...sorted) / 1_000,
      unit: "s",
      target: { relation: "at most", value: 6 },
    },
    exclusivity(
      `crash of a node with ${count} addresses: requests answered by two nodes`,
      bed.frames,
    ),
  ];
}

/** `--only=planned,keepalived` measures causes and parts with one of these words in their names alone; nothing is saved then. */
const only = process.argv.find((word) => word.startsWith("--only="))?.slice("--only=".length) ?? "";

function isChosen(what: string): boolean {
  return only.split(",").some((word) => what.includes(word));
}

async function measure(mode: Mode): Promise<Findings> {
  const runs = mode === "quick" ? 2 : 20;
  const count = mode === "quick" ? 100 : 1_000;
  const chosen = causes.filter(({ what }) => isChosen(what));
  const figures = [
    ...(chosen.length === 0 ? [] : await ofVirtualAddresses(chosen, runs)),
    ...(isChosen("keepalived") ? await ofKeepalived(runs) : []),
    ...(isChosen("many addresses") ? await ofManyAddresses(count) : []),
  ];
  console.log(`${movesTable(figures)}\n`);
  return {
    parameters: {
      "runs of each cause": runs,
      addresses: count,
      "milliseconds between questions": 5,
    },
    figures,
    notes: [
      "Control plane, two nodes, pods, client and meters share the machine's cores. keepalived runs with its defaults (an advertisement each second) and nopreempt.",
    ],
  };
}

await benchmark({ name: "vip", title: "moves of a virtual address" }, measure);
