// Server-sent events, however the bytes arrive.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ServerSentEvent } from "./event-stream.ts";
import { parseEventStream } from "./event-stream.ts";

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let index = 0; at < bytes.length; index += 1) {
    const size = sizes[index % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function eventsIn(text: string, sizes: readonly number[]): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of parseEventStream(inPieces(new TextEncoder().encode(text), sizes))) {
    events.push(event);
  }
  return events;
}

test("events are the same in whatever pieces the stream comes", async () => {
  const text =
    ': hello\n\nid: 7\nevent: address\ndata: {"ip":"10.0.0.2","reason":"für"}\n\n:\r\n\r\nid: 8\r\ndata: a\r\ndata:b\r\n\r\ndata: never ended';
  const expected = [
    { id: "7", data: '{"ip":"10.0.0.2","reason":"für"}' },
    { id: "8", data: "a\nb" },
  ];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), async (sizes) => {
      assert.deepEqual(await eventsIn(text, sizes), expected);
    }),
  );
});
