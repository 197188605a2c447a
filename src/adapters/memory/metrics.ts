// The Metrics that a test adds up. Nothing is exposed.

import type { CounterName, Metrics, TimerName } from "../../ports/metrics.ts";

type Labels = Readonly<Record<string, string>>;

/** Keeps every count and time. */
export class MemoryMetrics implements Metrics {
  readonly #counts: { readonly name: CounterName; readonly labels: Labels; readonly by: number }[] =
    [];
  readonly #times: {
    readonly name: TimerName;
    readonly labels: Labels;
    readonly seconds: number;
  }[] = [];

  count(name: CounterName, labels: Labels = {}, by = 1): void {
    this.#counts.push({ name, labels, by });
  }

  time(name: TimerName, seconds: number, labels: Labels = {}): void {
    this.#times.push({ name, labels, seconds });
  }

  /** The sum of a counter over all series that carry these labels. */
  countOf(name: CounterName, labels: Labels = {}): number {
    let sum = 0;
    for (const entry of this.#counts) {
      if (entry.name === name && carries(entry.labels, labels)) sum += entry.by;
    }
    return sum;
  }

  /** The times in seconds of all series that carry these labels, in order. */
  timesOf(name: TimerName, labels: Labels = {}): readonly number[] {
    return this.#times
      .filter((entry) => entry.name === name && carries(entry.labels, labels))
      .map((entry) => entry.seconds);
  }
}

function carries(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
