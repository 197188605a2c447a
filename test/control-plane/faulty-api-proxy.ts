// A proxy between galaxy-ipam and the API server that breaks calls on demand: answers lost after the work was done, refusals, delays,
// watches cut or told to be too old. It speaks HTTP on loopback (`--master`), and adds the credentials itself.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { ApiAddress } from "./api.ts";

/** A call as the proxy sees it; `path` is with its query. */
export type ProxiedCall = {
  /** 0 for the first call that the proxy saw. */
  readonly index: number;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly isWatch: boolean;
};

/**
 * What goes wrong with a call.
 * - `status`: it is answered so and never reaches the API server
 * - `lose answer`: the API server does the work, the connection breaks before the answer
 * - `refuse`: the connection breaks before the API server hears of it
 * - `hold`: it reaches the API server when the fault has ended, if the caller still waits for it then
 * - `too old`: a watch is answered with 200 and one ERROR event 410, as for a version that was compacted
 */
export type Fault =
  | { readonly kind: "status"; readonly code: number; readonly retryAfterSeconds?: number }
  | { readonly kind: "lose answer" }
  | { readonly kind: "refuse" }
  | { readonly kind: "hold" }
  | { readonly kind: "too old" };

/** A fault in force. */
export type InForce = {
  /** How many calls it has hit. */
  count(): number;
  /** Ends it; what it held goes on. */
  end(): void;
};

export type FaultyApiProxy = {
  /** `http://127.0.0.1:PORT`, for `--master`. */
  readonly url: string;
  /** Where calls go and with whose token. */
  forwardTo(target: ApiAddress): void;
  /** Breaks the calls that match, the first `times` of them (all by default), until it is ended. */
  break(
    matches: (call: ProxiedCall) => boolean,
    fault: Fault,
    options?: { readonly times?: number },
  ): InForce;
  /** Ends all faults. */
  heal(): void;
  /** Breaks the connections of all watches that are open; they may be opened again at once. Returns how many. */
  cutWatches(): number;
  /** Calls seen so far that match. */
  callsSeen(matches: (call: ProxiedCall) => boolean): number;
  stop(): Promise<void>;
};

type FaultInForce = {
  readonly matches: (call: ProxiedCall) => boolean;
  readonly fault: Fault;
  left: number;
  hits: number;
  readonly ended: PromiseWithResolvers<void>;
};

