// The NodeLocks port on abstract unix sockets: a name of the network namespace that one process can listen on, and that the kernel
// gives back when the process ends, however it ends. Nothing is left on disk, and nobody polls: who waits is told by a closed connection.

import { createHash } from "node:crypto";
import type { Server } from "node:net";
import { connect, createServer } from "node:net";
import type { NodeLocks } from "../../ports/node-locks.ts";
import { WorldError } from "../../ports/world-error.ts";

/** Locks of one node. Calls of this process wait for each other in memory, in their order; only the first asks for the socket. */
export class SocketNodeLocks implements NodeLocks {
  readonly #scope: string;
  /** The last call of each lock; resolves when it is done. */
  readonly #last = new Map<string, Promise<void>>();

  /** @param scope what tells nodes apart that share a network namespace: the folder of their state */
  constructor(scope: string) {
    this.#scope = scope;
  }

  async withLock<T>(name: string, limitMs: number, action: () => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(limitMs);
    const before = this.#last.get(name) ?? Promise.resolve();
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    // Who gives up waiting is still followed by those behind it, after the one before it.
    const last = before.then(() => done);
    this.#last.set(name, last);
    try {
      if ((await settled(before, signal)) === "aborted") throw busy(name, limitMs);
      return await this.#withSocket(name, limitMs, signal, action);
    } finally {
      finish();
      if (this.#last.get(name) === last) this.#last.delete(name);
    }
  }

  async #withSocket<T>(
    name: string,
    limitMs: number,
    signal: AbortSignal,
    action: () => Promise<T>,
  ): Promise<T> {
    // Abstract names have at most 107 bytes, and folders and container ids may be longer.
    const hash = createHash("sha256")
      .update(JSON.stringify([this.#scope, name]))
      .digest("hex");
    const path = `\0galaxy/${hash}`;
    let server = await tryListen(path);
    while (server === undefined) {
      await untilReleased(path, signal);
      if (signal.aborted) throw busy(name, limitMs);
      server = await tryListen(path);
    }
    const held = server;
    const waiting = new Set<{ destroy(): void }>();
    held.on("connection", (socket) => {
      socket.on("error", () => {});
      waiting.add(socket);
    });
    try {
      return await action();
    } finally {
      const closed = new Promise<void>((resolve) => held.close(() => resolve()));
      for (const socket of waiting) socket.destroy();
      // A connection may arrive between the two; closing waits for it.
      held.on("connection", (socket) => socket.destroy());
      await closed;
    }
  }
}

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

/** The listening server, or undefined when somebody else listens. */
async function tryListen(path: string): Promise<Server | undefined> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen({ path, exclusive: true }, () => resolve(server));
  });
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
