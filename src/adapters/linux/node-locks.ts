// The NodeLocks port on abstract unix sockets: a name of the network namespace that one process can listen on, and that the kernel
// gives back when the process ends, however it ends. Nothing is left on disk, and nobody polls: who waits is told by a closed connection.

import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import type { NodeLocks } from "../../ports/node-locks.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { SystemCalls } from "./system-calls.ts";

/** Locks of one node. Calls of this process wait for each other in memory, in their order; only the first asks for the socket. */
export class SocketNodeLocks implements NodeLocks {
  readonly #scope: string;
  readonly #calls: Pick<SystemCalls, "holdName" | "close"> | undefined;
  /** The last call of each lock; resolves when it is done. */
  readonly #last = new Map<string, Promise<void>>();

  /**
   * @param scope what tells nodes apart that share a network namespace: the folder of their state
   * @param calls a server of Node is as good, and costs ten times as much
   */
  constructor(scope: string, calls?: Pick<SystemCalls, "holdName" | "close">) {
    this.#scope = scope;
    this.#calls = calls;
  }

  async withLock<T>(name: string, limitMs: number, action: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const signal = () =>
      AbortSignal.timeout(Math.max(0, Math.ceil(limitMs - (performance.now() - startedMs))));
    const before = this.#last.get(name);
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    // Who gives up waiting is still followed by those behind it, after the one before it.
    const last = before === undefined ? done : before.then(() => done);
    this.#last.set(name, last);
    try {
      if (before !== undefined && (await settled(before, signal())) === "aborted") {
        throw busy(name, limitMs);
      }
      const path = this.#pathOf(name);
      let held = await this.#take(path);
      if (held === undefined) {
        const waiting = signal();
        while (held === undefined) {
          await untilReleased(path, waiting);
          if (waiting.aborted) throw busy(name, limitMs);
          held = await this.#take(path);
        }
      }
      try {
        return await action();
      } finally {
        await held.release();
      }
    } finally {
      finish();
      if (this.#last.get(name) === last) this.#last.delete(name);
    }
  }

  /** Abstract names have at most 107 bytes, and folders and container ids may be longer. */
  #pathOf(name: string): string {
    const hash = createHash("sha256")
      .update(JSON.stringify([this.#scope, name]))
      .digest("hex");
    return `\0galaxy/${hash}`;
  }

  #take(path: string): Promise<Held | undefined> | Held | undefined {
    const calls = this.#calls;
    if (calls === undefined) return tryListen(path);
    const socket = calls.holdName(path.slice(1));
    return socket === undefined ? undefined : { release: () => calls.close(socket) };
  }
}

/** A name that this process has. Giving it back ends the connections of those who wait. */
type Held = { release(): Promise<void> | void };

function busy(name: string, limitMs: number): WorldError {
  return new WorldError("NODE_BUSY", {
    tried: `lock ${name}`,
    message: `somebody else on this node held it for ${limitMs} ms; look for a program that hangs, and try again`,
  });
}

/** Waits for a promise that never rejects, or for the signal. */
async function settled(promise: Promise<void>, signal: AbortSignal): Promise<"done" | "aborted"> {
  return new Promise((resolve) => {
    const abort = () => resolve("aborted");
    signal.addEventListener("abort", abort);
    void promise.then(() => {
      signal.removeEventListener("abort", abort);
      resolve("done");
    });
  });
}

/** By a listening server; undefined when somebody else listens. */
async function tryListen(path: string): Promise<Held | undefined> {
  const server = createServer();
  const isHeld = await new Promise<boolean>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    server.listen({ path, exclusive: true }, () => resolve(true));
  });
  if (!isHeld) return undefined;
  const waiting = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    waiting.add(socket);
  });
  return {
    release: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of waiting) socket.destroy();
      // A connection may arrive between the two; closing waits for it.
      server.on("connection", (socket) => socket.destroy());
      await closed;
    },
  };
}

/** Resolves when the holder closes, is gone, or the time is over. */
async function untilReleased(path: string, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const socket = connect(path);
    const finish = () => {
      signal.removeEventListener("abort", finish);
      socket.destroy();
      resolve();
    };
    socket.once("error", finish).once("close", finish);
    signal.addEventListener("abort", finish);
  });
}