/** Starts the proxy; it answers 502 until it is told where to forward to. */
export async function startFaultyApiProxy(): Promise<FaultyApiProxy> {
  const sockets = new Set<Socket>();
  const watches = new Set<ServerResponse>();
  const seen: ProxiedCall[] = [];
  const faults = new Set<FaultInForce>();
  let target: ApiAddress | undefined;
  let agent: Agent | undefined;

  const faultOf = (call: ProxiedCall): FaultInForce | undefined => {
    for (const entry of faults) {
      if (entry.left > 0 && entry.matches(call)) {
        entry.left -= 1;
        entry.hits += 1;
        return entry;
      }
    }
    return undefined;
  };
  const endFault = (entry: FaultInForce): void => {
    faults.delete(entry);
    entry.ended.resolve();
  };

  const forward = (
    call: ProxiedCall,
    incoming: IncomingMessage,
    reply: ServerResponse,
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      if (target === undefined) {
        reject(new Error("the proxy was not told where to forward to"));
        return;
      }
      const url = new URL(target.url);
      const { host: _host, authorization: _authorization, ...headers } = incoming.headers;
      const outgoing = httpsRequest(
        {
          host: url.hostname,
          port: url.port,
          method: call.method,
          path: call.path,
          headers: { ...headers, authorization: `Bearer ${target.token}` },
          ...(agent === undefined ? {} : { agent }),
        },
        resolve,
      );
      outgoing.on("error", reject);
      // A caller that hangs up ends its watch at the API server, too.
      reply.once("close", () => reply.writableFinished || outgoing.destroy());
      outgoing.end(call.body);
    });

  const serve = async (incoming: IncomingMessage, reply: ServerResponse): Promise<void> => {
    const path = incoming.url ?? "/";
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const call: ProxiedCall = {
      index: seen.length,
      method: incoming.method ?? "GET",
      path,
      body: Buffer.concat(chunks).toString("utf8"),
      isWatch: /[?&]watch=(1|true)(&|$)/.test(path),
    };
    seen.push(call);
    const inForce = faultOf(call);
    const fault = inForce?.fault;
    switch (fault?.kind) {
      case "status":
        reply.writeHead(fault.code, {
          "content-type": "application/json",
          ...(fault.retryAfterSeconds === undefined
            ? {}
            : { "retry-after": String(fault.retryAfterSeconds) }),
        });
        reply.end(JSON.stringify(statusObject(fault.code)));
        return;
      case "refuse":
        incoming.socket.destroy();
        return;
      case "too old":
        reply.writeHead(200, { "content-type": "application/json" });
        reply.end(`${JSON.stringify({ type: "ERROR", object: statusObject(410) })}\n`);
        return;
      case "hold":
        await inForce?.ended.promise;
        if (incoming.socket.destroyed) return;
        break;
      case "lose answer":
      case undefined:
        break;
      default:
        fault satisfies never;
    }
    const answer = await forward(call, incoming, reply);
    if (fault?.kind === "lose answer") {
      // The work is done when the whole answer is there.
      answer.resume();
      await once(answer, "end");
      incoming.socket.destroy();
      return;
    }
    if (call.isWatch) {
      watches.add(reply);
      reply.once("close", () => watches.delete(reply));
    }
    reply.writeHead(answer.statusCode ?? 502, answer.headers);
    reply.flushHeaders();
    answer.on("error", () => reply.destroy());
    answer.pipe(reply);
  };

  const server = createServer((incoming, reply) => {
    serve(incoming, reply).catch((error: unknown) => {
      if (reply.headersSent) reply.destroy();
      else reply.writeHead(502).end(String(error));
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forwardTo: (address) => {
      target = address;
      agent?.destroy();
      agent = new Agent({ ca: address.ca, keepAlive: true });
    },
    break: (matches, fault, options = {}) => {
      const left = options.times ?? Number.POSITIVE_INFINITY;
      const entry = { matches, fault, left, hits: 0, ended: Promise.withResolvers<void>() };
      faults.add(entry);
      return { count: () => entry.hits, end: () => endFault(entry) };
    },
    heal: () => {
      for (const entry of faults) endFault(entry);
    },
    cutWatches: () => {
      const open = [...watches];
      for (const reply of open) reply.destroy();
      return open.length;
    },
    callsSeen: (matches) => seen.filter(matches).length,
    stop: async () => {
      for (const entry of faults) endFault(entry);
      for (const socket of sockets) socket.destroy();
      agent?.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A call that writes the record of an address: creates carry its name in the body, the rest in the path. */
export function isRecordWrite(method: string, ip?: string): (call: ProxiedCall) => boolean {
  return (call) =>
    call.method === method &&
    call.path.includes("/floatingips") &&
    (ip === undefined || call.path.includes(`/${ip}`) || call.body.includes(`"${ip}"`));
}

/** The Binding of a pod. */
export function isBindingOf(podName: string): (call: ProxiedCall) => boolean {
  return (call) => isBinding(call) && call.path.endsWith(`/pods/${podName}/binding`);
}

/** The Binding of any pod. */
export function isBinding(call: ProxiedCall): boolean {
  return call.method === "POST" && call.path.endsWith("/binding");
}

function statusObject(code: number): unknown {
  const reasons: Readonly<Record<number, string>> = {
    403: "Forbidden",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
  };
  return {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason: reasons[code] ?? "Unknown",
    message: `broken on purpose by the test (${code})`,
    code,
  };
}
