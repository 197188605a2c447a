// What is measured on the wire of the bed, and what the measurements mean: who answers for an address (exclusivity), who claims it, and for how
// long a client got no answers. It changes nothing and knows nothing of the product.

import { fileURLToPath } from "node:url";
import type { LabNamespace } from "../node/network-lab.ts";
import { LineProgram } from "./line-program.ts";
import type { ProbeCommand, ProbeLine } from "./probe.ts";

/** A line of frames.pl; `ms` is the machine's monotonic clock. */
export type FrameLine =
  | { readonly kind: "ready"; readonly ms: number }
  | {
      readonly kind: "asked" | "unsent" | "quiet";
      readonly ms: number;
      readonly ip: string;
      readonly request?: number;
    }
  | {
      /** `answer` to a request; `gratuitous`: to nobody; `sender`: named as the sender of a question. */
      readonly kind: "answer" | "gratuitous" | "sender";
      readonly ms: number;
      readonly ip: string;
      /** Who has the address, by the packet, and the frame's own sender. */
      readonly mac: string;
      readonly frameMac: string;
      /** Which of this meter's requests is answered; 0: none of them. */
      readonly request: number;
      readonly isOverride?: boolean;
    };

/** A packet that says who has an address. */
export type Claim = Extract<FrameLine, { readonly mac: string }>;

/** The machine's monotonic clock in milliseconds, as the programs of the bed tell time. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Asks for addresses as a neighbour does, and sees all who claim one. */
export class FrameMeter implements AsyncDisposable {
  readonly #program: LineProgram<FrameLine>;

  private constructor(program: LineProgram<FrameLine>) {
    this.#program = program;
  }

  static async start(namespace: LabNamespace, link: string): Promise<FrameMeter> {
    const file = fileURLToPath(new URL("frames.pl", import.meta.url));
    return new FrameMeter(await LineProgram.start<FrameLine>(namespace, "perl", [file, link]));
  }

  /** Asks 20 times a second, or as often as is said. */
  ask(ip: string, everyMs = 50): void {
    this.#program.tell(`ask ${ip} ${everyMs}`);
  }

