// What both ports have in common: a Fastify server whose every answer to a bad request is JSON, and whose every wait ends.
// Knows nothing of schedulers or addresses.

import type { Readable } from "node:stream";
import { type TLSSocket, Server as TlsServer } from "node:tls";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { fastify } from "fastify";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { certificateProblem } from "./client-certificate.ts";

/** Certificate chain and private key in PEM. */
export type TlsKeyPair = { readonly cert: string; readonly key: string };

/** How a port serves HTTPS. */
export type DoorTls = TlsKeyPair & {
  /** Authorities in PEM: only callers with a certificate of one of them are let in. */
  readonly clientCa?: string | undefined;
  /** With `clientCa`: callers without a certificate are let in as well, and whoever answers looks at what was shown. */
  readonly admitsWithout?: boolean;
};

/** What a door needs of the process. */
export type DoorOptions = {
  /** Names the port in errors: "the scheduler extender". */
  readonly name: string;
  readonly log: Log;
  /** Serves HTTPS instead of HTTP. */
  readonly tls?: DoorTls | undefined;
  /** Largest body in bytes. */
  readonly bodyLimit: number;
  /** Connections at a time; further ones are closed at once. Without a limit by default. */
  readonly maxConnections?: number;
  /** A connection on which nothing moves for so long while a request is under way is closed. Never by default. */
  readonly stalledMs?: number;
  /** An answer that was not begun after so long is given up with 503. Never by default. */
  readonly answerMs?: number;
};

/** A server that can be started once and stopped. */
export interface Door {
  /**
   * Listens. Port 0 takes a free one.
   * @returns the port
   * @throws WorldError PORT_UNAVAILABLE
   */
  listen(address: { readonly host: string; readonly port: number }): Promise<number>;
  /** Serves new connections with another certificate; those that are open keep theirs. Nothing happens on a port without TLS. */
  renewTls(tls: DoorTls): void;
  /** Stops taking requests, lets those under way finish for up to `graceMs` (5 s), then cuts them off. */
  close(graceMs?: number): Promise<void>;
}

/** The error body of both ports, as in the Go system, with the number under which the log has the request. */
export function sendProblem(
  reply: FastifyReply,
  code: number,
  message: string,
  details: Readonly<Record<string, string>> = {},
): FastifyReply {
  const body = { code, message, ...details, requestId: reply.request.id };
  if (code === 401) reply.header("www-authenticate", 'Bearer realm="galaxy"');
  if (code === 429) reply.header("retry-after", "1");
  return reply.code(code).type("application/json; charset=utf-8").send(JSON.stringify(body));
}

/** A body has this long to arrive; Node answers 408 after it. */
const requestTimeoutMs = 30_000;
/** Go's HTTP client drops idle connections after 90 s; closing later avoids the race between both ends. */
const keepAliveTimeoutMs = 120_000;

