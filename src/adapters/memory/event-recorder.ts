// The EventRecorder that keeps events for a test to look at. Equal ones are one with a count, however far apart they are.

import type { EventNote, EventRecorder } from "../../ports/event-recorder.ts";

/** A note and how often it was recorded. */
export type CountedNote = EventNote & { readonly count: number };

/** Keeps every event in the order of its first recording. */
export class MemoryEventRecorder implements EventRecorder {
  readonly #events = new Map<string, CountedNote>();

  record(note: EventNote): void {
    const { apiVersion, kind, namespace, name, uid } = note.about;
    const parts = [apiVersion, kind, namespace, name, uid, note.type, note.reason, note.message];
    const key = JSON.stringify(parts);
    this.#events.set(key, { ...note, count: (this.#events.get(key)?.count ?? 0) + 1 });
  }

  events(): readonly CountedNote[] {
    return [...this.#events.values()];
  }
}
