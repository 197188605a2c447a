// Requests to the HTTP API, typed by its schemas, with every failure turned into a sentence and an exit code. The schemas are types here:
// validation is the server's, and loading it would cost each command its start.

import type { IncomingMessage, RequestOptions } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import type { BodyOf, EndpointShape, ParamsOf, QueryOf, SuccessOf } from "../wire/api/endpoint.ts";
import type { Problem } from "../wire/api/problem.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes, messageOf, OperationUnknown } from "./command-problem.ts";
import type { Connection } from "./connection.ts";

/** One call of an operation of the API. */
export type ApiCall<E extends EndpointShape> = {
  readonly method: E["method"];
  readonly path: E["path"];
  readonly params?: ParamsOf<E>;
  readonly query?: Readonly<QueryOf<E>>;
  readonly body?: Readonly<BodyOf<E>>;
  /** Names what the call is about in errors: `address 10.0.70.2`. */
  readonly about: string;
};

/** Answers of 200 and 202 with their body. */
export type ApiAnswer<E extends EndpointShape> = {
  readonly status: number;
  readonly body: SuccessOf<E>;
};

/** The client of one command; it keeps its connection from call to call. */
export interface ApiClient {
  readonly connection: Connection;
  /** @throws CommandProblem with the server's message and the exit code that belongs to its status */
  call<E extends EndpointShape>(call: ApiCall<E>): Promise<ApiAnswer<E>>;
  /**
   * A stream of text; ends when the server or `signal` ends it.
   * @param about names the stream in errors
   */
  open(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    about?: string,
  ): Promise<AsyncIterable<Uint8Array>>;
  close(): void;
}

/** How often a call is repeated when the server says that another replica leads, or that it has too much to do. */
const mostAttempts = 6;
const pauseMs = 400;
const longestPauseMs = 5_000;

/** Opens a client; the first call connects. */
export async function createApiClient(connection: Connection): Promise<ApiClient> {
  const isTls = connection.base.protocol === "https:";
  const { request, Agent } = isTls ? await import("node:https") : await import("node:http");
  const agent = new Agent({ keepAlive: true, maxSockets: 8, ...connection.tls });

  const send = async (
    method: string,
    path: string,
    options: {
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: string | undefined;
      readonly timeoutMs: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<IncomingMessage> => {
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      const { base, headers, tls } = connection;
      const requestOptions: RequestOptions = {
        agent,
        method,
        path: `${base.pathname === "/" ? "" : base.pathname}${path}`,
        host: base.hostname.replace(/^\[|\]$/g, ""),
        port: base.port === "" ? (isTls ? 443 : 80) : base.port,
        headers: { ...headers, ...options.headers },
        ...tls,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      };
      const outgoing = request(requestOptions, (response) => resolve(response));
      outgoing.setTimeout(options.timeoutMs, () => {
        outgoing.destroy(new Error(`no answer within ${options.timeoutMs / 1000} s`));
      });
      outgoing.once("error", reject);
      outgoing.end(options.body);
    });
    try {
      return await answered;
    } catch (error) {
      throw await explained(connection, error);
    }
  };

  const callOnce = async (
    call: ApiCall<EndpointShape>,
    path: string,
  ): Promise<{ status: number; text: string; retryAfterMs: number | undefined }> => {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const response = await send(call.method, path, {
      headers: {
        accept: "application/json",
        ...(body === undefined
          ? {}
          : {
              "content-type": "application/json",
              "content-length": String(Buffer.byteLength(body)),
            }),
      },
      body,
      timeoutMs: connection.timeoutMs,
    });
    const text = await textOf(response).catch((error: unknown) => {
      throw unreachable(connection, error);
    });
    const retryAfter = Number(response.headers["retry-after"]);
    const retryAfterMs = retryAfter > 0 ? retryAfter * 1000 : undefined;
    return { status: response.statusCode ?? 0, text, retryAfterMs };
  };

  return {
    connection,
    async call<E extends EndpointShape>(call: ApiCall<E>): Promise<ApiAnswer<E>> {
      const plain = call as unknown as ApiCall<EndpointShape>;
      const path = pathOf(plain);
      for (let attempt = 1; ; attempt += 1) {
        const { status, text, retryAfterMs } = await callOnce(plain, path);
        const json = parseJson(text);
        if (status >= 200 && status < 300) {
          if (json === undefined) throw notOurs(connection, call.about, status, text);
          return { status, body: json as SuccessOf<E> };
        }
        const problem = (json ?? {}) as Partial<Problem>;
        const isElsewhere = status === 503 && problem.leader !== undefined;
        if (attempt < mostAttempts && (status === 429 || isElsewhere)) {
          // Nothing was done: the next attempt may reach the leader, or find a place.
          await pause(Math.min(retryAfterMs ?? pauseMs, longestPauseMs));
          continue;
        }
        throw refusal(connection, call.about, status, problem, text);
      }
    },
    async open(path, headers, signal, about = "the stream of changes") {
      const response = await send("GET", path, {
        headers,
        timeoutMs: connection.timeoutMs,
        signal,
      });
      const status = response.statusCode ?? 0;
      if (status === 200) return response as AsyncIterable<Uint8Array>;
      const text = await textOf(response);
      const problem = (parseJson(text) ?? {}) as Partial<Problem>;
      throw refusal(connection, about, status, problem, text);
    },
    close: () => agent.destroy(),
  };
}

