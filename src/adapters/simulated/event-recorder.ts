// The EventRecorder of a simulated cluster: the newest events, for an operator to look at. They are gone when the process ends.

import type { Clock } from "../../ports/clock.ts";
import type { EventNote, EventRecorder } from "../../ports/event-recorder.ts";

/** Events that are kept; older ones are forgotten. */
const mostEvents = 1_000;

/** A note, how often it was recorded, and when last. */
export type SeenEvent = EventNote & { readonly count: number; readonly atMs: number };

/** Keeps the newest events; equal ones are one with a count. */
export class SimulatedEventRecorder implements EventRecorder {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #events = new Map<string, SeenEvent>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  record(note: EventNote): void {
    const { apiVersion, kind, namespace, name, uid } = note.about;
    const parts = [apiVersion, kind, namespace, name, uid, note.type, note.reason, note.message];
    const key = JSON.stringify(parts);
    const count = (this.#events.get(key)?.count ?? 0) + 1;
    // Taken out and put in again: the map's order is that of the last recording.
    this.#events.delete(key);
    this.#events.set(key, { ...note, count, atMs: this.#clock.nowMs() });
    if (this.#events.size <= mostEvents) return;
    const oldest = this.#events.keys().next();
    if (oldest.done !== true) this.#events.delete(oldest.value);
  }

  /** The events, that recorded last first. */
  events(): readonly SeenEvent[] {
    return [...this.#events.values()].toReversed();
  }
}
