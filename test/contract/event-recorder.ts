// The promises of src/ports/event-recorder.ts as tests, for every adapter that records events.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EventNote, EventRecorder, ObjectRef } from "../../src/ports/event-recorder.ts";
import { waitUntil } from "../control-plane/api.ts";

/** A recorder under test. */
export type EventRecorderBench = {
  readonly recorder: EventRecorder;
  /** The namespace that events of this bench are about. */
  readonly namespace: string;
  /** The events that operators see about objects of that namespace. */
  readonly events: () => Promise<readonly (EventNote & { readonly count: number })[]>;
  readonly stop: () => Promise<void>;
};

/** Runs the suite. */
export function describeEventRecorder(
  name: string,
  makeBench: () => Promise<EventRecorderBench>,
): void {
  const withBench = async (use: (bench: EventRecorderBench) => Promise<void>) => {
    const bench = await makeBench();
    try {
      await use(bench);
    } finally {
      await bench.stop();
    }
  };
  const aboutPod = (namespace: string, podName: string): ObjectRef => ({
    apiVersion: "v1",
    kind: "Pod",
    namespace,
    name: podName,
    uid: `uid-${podName}`,
  });

  describe(`${name} as EventRecorder`, () => {
    it("shows a note with object, type, reason and message, also about an object that is not there", () =>
      withBench(async ({ recorder, namespace, events }) => {
        const notes: EventNote[] = [
          {
            about: aboutPod(namespace, "web-0"),
            type: "Normal",
            reason: "AddressTaken",
            message: "10.0.70.2 on node n1",
          },
          {
            about: {
              apiVersion: "apps/v1",
              kind: "Deployment",
              namespace,
              name: "web",
              uid: "uid-web",
            },
            type: "Warning",
            reason: "RolloutWaits",
            message: "set maxSurge to 0",
          },
        ];
        for (const note of notes) recorder.record(note);
        assert.deepEqual(
          sorted(await shown(events, 2)),
          sorted(notes.map((note) => ({ ...note, count: 1 }))),
        );
      }));

    it("makes equal notes one event with a count, and notes that differ in anything events of their own", () =>
      withBench(async ({ recorder, namespace, events }) => {
        const note: EventNote = {
          about: aboutPod(namespace, "web-0"),
          type: "Warning",
          reason: "NoAddress",
          message: "free some",
        };
        const others: EventNote[] = [
          { ...note, about: { ...note.about, name: "web-1" } },
          { ...note, about: { ...note.about, uid: "uid-of-the-next-web-0" } },
          { ...note, type: "Normal" },
          { ...note, reason: "Other" },
          { ...note, message: "extend the ranges" },
        ];
        for (let times = 0; times < 3; times += 1) recorder.record({ ...note });
        for (const other of others) recorder.record(other);
        const seen = await waitUntil(
          "a count of 3 and five other events",
          events,
          (all) => all.length >= 6 && all.some((event) => event.count === 3),
          { everyMs: 10 },
        );
        assert.deepEqual(
          sorted(seen),
          sorted([{ ...note, count: 3 }, ...others.map((other) => ({ ...other, count: 1 }))]),
        );
      }));

    it("takes 2,000 notes without throwing", () =>
      withBench(async ({ recorder, namespace, events }) => {
        for (let index = 0; index < 2000; index += 1) {
          recorder.record({
            about: aboutPod(namespace, `web-${index}`),
            type: "Normal",
            reason: "AddressTaken",
            message: `10.0.70.${index}`,
          });
        }
        assert.ok((await shown(events, 1)).length >= 1);
      }));
  });
}

function shown(
  events: EventRecorderBench["events"],
  atLeast: number,
): Promise<Awaited<ReturnType<EventRecorderBench["events"]>>> {
  return waitUntil(`${atLeast} events`, events, (all) => all.length >= atLeast, { everyMs: 10 });
}

function sorted<T extends EventNote>(notes: readonly T[]): readonly T[] {
  const textOf = ({ about, type, reason, message }: T) =>
    [about.name, about.uid, type, reason, message].join(" ");
  return notes.toSorted((a, b) => (textOf(a) < textOf(b) ? -1 : 1));
}