/** The path of a call with its parameters and query filled in. */
function pathOf(call: ApiCall<EndpointShape>): string {
  const params = (call.params ?? {}) as Readonly<Record<string, string>>;
  const path = call.path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? ""),
  );
  const query = new URLSearchParams();
  const values = (call.query ?? {}) as Readonly<Record<string, string | number | boolean>>;
  for (const [name, value] of Object.entries(values)) {
    if (value !== "") query.set(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function unreachable({ base, from }: Connection, cause: unknown): CommandProblem {
  return new CommandProblem(
    exitCodes.unreachable,
    `no answer from ${base.href} (${from}): ${messageOf(cause)}; check the address, that galaxy-ipam runs, and --certificate-authority for https`,
    { cause },
  );
}

/** Most people meet certificates when they are wrong: what is wrong with them is said in words. */
async function explained(connection: Connection, error: unknown): Promise<CommandProblem> {
  const isTls = connection.base.protocol === "https:";
  if (!isTls) return unreachable(connection, error);
  const { describeRefusedCertificate } = await import("./server-certificate.ts");
  const about = await describeRefusedCertificate(connection, error);
  if (about === undefined) return unreachable(connection, error);
  const { base, from } = connection;
  return new CommandProblem(exitCodes.unreachable, `${base.href} (${from}): ${about}`, {
    cause: error,
  });
}

function notOurs(
  { base, from }: Connection,
  about: string,
  status: number,
  text: string,
): CommandProblem {
  return new CommandProblem(
    exitCodes.unreachable,
    `${about}: ${base.href} (${from}) answered ${status} with ${JSON.stringify(text.slice(0, 60))}, which is not galaxy-ipam's API; check the address`,
  );
}

function refusal(
  connection: Connection,
  about: string,
  status: number,
  problem: Partial<Problem>,
  text: string,
): CommandProblem {
  if (problem.message === undefined && status !== 401 && status !== 403) {
    return notOurs(connection, about, status, text);
  }
  const id = problem.requestId === undefined ? "" : ` (request ${problem.requestId})`;
  const message = problem.message ?? "";
  // What the server says of paths that it does not have: it is older than this program, or newer by more than one release.
  const isUnknown = status === 404 && isPathMessage(message);
  if (isUnknown) {
    return new OperationUnknown(
      `${about}: ${connection.base.href} does not know this: galaxy-ipam there is of another version than this galaxyctl; compare galaxyctl status with galaxyctl --version, and upgrade the older one (docs/upgrade.md)${id}`,
    );
  }
  const next = nextStepOf(status);
  return new CommandProblem(
    exitCodeOf(status),
    `${about}: ${message}${message !== "" && next !== "" ? "; " : ""}${next}${id}`,
  );
}

/** "there is no GET /v1/backup; …", as opposed to a pod or an address that is not there. */
function isPathMessage(message: string): boolean {
  return /^there is no (GET|POST|PUT|DELETE) \/v1\//.test(message);
}

function nextStepOf(status: number): string {
  if (status === 401) return "give a token with --token-file FILE or GALAXY_TOKEN";
  if (status === 403) return "use a token whose owner may do this, or ask an administrator";
  return "";
}

function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return exitCodes.unauthorised;
  if (status === 404) return exitCodes.notFound;
  if (status === 409) return exitCodes.refused;
  if (status === 429 || status === 502 || status === 503 || status === 504) {
    return exitCodes.unreachable;
  }
  return status < 500 ? exitCodes.usage : exitCodes.failed;
}
