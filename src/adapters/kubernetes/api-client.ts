// Requests to the Kubernetes API server on node:https: kept connections, time limits, a rate limit, retries of reads, honest errors.
// Knows no kinds; watches are in list-watch.ts.

import http from "node:http";
import https from "node:https";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { WorldError } from "../../ports/world-error.ts";
import type { ApiAccess, ApiCredentials, TlsSettings } from "./api-access.ts";
import { ApiError, errorOfAnswer, isObjectMissing, parseStatus } from "./api-error.ts";
import { Backoff, pause } from "./backoff.ts";
import { RateLimit } from "./rate-limit.ts";

const gunzipAsync = promisify(gunzip);

/** One finished request, for metrics; `status` 0: no answer. */
export type ApiSample = {
  readonly method: string;
  readonly status: number;
  readonly seconds: number;
};

/** Settings of the client; each has a default that suits one control plane. */
export type ApiClientOptions = {
  readonly access: ApiAccess;
  /** Requests per second over a longer time (`--kube-api-qps`); 0: no limit. Default 1000: a bind is two or three requests. */
  readonly requestsPerSecond?: number;
  /** Requests at once after a rest (`--kube-api-burst`). Default 2000. */
  readonly burst?: number;
  /** Most connections for requests; watches have their own. Default 100. */
  readonly maxConnections?: number;
  /** Time limit of a read or write with its retries, milliseconds. Default 8000. */
  readonly timeLimitMs?: number;
  /** Time limit of one page of a list, milliseconds. Default 60,000. */
  readonly listTimeLimitMs?: number;
  readonly userAgent?: string;
  /** Called after each request; must not throw. */
  readonly onRequest?: (sample: ApiSample) => void;
};

/** Answer to a read; `missing`: the API server knows the kind and says that there is no such object. */
export type ReadAnswer = { readonly kind: "found"; readonly text: string } | { kind: "missing" };

/**
 * Answer to a write.
 * - `missing`: the API server knows the kind and says that there is no such object
 * - `conflict`: 409; `reason` is AlreadyExists or Conflict as the API server says it
 */
export type WriteAnswer =
  | { readonly kind: "done"; readonly text: string }
  | { readonly kind: "missing"; readonly message: string }
  | { readonly kind: "conflict"; readonly reason: string; readonly message: string };

/** A write; `path` carries the query. */
export type WriteRequest = {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body: unknown;
  /** What is done to what, for messages: "create FloatingIP 10.0.70.2". */
  readonly tried: string;
  readonly timeLimitMs?: number;
  /** Not held back by the rate limit: the leader's lease must not wait behind its own load. */
  readonly isUrgent?: boolean;
  /** A patch merges lists by their keys (built-in kinds only), instead of replacing them. */
  readonly mergesLists?: boolean;
};

/** A read; `path` carries the query. */
export type ReadRequest = {
  readonly path: string;
  readonly tried: string;
  readonly timeLimitMs?: number;
  readonly isUrgent?: boolean;
  /** Ask for a compressed answer: worth it for lists (18 times smaller), not for one object. */
  readonly isLarge?: boolean;
};

type RawAnswer = {
  readonly status: number;
  readonly body: string;
  readonly retryAfterMs: number | undefined;
};

type RawRequest = {
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  readonly contentType: string;
  readonly tried: string;
  readonly isLarge: boolean;
};

/** A client of one API server. */
export class ApiClient {
  readonly listTimeLimitMs: number;
  readonly #options: ApiClientOptions;
  readonly #access: ApiAccess;
  readonly #isTls: boolean;
  readonly #hostname: string;
  readonly #port: string;
  readonly #isLoopback: boolean;
  readonly #prefix: string;
  readonly #limit: RateLimit;
  readonly #timeLimitMs: number;
  readonly #stopping = new AbortController();
  readonly #inFlight = new Set<http.ClientRequest>();
  /** Agents of earlier credentials are kept until the end: their connections close when they were idle for a while. */
  readonly #agents: http.Agent[] = [];
  #tls: TlsSettings | undefined;
  #requestAgent: http.Agent | undefined;
  #watchAgent: http.Agent | undefined;

