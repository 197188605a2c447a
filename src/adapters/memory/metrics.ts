// The Metrics that a test adds up. Nothing is exposed.

import type { CounterName, TimerName } from "../../ports/metrics.ts";

type Labels = Readonly<Record<string, string>>;

/** Keeps every count and time, with the names of the control plane's Metrics or of the node's. */
export class MemoryMetrics<Count extends string = CounterName, Time extends string = TimerName> {
  readonly #counts: { readonly name: Count; readonly labels: Labels; readonly by: number }[] = [];
  readonly #times: {
    readonly name: Time;
    readonly labels: Labels;
    readonly seconds: number;
  }[] = [];

  count(name: Count, labels: Labels = {}, by = 1): void {
    this.#counts.push({ name, labels, by });
  }

  time(name: Time, seconds: number, labels: Labels = {}): void {
    this.#times.push({ name, labels, seconds });
  }

  /** The sum of a counter over all series that carry these labels. */
  countOf(name: Count, labels: Labels = {}): number {
    let sum = 0;
    for (const entry of this.#counts) {
      if (entry.name === name && carries(entry.labels, labels)) sum += entry.by;
    }
    return sum;
  }

  /** The times in seconds of all series that carry these labels, in order. */
  timesOf(name: Time, labels: Labels = {}): readonly number[] {
    return this.#times
      .filter((entry) => entry.name === name && carries(entry.labels, labels))
      .map((entry) => entry.seconds);
  }
}

function carries(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
