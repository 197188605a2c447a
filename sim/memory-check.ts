// The leader's memory against the store, all along and not only at the end: what differs for longer than any watch, retry or resync takes was
// forgotten.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import type { SimProcess } from "./process.ts";
import { Violation } from "./violation.ts";

/** Three stalls of a watch in a row, or two resyncs whose reads fail. */
const patienceMs = 90_000;

/** Remembers since when an address differs, for one turn of leadership. */
export class MemoryCheck {
  readonly #api: SimApi;
  #turn = "";
  #since = new Map<string, number>();

  constructor(api: SimApi) {
    this.#api = api;
  }

  /**
   * Compares now.
   * @param leader undefined while nobody is ready
   * @throws Violation when the same difference is there for too long
   */
  look(leader: SimProcess | undefined): void {
    const turn = leader === undefined ? "" : `${leader.name} ${leader.turn}`;
    if (turn !== this.#turn) this.#since = new Map();
    this.#turn = turn;
    if (leader === undefined) return;
    const nowMs = this.#api.nowMs();
    const before = this.#since;
    this.#since = new Map();
    for (const difference of this.#differences(leader)) {
      const sinceMs = before.get(difference) ?? nowMs;
      if (nowMs - sinceMs > patienceMs) {
        throw new Violation(
          "memory follows the store",
          `${leader.name}: ${difference}, for ${nowMs - sinceMs} ms`,
        );
      }
      this.#since.set(difference, sinceMs);
    }
  }

  *#differences({ service }: SimProcess): Generator<string> {
    const { view } = service.allocator;
    for (const record of this.#api.list("records")) {
      const known = view.get(record.ip);
      // What is marked as unknown is not relied on; it is read again with each resync.
      if (known?.version === record.version || view.phaseOf(record.ip) === "unsettled") continue;
      yield `${record.ip} has version ${record.version} in the store and ${known?.version ?? "none"} in memory`;
    }
    for (const { ip, version } of view.all()) {
      const phase = view.phaseOf(ip);
      if (this.#api.get("records", ip) !== undefined || phase === "unsettled") continue;
      // The address of a pod whose record cannot be made again yet.
      if (phase === "lost") continue;
      yield `${ip} has no record and version ${version} in memory`;
    }
  }
}
