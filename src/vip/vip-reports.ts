// What a node's agent has to say about virtual addresses: into the record what only it knows, events about its pods, counters and the log.
// Nothing is decided from any of it.

import type { Ip } from "../core/ip.ts";
import type { VipRecord } from "../core/vip.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventRecorder } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { VipStore } from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { VipReport } from "./vip-node.ts";

/** What happened on a node, for metrics. */
export type VipNodeHappening = "opened" | "foreign claim" | "unable";

/** What it needs. */
export type VipReportsPorts = {
  readonly nodeName: string;
  readonly vips: VipStore;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  /** @param tookMs from seeing the grant to answering, for `opened` */
  readonly count: (happening: VipNodeHappening, tookMs: number) => void;
};

/** After the last foreign claim was heard, until the record says no more of it. */
const foreignMemoryMs = 30_000;

/** After the last address was opened: grants come first, and what is told of them after. */
const laterMs = 500;

/** It is told after so long even when addresses are opened all the time. */
const latestMs = 5_000;

/** Records that are written at a time: a node that takes a thousand addresses over must not keep the API server from granting them. */
const mostAtOnce = 2;

/** Attempts to write what the controller may be writing at the same time. */
const mostAttempts = 3;

/** Reports of one node. */
export class VipReports implements VipReport {
  readonly #ports: VipReportsPorts;
  readonly #forget = new Map<Ip, () => void>();
  /** What is to be written; a later change of an address follows an earlier one. */
  readonly #waiting: (() => Promise<void>)[] = [];
  #inFlight = 0;
  #lastOpenedMs = Number.NEGATIVE_INFINITY;

  constructor(ports: VipReportsPorts) {
    this.#ports = ports;
  }

  opened(ip: Ip, tookMs: number): void {
    const { clock, count, log, nodeName } = this.#ports;
    log.info("virtual address is answered for", { ip, node: nodeName, tookMs });
    count("opened", tookMs);
    this.#lastOpenedMs = clock.nowMs();
    this.#whenQuiet(() => {
      this.#write(ip, (record) => {
        const { transition } = record;
        const isToldAlready = transition === undefined || transition.programMs !== undefined;
        if (isToldAlready && record.foreignOwner === undefined) return undefined;
        return {
          ...record,
          foreignOwner: undefined,
          transition: transition === undefined ? undefined : { ...transition, programMs: tookMs },
        };
      });
    });
  }

  /** Acts when nothing was opened for a moment. */
  #whenQuiet(act: () => void): void {
    const { clock } = this.#ports;
    const latestAtMs = clock.nowMs() + latestMs;
    const look = (): void => {
      const nowMs = clock.nowMs();
      const quietAtMs = this.#lastOpenedMs + laterMs;
      if (nowMs >= quietAtMs || nowMs >= latestAtMs) act();
      else clock.after(quietAtMs - nowMs, look);
    };
    clock.after(laterMs, look);
  }

  foreignClaim(record: VipRecord, who: string, isHeld: boolean): void {
    const { clock, count, log, nodeName } = this.#ports;
    const { ip } = record;
    count("foreign claim", 0);
    const isNew = !this.#forget.has(ip);
    this.#forget.get(ip)?.();
    this.#forget.set(
      ip,
      clock.after(foreignMemoryMs, () => {
        this.#forget.delete(ip);
        this.#write(ip, (now) =>
          now.foreignOwner === undefined ? undefined : { ...now, foreignOwner: undefined },
        );
      }),
    );
    if (!isNew && record.foreignOwner === who) return;
    log.warn("another machine claims a virtual address", { ip, node: nodeName, by: who, isHeld });
    this.#event(
      record,
      "VIPConflict",
      `${ip} is claimed by ${who} as seen from node ${nodeName}; ${isHeld ? "it is announced again" : "it is not answered for"}, find that machine and take the address from it`,
    );
    this.#write(ip, (now) =>
      now.foreignOwner === who ? undefined : { ...now, foreignOwner: who },
    );
  }

  unable(record: VipRecord, because: string): void {
    const { count, log, nodeName } = this.#ports;
    const { ip } = record;
    count("unable", 0);
    log.warn("a virtual address cannot be answered for", { ip, node: nodeName, because });
    this.#event(record, "VIPUnable", `node ${nodeName} cannot answer for ${ip}: ${because}`);
  }

  #event({ holder }: VipRecord, reason: string, message: string): void {
    if (holder === undefined) return;
    const { pod, podUid } = holder;
    const { events } = this.#ports;
    const about = { apiVersion: "v1", kind: "Pod", ...pod, uid: podUid };
    events.record({ about, type: "Warning", reason, message });
  }

  /** Writes into the record of an address that this node holds; what another one holds is not its to write. */
  #write(ip: Ip, change: (record: VipRecord) => VipRecord | undefined): void {
    const { log, nodeName, vips } = this.#ports;
    const attempt = async (count: number): Promise<void> => {
      const record = count === 1 ? vips.get(ip) : await vips.read(ip);
      if (record?.holder?.nodeName !== nodeName) return;
      const changed = change(record);
      if (changed === undefined) return;
      const outcome = await vips.update(changed);
      if (outcome.kind === "conflict" && count < mostAttempts) await attempt(count + 1);
    };
    this.#waiting.push(() =>
      attempt(1).catch((error: unknown) => {
        if (!(error instanceof WorldError)) throw error;
        log.debug("a record of a virtual address was not told", {
          ip,
          node: nodeName,
          reason: error.message,
        });
      }),
    );
    this.#begin();
  }

  #begin(): void {
    while (this.#inFlight < mostAtOnce) {
      const write = this.#waiting.shift();
      if (write === undefined) return;
      this.#inFlight += 1;
      void write().finally(() => {
        this.#inFlight -= 1;
        this.#begin();
      });
    }
  }
}