/** A Fastify server with the project's error answers. Routes are the caller's. */
export function createFastify(options: DoorOptions): FastifyInstance {
  const { log, tls } = options;
  const socketOptions = { connectionsCheckingInterval: 5_000, headersTimeout: 15_000 };
  const server = fastify({
    logger: false,
    bodyLimit: options.bodyLimit,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    forceCloseConnections: "idle",
    // The longest name of a pod has 253 characters.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1_000 },
    connectionTimeout: options.stalledMs ?? 0,
    handlerTimeout: options.answerMs ?? 0,
    ...(tls === undefined
      ? { http: socketOptions }
      : { https: { ...socketOptions, ...tlsSettings(tls) } }),
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
      void sendProblem(reply, error.statusCode ?? 400, error.message);
    },
    clientErrorHandler: (error, socket) => {
      if (!socket.writable || error.code === "ECONNRESET") {
        socket.destroy();
        return;
      }
      const [code, reason, message] = describeClientError(error);
      const body = JSON.stringify({ code, message });
      socket.end(
        `HTTP/1.1 ${code} ${reason}\r\nContent-Type: application/json; charset=utf-8\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    },
  }) as unknown as FastifyInstance;
  if (tls?.clientCa !== undefined && tls.admitsWithout !== true) refuseStrangers(server, options);
  if (options.maxConnections !== undefined) server.server.maxConnections = options.maxConnections;

  server.setErrorHandler((error: FastifyError, request, reply) => {
    const code = error.statusCode ?? 500;
    if (error.code === "FST_ERR_HANDLER_TIMEOUT") {
      log.warn("request took too long", { method: request.method, path: pathOf(request) });
      return sendProblem(reply, 503, "the answer took too long; try again, or ask for less");
    }
    if (code >= 500) {
      log.error("request failed", { method: request.method, path: pathOf(request) }, error);
      return sendProblem(reply, code, "internal error; the log has it under the request id");
    }
    return sendProblem(reply, code, error.message);
  });
  return server;
}

/**
 * The body as bytes. Where its length is declared, the bytes go to their place as they arrive, so that a large body is not
 * copied once more when it is complete.
 * @throws with `statusCode` 413 beyond `limit` bytes, 400 when the body ends before its declared length
 */
export function readBody(
  payload: Readable,
  declaredLength: string | undefined,
  limit: number,
): Promise<Buffer> {
  const length = declaredLength === undefined ? undefined : Number(declaredLength);
  const whole = length === undefined || length > limit ? undefined : Buffer.allocUnsafe(length);
  const chunks: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const fail = (statusCode: number, message: string) => {
      payload.removeAllListeners("data");
      payload.resume();
      reject(Object.assign(new Error(message), { statusCode }));
    };
    if (length !== undefined && length > limit) {
      fail(413, `the body is larger than ${limit} bytes`);
      return;
    }
    payload.on("data", (chunk: Buffer) => {
      if (bytes + chunk.length > (length ?? limit)) {
        fail(413, `the body is larger than ${length ?? limit} bytes`);
        return;
      }
      if (whole === undefined) chunks.push(chunk);
      else whole.set(chunk, bytes);
      bytes += chunk.length;
    });
    const closed = () => fail(400, "the body ends before its declared length");
    payload.once("end", () => {
      payload.removeListener("close", closed);
      resolve(whole ?? Buffer.concat(chunks));
    });
    // A caller that hangs up in the middle; nobody reads the answer.
    payload.once("error", (error) => fail(400, `the body broke off: ${error.message}`));
    payload.once("close", closed);
  });
}

/** So often at most it is said that callers are refused: nobody shall fill the log. */
const refusalLogMs = 10_000;

/**
 * Cuts callers without a good certificate off, before they can say anything. Node's own check does the same at the same moment, and
 * tells nobody whose certificate it was and what was wrong with it.
 */
function refuseStrangers(server: FastifyInstance, { log, name }: DoorOptions): void {
  let saidMs = Number.NEGATIVE_INFINITY;
  server.server.prependListener("secureConnection", (socket: TLSSocket) => {
    const shownBy = "certFile of tlsConfig in the scheduler's configuration";
    const places = { shownBy, authorities: "--extender-client-ca-file" };
    const problem =
      certificateProblem(socket, places) ??
      (socket.authorized ? undefined : `no client certificate was shown; give one to ${shownBy}`);
    if (problem === undefined) return;
    const from = socket.remoteAddress ?? "";
    socket.destroy();
    const nowMs = performance.now();
    if (nowMs - saidMs < refusalLogMs) return;
    saidMs = nowMs;
    log.warn("caller refused", { port: name, from, reason: problem });
  });
}

function tlsSettings({ cert, key, clientCa }: DoorTls) {
  // Who has no good certificate is cut off by refuseStrangers, or told by the guard of the API.
  const mutual = { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  return { cert, key, ...(clientCa === undefined ? {} : mutual) };
}

/** The path of a request without its query. */
export function pathOf(request: FastifyRequest): string {
  return request.url.split("?", 1)[0] ?? "";
}

/** The life of a Fastify server as a door. */
export function doorOf(server: FastifyInstance, options: DoorOptions): Door {
  return {
    async listen({ host, port }) {
      try {
        await server.listen({ host, port });
      } catch (error) {
        throw new WorldError("PORT_UNAVAILABLE", {
          tried: `listen on ${host}:${port} for ${options.name}`,
          message: `${error instanceof Error ? error.message : String(error)}; stop the program that has the port or choose another one`,
          cause: error,
        });
      }
      const address = server.server.address();
      return typeof address === "object" && address !== null ? address.port : port;
    },
    renewTls(tls) {
      const { server: listener } = server;
      // A port without TLS stays one.
      if (listener instanceof TlsServer) listener.setSecureContext(tlsSettings(tls));
    },
    async close(graceMs = 5_000) {
      const timer = setTimeout(() => {
        server.server.closeAllConnections();
      }, graceMs);
      try {
        await server.close();
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function describeClientError(error: Error & { code?: string }): [number, string, string] {
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return [408, "Request Timeout", `the request did not arrive within ${requestTimeoutMs} ms`];
  }
  if (error.code === "HPE_HEADER_OVERFLOW") {
    return [431, "Request Header Fields Too Large", "the headers are larger than 16 KiB"];
  }
  return [400, "Bad Request", `not an HTTP/1.1 request: ${error.message}`];
}
