// A peer that speaks HTTP and does what a test says: it answers, stalls, cuts the connection in the middle of a line. For transport failures
// that a real API server does not show on demand; behaviour of Kubernetes is tested on the real one.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ApiAccess, ApiCredentials } from "../src/adapters/kubernetes/api-access.ts";

/** A request as it arrived. */
export type SeenRequest = {
  readonly method: string;
  /** Path without query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  /** Parsed body; undefined when there was none. */
  readonly body: unknown;
};

/** Answers one request: ends the response, leaves it open (a watch, a stall) or destroys its socket. */
export type Script = (request: SeenRequest, response: ServerResponse) => void | Promise<void>;

/** A server under a test's command. */
export type ScriptedServer = {
  readonly access: ApiAccess;
  readonly url: string;
  /** Every request, in order of arrival. */
  readonly seen: SeenRequest[];
  /** Replaces the script. */
  script: Script;
  /** Cuts all connections. */
  cut(): void;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts a server on a free port of loopback. */
export async function startScriptedServer(script: Script): Promise<ScriptedServer> {
  const server = createServer((incoming, response) => {
    void answer(incoming, response);
  });
  const seen: SeenRequest[] = [];
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      // The client gave up while it sent: nothing to answer.
      return;
    }
    const text = Buffer.concat(chunks).toString("utf8");
    const url = new URL(incoming.url ?? "/", "http://server");
    const request: SeenRequest = {
      method: incoming.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      authorization: incoming.headers.authorization,
      body: text === "" ? undefined : (JSON.parse(text) as unknown),
    };
    seen.push(request);
    await scripted.script(request, response);
  };
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  };
  const scripted: ScriptedServer = {
    url,
    access: plainAccess(url),
    seen,
    script,
    cut: () => server.closeAllConnections(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return scripted;
}

/** Access without credentials. */
export function plainAccess(url: string): ApiAccess {
  const credentials: ApiCredentials = { tls: {}, authorization: undefined };
  return { server: new URL(url), credentials: () => credentials, forget: () => {} };
}

/** Ends the response with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  json: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(json));
}

/** Ends the response with a Status object as the API server sends it; `name`: the object it is about. */
export function sendStatus(
  response: ServerResponse,
  code: number,
  details: { readonly reason?: string; readonly message?: string; readonly name?: string } = {},
): void {
  sendJson(response, code, {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason: details.reason ?? "",
    message: details.message ?? `status ${code}`,
    details: details.name === undefined ? {} : { name: details.name },
    code,
  });
}
