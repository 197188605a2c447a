// The scheduler's side of an extender call: one kept connection, one call after the other as kube-scheduler filters, the time of each.

import { Agent, request } from "node:http";

/** An answer and how long it took from the first byte sent to the last received, milliseconds. */
export type TimedAnswer = { readonly ms: number; readonly status: number; readonly body: Buffer };

/** A caller of one extender. */
export class ExtenderClient {
  readonly #port: number;
  readonly #agent: Agent;

  /** `connections`: most calls in flight. */
  constructor(port: number, connections = 1) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  post(path: string, body: Buffer | string): Promise<TimedAnswer> {
    return new Promise((resolve, reject) => {
      const startedMs = performance.now();
      const call = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          path,
          method: "POST",
          agent: this.#agent,
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.once("error", reject);
          response.once("end", () => {
            const ms = performance.now() - startedMs;
            resolve({ ms, status: response.statusCode ?? 0, body: Buffer.concat(chunks) });
          });
        },
      );
      call.once("error", reject);
      call.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
