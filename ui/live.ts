// Follows /v1/events: changes of addresses as they happen, with a new connection when one breaks. Not EventSource, which cannot send a token.

import type { AddressEvent } from "../src/wire/api/events.ts";
import { authorization } from "./api-client.ts";

/** Whether what the page shows is up to date. */
export type Connection = "connecting" | "live" | "lost";

/** Told of changes. After `reset` everything has to be read again. */
export type LiveListener = {
  readonly event: (event: AddressEvent) => void;
  readonly connection: (state: Connection) => void;
};

const firstRetryMs = 500;
const longestRetryMs = 10_000;
/** The server says something at least every 15 s. */
const silenceLimitMs = 40_000;

/** Follows until the returned function is called. */
export function followEvents(listener: LiveListener): () => void {
  const stop = new AbortController();
  void follow(listener, stop.signal);
  return () => stop.abort();
}

async function follow(listener: LiveListener, stop: AbortSignal): Promise<void> {
  let lastId = "";
  let retryMs = firstRetryMs;
  let wasLive = false;
  while (!stop.aborted) {
    const attempt = new AbortController();
    const give = () => attempt.abort();
    stop.addEventListener("abort", give, { once: true });
    let watchdog = setTimeout(give, silenceLimitMs);
    try {
      const response = await fetch("/v1/events", {
        headers: {
          ...authorization(),
          accept: "text/event-stream",
          ...(lastId === "" ? {} : { "last-event-id": lastId }),
        },
        signal: attempt.signal,
      });
      if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
      listener.connection("live");
      // Without an id to go on from nobody knows what was missed.
      if (wasLive && lastId === "") listener.event({ kind: "reset", message: "connected again" });
      wasLive = true;
      retryMs = firstRetryMs;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(give, silenceLimitMs);
        buffer += value;
        const blocks = buffer.split(/\r?\n\r?\n/);
        buffer = blocks.pop() ?? "";
        for (const block of blocks) {
          const message = parseEventBlock(block);
          if (message.id !== undefined) lastId = message.id;
          if (message.data !== undefined) listener.event(message.data);
        }
      }
    } catch {
      // Said below; it is tried again.
    } finally {
      clearTimeout(watchdog);
      stop.removeEventListener("abort", give);
    }
    if (stop.aborted) return;
    listener.connection("lost");
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    retryMs = Math.min(longestRetryMs, retryMs * 2);
  }
}

/** One block of a stream (HTML standard, section 9.2.6), as far as the server uses it. Data that is no event is left out. */
export function parseEventBlock(block: string): {
  readonly id: string | undefined;
  readonly data: AddressEvent | undefined;
} {
  let id: string | undefined;
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const field = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") id = value;
    else if (field === "data") data.push(value);
  }
  if (data.length === 0) return { id, data: undefined };
  try {
    const parsed: unknown = JSON.parse(data.join("\n"));
    const isEvent = typeof parsed === "object" && parsed !== null && "kind" in parsed;
    return { id, data: isEvent ? (parsed as AddressEvent) : undefined };
  } catch {
    return { id, data: undefined };
  }
}