  constructor(options: ApiClientOptions) {
    const server = options.access.server;
    this.#options = options;
    this.#access = options.access;
    this.#isTls = server.protocol === "https:";
    this.#hostname = server.hostname.replace(/^\[|\]$/g, "");
    this.#port = server.port;
    // Compression costs the API server a tenth of a list's time, and on this machine there is no network to spare.
    this.#isLoopback = /^(localhost|127\..*|::1)$/.test(this.#hostname);
    this.#prefix = server.pathname.replace(/\/$/, "");
    this.#limit = new RateLimit({
      perSecond: options.requestsPerSecond ?? 1000,
      burst: options.burst ?? 2000,
    });
    this.#timeLimitMs = options.timeLimitMs ?? 8000;
    this.listTimeLimitMs = options.listTimeLimitMs ?? 60_000;
  }

  /** Name or address of the API server, without port. */
  get serverName(): string {
    return this.#hostname;
  }

  /** Aborted by {@link close}: loops over this client end with it. */
  get stopSignal(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Ends all requests in flight with WorldError STOPPED and closes the connections; safe to call twice. */
  close(): void {
    this.#stopping.abort();
    for (const request of this.#inFlight) request.destroy(new StoppedSignal());
    for (const agent of this.#agents) agent.destroy();
  }

  /**
   * Reads. Failures that may pass (no connection, 429, 5xx) are tried again within the time limit.
   * Rejects with a WorldError; a read never has an unknown outcome.
   */
  async read(request: ReadRequest): Promise<ReadAnswer> {
    const deadline = performance.now() + (request.timeLimitMs ?? this.#timeLimitMs);
    const backoff = new Backoff({ firstMs: 100, maxMs: 2000 });
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#exchange(
          {
            method: "GET",
            path: request.path,
            body: undefined,
            contentType: "",
            tried: request.tried,
            isLarge: request.isLarge === true,
          },
          deadline,
          request.isUrgent === true,
        );
        if (answer.status === 200) return { kind: "found", text: answer.body };
        if (isObjectMissing(answer.status, answer.body)) return { kind: "missing" };
        throw errorOfAnswer({ tried: request.tried, isWrite: false, ...answer });
      } catch (error) {
        if (!(error instanceof ApiError) || !mayPass(error) || attempt === 4) throw error;
        const waitMs = backoff.nextMs(error.retryAfterMs);
        if (performance.now() + waitMs >= deadline) throw error;
        await pause(waitMs, this.stopSignal);
      }
    }
  }

  /** As {@link read}, parsed. Rejects with API_UNREADABLE when the answer is not JSON. */
  async readJson(
    request: ReadRequest,
  ): Promise<{ kind: "found"; json: unknown } | { kind: "missing" }> {
    const answer = await this.read(request);
    if (answer.kind === "missing") return answer;
    return { kind: "found", json: parseAnswer(answer.text, request.tried, false) };
  }

  /**
   * Writes. Only an answer that says "not executed" (429, 401) is followed by another attempt; everything else is the caller's to judge.
   * Rejects with a WorldError whose `mayHaveHappened` is true when the outcome is unknown.
   */
  async write(request: WriteRequest): Promise<WriteAnswer> {
    const deadline = performance.now() + (request.timeLimitMs ?? this.#timeLimitMs);
    const backoff = new Backoff({ firstMs: 100, maxMs: 2000 });
    const raw: RawRequest = {
      method: request.method,
      path: request.path,
      body: JSON.stringify(request.body),
      contentType: contentTypeOf(request),
      tried: request.tried,
      isLarge: false,
    };
    for (;;) {
      const answer = await this.#exchange(raw, deadline, request.isUrgent === true);
      if (answer.status >= 200 && answer.status < 300) return { kind: "done", text: answer.body };
      if (isObjectMissing(answer.status, answer.body)) {
        return { kind: "missing", message: parseStatus(answer.body).message };
      }
      if (answer.status === 409) return { kind: "conflict", ...parseStatus(answer.body) };
      const error = errorOfAnswer({ tried: request.tried, isWrite: true, ...answer });
      if (answer.status !== 429) throw error;
      const waitMs = backoff.nextMs(answer.retryAfterMs);
      if (performance.now() + waitMs >= deadline) throw error;
      await pause(waitMs, this.stopSignal);
    }
  }

  /**
   * Opens an answer without end (a watch). `stop` ends it; the stream then fails, which is what its reader expects.
   * Rejects with an ApiError when the server does not answer 200 within the time limit.
   */
  async openStream(request: {
    readonly path: string;
    readonly tried: string;
    readonly stop: AbortSignal;
  }): Promise<http.IncomingMessage> {
    const tried = request.tried;
    this.#checkOpen(tried);
    const credentials = await this.#access.credentials();
    const startedMs = performance.now();
    return await new Promise<http.IncomingMessage>((resolve, reject) => {
      const outgoing = this.#open(
        {
          method: "GET",
          path: request.path,
          body: undefined,
          contentType: "",
          tried,
          isLarge: false,
        },
        credentials,
        this.#agentsFor(credentials.tls).watch,
      );
      const stopNow = (): void => {
        outgoing.destroy(new StoppedSignal());
      };
      const timer = setTimeout(() => outgoing.destroy(new TimeLimitSignal()), this.#timeLimitMs);
      let isSettled = false;
      const settle = (status: number): void => {
        clearTimeout(timer);
        if (!isSettled) this.#sample("WATCH", status, startedMs);
        isSettled = true;
      };
      outgoing.once("close", () => {
        clearTimeout(timer);
        request.stop.removeEventListener("abort", stopNow);
      });
      request.stop.addEventListener("abort", stopNow, { once: true });
      if (request.stop.aborted) stopNow();
      outgoing.on("error", (error) => {
        settle(0);
        reject(transportError(error, { tried, mayHaveHappened: false }));
      });
      const rejectWith = async (incoming: http.IncomingMessage, status: number): Promise<void> => {
        try {
          const body = await collect(incoming);
          const retryAfterMs = retryAfterMsOf(incoming);
          reject(errorOfAnswer({ tried, isWrite: false, status, body, retryAfterMs }));
        } catch (error) {
          reject(transportError(error, { tried, mayHaveHappened: false }));
        }
        settle(status);
      };
      outgoing.once("response", (incoming) => {
        const status = incoming.statusCode ?? 0;
        // Errors after the answer has begun belong to its reader; without a listener they would end the process.
        incoming.on("error", () => {});
        if (status === 200) {
          settle(status);
          // Probes find a peer that vanished without a word (a node that lost power) long before TCP gives up.
          incoming.socket.setKeepAlive(true, 15_000);
          resolve(incoming);
          return;
        }
        if (status === 401) this.#access.forget();
        void rejectWith(incoming, status);
      });
      outgoing.end();
    });
  }

  /** One request with its answer; 401 is tried once more with credentials read anew. */
  async #exchange(request: RawRequest, deadline: number, isUrgent: boolean): Promise<RawAnswer> {
    if (!isUrgent) {
      const nowMs = performance.now();
      const waitMs = this.#limit.take(nowMs, deadline - nowMs);
      if (waitMs === undefined) {
        throw new ApiError("API_TIMEOUT", {
          tried: request.tried,
          message:
            "too many requests to the API server are waiting on this side; raise --kube-api-qps or find out who asks",
          mayHaveHappened: false,
          status: 0,
        });
      }
      if (waitMs > 0) await pause(waitMs, this.stopSignal);
    }
    const credentials = this.#access.credentials();
    const answer = await this.#send(
      request,
      credentials instanceof Promise ? await credentials : credentials,
      deadline,
    );
    if (answer.status !== 401) return answer;
    this.#access.forget();
    return this.#send(request, await this.#access.credentials(), deadline);
  }

  #send(request: RawRequest, credentials: ApiCredentials, deadline: number): Promise<RawAnswer> {
    this.#checkOpen(request.tried);
    const startedMs = performance.now();
    return new Promise<RawAnswer>((resolve, reject) => {
      const isWrite = request.method !== "GET";
      const outgoing = this.#open(request, credentials, this.#agentsFor(credentials.tls).request);
      let isSent = false;
      let isDone = false;
      let isOverdue = false;
      const timer = setTimeout(
        () => {
          isOverdue = true;
          outgoing.destroy(new TimeLimitSignal());
        },
        Math.max(1, deadline - startedMs),
      );
      const fail = (error: unknown): void => {
        if (isDone) return;
        isDone = true;
        clearTimeout(timer);
        this.#sample(request.method, 0, startedMs);
        // Once an answer has begun, Node reports our own ending of it as a connection that was reset.
        const reason = isOverdue ? new TimeLimitSignal() : error;
        reject(
          transportError(this.#stopping.signal.aborted ? new StoppedSignal() : reason, {
            tried: request.tried,
            mayHaveHappened: isWrite && isSent,
          }),
        );
      };
      const finish = async (incoming: http.IncomingMessage): Promise<void> => {
        try {
          const body = await collect(incoming);
          if (isDone) return;
          isDone = true;
          clearTimeout(timer);
          const status = incoming.statusCode ?? 0;
          this.#sample(request.method, status, startedMs);
          resolve({ status, body, retryAfterMs: retryAfterMsOf(incoming) });
        } catch (error) {
          fail(error);
        }
      };
      outgoing.once("socket", (socket) => {
        // Nothing leaves before the connection stands: a refused connection is a write that did not happen.
        if (socket.connecting) {
          socket.once(this.#isTls ? "secureConnect" : "connect", () => {
            isSent = true;
          });
        } else {
          isSent = true;
        }
      });
      outgoing.on("error", fail);
      outgoing.once("response", (incoming) => {
        void finish(incoming);
      });
      outgoing.end(request.body);
    });
  }

  #open(request: RawRequest, credentials: ApiCredentials, agent: http.Agent): http.ClientRequest {
    const headers: http.OutgoingHttpHeaders = {
      accept: "application/json",
      "user-agent": this.#options.userAgent ?? "galaxy-ipam",
    };
    if (credentials.authorization !== undefined) {
      headers["authorization"] = credentials.authorization;
    }
    if (request.isLarge && !this.#isLoopback) headers["accept-encoding"] = "gzip";
    if (request.body !== undefined) {
      headers["content-type"] = request.contentType;
      headers["content-length"] = Buffer.byteLength(request.body);
    }
    const options: http.RequestOptions = {
      hostname: this.#hostname,
      path: this.#prefix + request.path,
      method: request.method,
      headers,
      agent,
      ...(this.#port === "" ? {} : { port: this.#port }),
    };
    const outgoing = this.#isTls ? https.request(options) : http.request(options);
    this.#inFlight.add(outgoing);
    outgoing.once("close", () => this.#inFlight.delete(outgoing));
    return outgoing;
  }

  /** Agents for the credentials in force; new TLS settings need new connections. */
  #agentsFor(tls: TlsSettings): { readonly request: http.Agent; readonly watch: http.Agent } {
    if (this.#tls !== tls || this.#requestAgent === undefined || this.#watchAgent === undefined) {
      this.#tls = tls;
      this.#requestAgent = this.#makeAgent(tls, this.#options.maxConnections ?? 100);
      this.#watchAgent = this.#makeAgent(tls, Number.POSITIVE_INFINITY);
    }
    return { request: this.#requestAgent, watch: this.#watchAgent };
  }

  #makeAgent(tls: TlsSettings, maxSockets: number): http.Agent {
    const common = {
      keepAlive: true,
      maxSockets,
      maxFreeSockets: 100,
      // Idle connections go before the server or something between closes them under a request.
      timeout: 30_000,
      scheduling: "lifo" as const,
    };
    const agent = this.#isTls
      ? new https.Agent({
          ...common,
          ...definedOf(tls),
        })
      : new http.Agent(common);
    this.#agents.push(agent);
    return agent;
  }

  #checkOpen(tried: string): void {
    if (this.#stopping.signal.aborted) {
      throw new WorldError("STOPPED", { tried, message: "the program is stopping" });
    }
  }

  #sample(method: string, status: number, startedMs: number): void {
    this.#options.onRequest?.({
      method,
      status,
      seconds: (performance.now() - startedMs) / 1000,
    });
  }
}