  async quiet(ip: string): Promise<void> {
    const from = this.#program.lines.length;
    this.#program.tell(`quiet ${ip}`);
    await this.#program.waitFor(
      `to ask no more for ${ip}`,
      (line) => line.kind === "quiet" && line.ip === ip,
      from,
    );
  }

  get lines(): readonly FrameLine[] {
    return this.#program.lines;
  }

  /** Everything seen that says who has the address. */
  claimsOf(ip: string, sinceMs = 0): readonly Claim[] {
    return this.lines.filter(
      (line): line is Claim => "mac" in line && line.ip === ip && line.ms >= sinceMs,
    );
  }

  /** Waits for a packet that says that this MAC has the address. */
  async whenClaimed(ip: string, mac: string, sinceMs = 0): Promise<Claim> {
    const found = await this.#program.waitFor(
      `to see ${ip} at ${mac}`,
      (line) => "mac" in line && line.ip === ip && line.mac === mac && line.ms >= sinceMs,
    );
    return found as Claim;
  }

  /** Waits until so many requests in a row, sent after this call, got no answer from anybody. */
  async whenSilent(ip: string, requests = 10): Promise<void> {
    const from = this.lines.length;
    await this.#program.waitFor(
      `to get no answer for ${ip}`,
      (line) => {
        if (line.kind !== "asked" || line.ip !== ip) return false;
        const since = this.lines.slice(from).filter((each) => "ip" in each && each.ip === ip);
        const last = since.findLastIndex((each) => "mac" in each && each.request !== 0);
        return since.slice(last + 1).filter(({ kind }) => kind === "asked").length > requests;
      },
      from,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** A request that more than one machine answered. */
export type DoubleAnswer = {
  readonly ip: string;
  readonly request: number;
  readonly macs: readonly string[];
};

/** Every request that got answers from two MACs: what exclusivity forbids. */
export function doubleAnswers(lines: readonly FrameLine[]): readonly DoubleAnswer[] {
  const answers = new Map<number, { readonly ip: string; readonly macs: Set<string> }>();
  for (const line of lines) {
    if (!("mac" in line) || line.request === 0) continue;
    const known = answers.get(line.request) ?? { ip: line.ip, macs: new Set<string>() };
    // The frame's own sender too: what is said and who says it must be one.
    known.macs.add(line.mac).add(line.frameMac);
    answers.set(line.request, known);
  }
  return [...answers].flatMap(([request, { ip, macs }]) =>
    macs.size > 1 ? [{ ip, request, macs: [...macs] }] : [],
  );
}

/** The MACs in the order in which they claimed an address, one entry for each time that it changed hands on the wire. */
export function handsOf(claims: readonly Claim[]): readonly string[] {
  return claims
    .map(({ mac }) => mac)
    .filter((mac, index, all) => index === 0 || all[index - 1] !== mac);
}

/** A client that asks the pods' programs. */
export class ProbeMeter implements AsyncDisposable {
  readonly #program: LineProgram<ProbeLine>;
  #count = 0;

  private constructor(program: LineProgram<ProbeLine>) {
    this.#program = program;
  }

  static async start(namespace: LabNamespace): Promise<ProbeMeter> {
    const file = fileURLToPath(new URL("probe.ts", import.meta.url));
    return new ProbeMeter(await LineProgram.start<ProbeLine>(namespace, process.execPath, [file]));
  }

  get lines(): readonly ProbeLine[] {
    return this.#program.lines;
  }

  /** Starts asking; what it finds is asked of the stream that is returned. */
  begin(
    command:
      | {
          readonly do: "udp";
          readonly ip: string;
          readonly port: number;
          readonly everyMs: number;
          readonly isFresh: boolean;
        }
      | { readonly do: "tcp"; readonly ip: string; readonly port: number }
      | {
          readonly do: "tcp-long";
          readonly ip: string;
          readonly port: number;
          readonly everyMs: number;
        },
  ): ProbeStream {
    this.#count += 1;
    const id = `${command.do}${this.#count}`;
    const full: ProbeCommand = { ...command, id };
    this.#program.tell(JSON.stringify(full));
    return new ProbeStream(this.#program, id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** An answer that a client got. */
export type Answer = Extract<ProbeLine, { readonly kind: "answer" }>;

/** How a connection began or ended. */
type Connection = Extract<ProbeLine, { readonly kind: "connected" | "broken" }>;

/** What became of one command of a {@link ProbeMeter}. */
export class ProbeStream {
  readonly #program: LineProgram<ProbeLine>;
  readonly #id: string;

  constructor(program: LineProgram<ProbeLine>, id: string) {
    this.#program = program;
    this.#id = id;
  }

  #own(): readonly ProbeLine[] {
    return this.#program.lines.filter((line) => "id" in line && line.id === this.#id);
  }

  /** Answers, in the order of their arrival. */
  answers(): readonly Answer[] {
    return this.#own().filter((line) => line.kind === "answer");
  }

  /** How many questions were asked since a moment and how many of them were answered. */
  counts(sinceMs = 0, untilMs = Number.POSITIVE_INFINITY) {
    const isWithin = (ms: number) => ms >= sinceMs && ms < untilMs;
    const asked = this.#own().filter((line) => line.kind === "asked" && isWithin(line.ms)).length;
    const answered = this.answers().filter(({ askedMs }) => isWithin(askedMs)).length;
    return { asked, answered, lost: asked - answered };
  }

  /** The first answer of a pod to a question that was asked since a moment. */
  async whenAnsweredBy(pod: string, sinceMs = 0): Promise<Answer> {
    const found = await this.#program.waitFor(
      `to be answered by ${pod}`,
      (line) =>
        line.kind === "answer" &&
        line.id === this.#id &&
        line.pod === pod &&
        line.askedMs >= sinceMs,
    );
    return found as Answer;
  }

  async whenConnected(): Promise<Extract<Connection, { kind: "connected" }>> {
    const found = await this.#program.waitFor(
      "to connect",
      (line) => (line.kind === "connected" || line.kind === "broken") && line.id === this.#id,
    );
    if (found.kind !== "connected") throw new Error(`no connection: ${JSON.stringify(found)}`);
    return found;
  }

  async whenBroken(): Promise<Extract<Connection, { kind: "broken" }>> {
    const found = await this.#program.waitFor(
      "to be broken",
      (line) => line.kind === "broken" && line.id === this.#id,
    );
    return found as Extract<Connection, { kind: "broken" }>;
  }

  async stop(): Promise<void> {
    this.#program.tell(JSON.stringify({ do: "stop", id: this.#id } satisfies ProbeCommand));
    await this.#program.waitFor(
      "to stop",
      (line) => line.kind === "stopped" && line.id === this.#id,
    );
  }
}

/**
 * For how long nobody answered while an address went from one pod to another: from the last answer of any but the new pod to the first of the
 * new one. Undefined where the new pod never answered.
 */
export function takeOverGap(
  answers: readonly Answer[],
  to: string,
  sinceMs: number,
): { readonly gapMs: number; readonly firstNewMs: number; readonly lastOldMs: number } | undefined {
  const first = answers.find(({ pod, ms }) => pod === to && ms >= sinceMs);
  if (first === undefined) return undefined;
  const old = answers.filter(({ pod, ms }) => pod !== to && ms < first.ms);
  const lastOldMs = old.at(-1)?.ms ?? sinceMs;
  return { gapMs: first.ms - lastOldMs, firstNewMs: first.ms, lastOldMs };
}
