// Server-sent events of /v1/events, read for as long as the person watches: parsed, and opened again when the stream breaks.

import { setTimeout as pause } from "node:timers/promises";
import type { AddressEvent } from "../wire/api/events.ts";
import type { ApiClient } from "./api-client.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";

/** One event as it stands in the stream (WHATWG HTML, section 9.2.6). */
export type ServerSentEvent = { readonly id: string | undefined; readonly data: string };

/** Cuts a stream of bytes into events; comments and unknown fields are passed over. */
export async function* parseEventStream(
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let id: string | undefined;
  let data: string[] = [];
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    // A CR at the end may be half of a CRLF: it waits for the next chunk.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { id, data: data.join("\n") };
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(5).replace(/^ /, ""));
      } else if (line.startsWith("id:")) {
        id = line.slice(3).trim();
      }
    }
  }
}

const firstPauseMs = 500;
const longestPauseMs = 10_000;

/**
 * Follows changes until `signal` ends it. `opened` is called when a stream is open, before its events: what is listed from then on misses
 * nothing. A stream that breaks is opened again; the server answers `reset` when events were lost.
 */
export async function followEvents(
  client: ApiClient,
  options: {
    readonly signal: AbortSignal;
    readonly opened: () => Promise<void>;
    readonly event: (event: AddressEvent) => Promise<void>;
    readonly note: (line: string) => void;
  },
): Promise<void> {
  const { signal } = options;
  let lastId: string | undefined;
  let hasOpened = false;
  let waitMs = firstPauseMs;
  while (!signal.aborted) {
    try {
      const stream = await client.open(
        "/v1/events",
        {
          accept: "text/event-stream",
          ...(lastId === undefined ? {} : { "last-event-id": lastId }),
        },
        signal,
      );
      if (!hasOpened || lastId === undefined) await options.opened();
      hasOpened = true;
      waitMs = firstPauseMs;
      for await (const { id, data } of parseEventStream(stream)) {
        if (id !== undefined) lastId = id;
        await options.event(JSON.parse(data) as AddressEvent);
      }
    } catch (error) {
      if (signal.aborted) return;
      const isLasting = error instanceof CommandProblem && error.exitCode !== exitCodes.unreachable;
      if (!hasOpened || isLasting) throw error;
    }
    if (signal.aborted) return;
    options.note(`the stream of changes ended; it is opened again in ${waitMs / 1000} s`);
    await pause(waitMs, undefined, { signal }).catch(() => {});
    waitMs = Math.min(waitMs * 2, longestPauseMs);
  }
}

/** Aborts on the first SIGINT or SIGTERM, so that a person's Ctrl-C ends a command that watches in good order. */
export function untilInterrupted(): AbortController {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  return controller;
}