/** Parses an answer. Throws API_UNREADABLE; for a write the effect is there although its answer cannot be read. */
export function parseAnswer(text: string, tried: string, isWrite: boolean): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new WorldError("API_UNREADABLE", {
      tried,
      message: `the answer is not JSON: "${text.slice(0, 80)}"; is there a proxy between us and the API server?`,
      mayHaveHappened: isWrite,
      cause,
    });
  }
}

function contentTypeOf({ mergesLists, method }: WriteRequest): string {
  if (method !== "PATCH") return "application/json";
  return mergesLists === true
    ? "application/strategic-merge-patch+json"
    : "application/merge-patch+json";
}

/** A part of a path; names come from objects and must not be able to leave their place. */
export function segment(name: string): string {
  return encodeURIComponent(name);
}

class TimeLimitSignal extends Error {}
class StoppedSignal extends Error {}

function mayPass(error: ApiError): boolean {
  if (error.status === 404) return false;
  return error.code === "API_UNAVAILABLE" || (error.code === "API_TIMEOUT" && error.status !== 0);
}

function transportError(
  error: unknown,
  details: { readonly tried: string; readonly mayHaveHappened: boolean },
): WorldError {
  if (error instanceof StoppedSignal) {
    return new WorldError("STOPPED", { ...details, message: "the program is stopping" });
  }
  if (error instanceof TimeLimitSignal) {
    return new ApiError("API_TIMEOUT", {
      ...details,
      message: "the API server did not answer in time; check it and the network to it",
      status: 0,
    });
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new ApiError("API_UNAVAILABLE", {
    ...details,
    message: `no answer from the API server (${reason}); check that it runs and can be reached`,
    status: 0,
    cause: error,
  });
}

/** The whole body as text. Rejects when the connection breaks before its end. */
async function collect(incoming: http.IncomingMessage): Promise<string> {
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("error", reject);
    incoming.once("end", () =>
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)),
    );
  });
  const isZipped = incoming.headers["content-encoding"] === "gzip";
  return (isZipped ? await gunzipAsync(bytes) : bytes).toString("utf8");
}

function retryAfterMsOf(incoming: http.IncomingMessage): number | undefined {
  const text = incoming.headers["retry-after"];
  // The API server sends whole seconds; the form with a date is not used by it.
  if (text === undefined || !/^[0-9]{1,5}$/.test(text)) return undefined;
  return Number(text) * 1000;
}

function definedOf(tls: TlsSettings): https.AgentOptions {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}
