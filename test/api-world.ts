// The HTTP API over real HTTP on loopback, in front of the control plane in memory. Time stands still until a test moves it.

import { createApiRoutes } from "../src/adapters/http/api/api-routes.ts";
import { eventRoutes, openEventStream } from "../src/adapters/http/api/event-routes.ts";
import type { EventStream, EventStreamLimits } from "../src/adapters/http/api/event-stream.ts";
import { historyRoutes } from "../src/adapters/http/api/history-routes.ts";
import { createApiServer } from "../src/adapters/http/api-server.ts";
import type { Door } from "../src/adapters/http/http-door.ts";
import { MemoryHistoryStore } from "../src/adapters/memory/history-store.ts";
import { MemoryPoolStore } from "../src/adapters/memory/pool-store.ts";
import type { PodSubnet } from "../src/core/subnets.ts";
import { History } from "../src/ipam/history.ts";
import type { WorldParts } from "./ipam-world.ts";
import { IpamWorld } from "./ipam-world.ts";

/** An answer as a client sees it; `body` is undefined when it is not JSON. */
export type Answer = {
  readonly status: number;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look at what any client would see
  readonly body: any;
  readonly headers: Headers;
};

/** A request: a method and path, and what else is not usual. */
export type Call = {
  readonly method?: string;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly rawBody?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A world with its API port open. */
export class ApiWorld {
  readonly world: IpamWorld;
  readonly url: string;
  readonly history: History;
  readonly stream: EventStream;
  readonly #door: Door;
  /** Why nothing can be read; undefined when it can. */
  readProblem: string | undefined;

  private constructor(parts: {
    readonly world: IpamWorld;
    readonly url: string;
    readonly door: Door;
    readonly history: History;
    readonly stream: EventStream;
  }) {
    this.world = parts.world;
    this.url = parts.url;
    this.history = parts.history;
    this.stream = parts.stream;
    this.#door = parts.door;
  }

  /** Opens the port of a world that leads with the given pod subnets. */
  static async leading(
    subnets: readonly PodSubnet[],
    parts: WorldParts = {},
    limits: Partial<EventStreamLimits> = {},
  ): Promise<ApiWorld> {
    return ApiWorld.over(await IpamWorld.leading(subnets, parts), limits);
  }

  /** Opens the port of a world as it is. */
  static async over(world: IpamWorld, limits: Partial<EventStreamLimits> = {}): Promise<ApiWorld> {
    const { service, leadership, clock, log } = world;
    /** What the server asks the world that is opened below. */
    const asked: { world?: ApiWorld } = {};
    const bounds = { mostChanges: 10_000, longestMs: 3_600_000 };
    const history = new History(
      {
        allocator: service.allocator,
        history: new MemoryHistoryStore({ bounds, clock }),
        clock,
        leadership,
        log,
      },
      { flushMs: 0, retryMs: 1_000, mostWaiting: 10_000 },
    );
    history.startLeading();
    const stream = openEventStream({
      service,
      pools: new MemoryPoolStore(world.cluster),
      leadership,
      limits: { usageMs: 1, ...limits },
    });
    const door = createApiServer({
      health: {
        livenessProblem: () => undefined,
        healthProblem: () => undefined,
        readinessProblem: () => undefined,
      },
      metrics: { contentType: "text/plain", text: async () => "" },
      log,
      api: {
        routes: createApiRoutes({
          service,
          process: {
            version: "1.2.3",
            instance: "self",
            mode: "embedded",
            startedAtMs: clock.nowMs(),
            configurationSource: "a test",
            leadership,
            nowMs: () => clock.nowMs(),
          },
          more: [...historyRoutes(history), ...eventRoutes(stream)],
        }),
        readProblem: () => asked.world?.readProblem,
        changeProblem: () => {
          const { isReady, reason } = service.readiness();
          if (isReady) return undefined;
          const leader = leadership.isLeader() ? undefined : leadership.leaderName();
          return { message: reason, leader };
        },
      },
    });
    const port = await door.listen({ host: "127.0.0.1", port: 0 });
    asked.world = new ApiWorld({ world, url: `http://127.0.0.1:${port}`, door, history, stream });
    return asked.world;
  }

  async close(): Promise<void> {
    this.stream.stop();
    await this.#door.close(0);
    await this.world.service.stop();
  }

  async call(path: string, call: Call = {}): Promise<Answer> {
    const payload =
      call.rawBody ?? (call.body === undefined ? undefined : JSON.stringify(call.body));
    const response = await fetch(`${this.url}${path}`, {
      method: call.method ?? (payload === undefined ? "GET" : "POST"),
      headers: {
        ...(payload === undefined ? {} : { "content-type": "application/json" }),
        ...call.headers,
      },
      ...(payload === undefined ? {} : { body: payload }),
    });
    const text = await response.text();
    const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
    const body: unknown = isJson && text !== "" ? JSON.parse(text) : undefined;
    return { status: response.status, text, body, headers: response.headers };
  }

  /** Runs a curl command of a document: its host is replaced by this server's, its other arguments mean what they mean to curl. */
  async curl(command: string): Promise<Answer> {
    const { path, ...call } = parseCurl(command);
    return await this.call(path, call);
  }
}

/** What a curl command asks for. Knows -X, -H, -d, -v and -s; anything else is refused, so that no document says more than is tested. */
export function parseCurl(command: string): Call & { readonly path: string } {
  const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? "",
  );
  let method: string | undefined;
  let rawBody: string | undefined;
  let url: string | undefined;
  const headers: Record<string, string> = {};
  for (let index = 1; index < words.length; index += 1) {
    const word = words[index] as string;
    const next = () => {
      index += 1;
      return words[index] ?? "";
    };
    if (word === "-v" || word === "-s") continue;
    if (word === "-X") method = next();
    else if (word === "-d") rawBody = next();
    else if (word === "-H") {
      const [name = "", ...value] = next().split(":");
      headers[name.toLowerCase()] = value.join(":").trim();
    } else if (word.startsWith("-")) throw new Error(`curl ${word} is not understood: ${command}`);
    else url = word;
  }
  if (words[0] !== "curl" || url === undefined) throw new Error(`no curl command: ${command}`);
  return {
    path: url.replace(/^https?:\/\/[^/]+/, ""),
    headers,
    ...(method === undefined ? {} : { method }),
    ...(rawBody === undefined ? {} : { rawBody }),
  };
}
