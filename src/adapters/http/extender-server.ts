// The scheduler extender on port 9040: filter, prioritize, preempt and bind of Kubernetes' extender/v1, and health.
// Reads and writes the wire; every decision is behind SchedulingDoor.

import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { PodFacts } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import type { PodId } from "../../core/owner.ts";
import type { Leadership } from "../../ports/leadership.ts";
import type { Log } from "../../ports/log.ts";
import type { Metrics } from "../../ports/metrics.ts";
import { WorldError } from "../../ports/world-error.ts";
import {
  formatBindingResult,
  formatHostPriorityList,
  formatNodeNamesResult,
  formatNodesResult,
  formatPreemptionResult,
  parseBindingArgs,
  parsePreemptionArgs,
} from "../../wire/extender.ts";
import { parseNode, parsePod } from "../../wire/pod.ts";
import type { ExtenderArgs } from "./extender-body.ts";
import { BodyProblem, parseExtenderArgs } from "./extender-body.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes } from "./health-routes.ts";
import type { Door, DoorTls } from "./http-door.ts";
import { createFastify, doorOf, pathOf, readBody, sendProblem } from "./http-door.ts";

/** The pod and the offered nodes of a filter or prioritize call. */
export type OfferedNodes = {
  readonly pod: PodFacts;
  readonly nodeNames: readonly string[];
  /** Internal addresses by the request's own node object; undefined when it carries none. */
  readonly internalIpsOf: (nodeName: string) => readonly Ip[] | undefined;
};

/** The use case behind this port: what ipam/scheduling offers. Rejections become errors in the answer. */
export interface SchedulingDoor {
  filter(request: OfferedNodes): Promise<
    | { readonly kind: "untouched" }
    | {
        readonly kind: "nodes";
        /** Positions in `nodeNames`. */
        readonly passed: readonly number[];
        readonly failed: ReadonlyMap<string, string>;
      }
    | { readonly kind: "refused"; readonly error: string }
  >;
  prioritize(
    request: OfferedNodes,
  ): Promise<readonly { readonly nodeName: string; readonly score: number }[]>;
  bind(request: {
    readonly pod: PodId;
    readonly podUid: string;
    readonly nodeName: string;
  }): Promise<{ readonly kind: "bound" } | { readonly kind: "refused"; readonly error: string }>;
  preempt(request: {
    readonly pod: PodFacts;
    readonly candidates: readonly {
      readonly nodeName: string;
      readonly victimUids: readonly string[];
    }[];
  }): Promise<readonly string[]>;
}

/** How the extender works; times in milliseconds. */
export type ExtenderServerOptions = {
  readonly scheduling: SchedulingDoor;
  readonly health: Health;
  readonly leadership: Leadership;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly tls?: DoorTls | undefined;
  /**
   * filter, prioritize and preempt answer an error after this long: 4,500 by default, below the 5 s that a scheduler waits
   * when its configuration has no httpTimeout.
   */
  readonly filterTimeoutMs?: number;
  /** bind answers an error after this long: 25,000 by default, below the 30 s of the scheduler configurations we ship. */
  readonly bindTimeoutMs?: number;
  /** Requests under way before further ones get 503; 500 by default. */
  readonly maxInFlight?: number;
  /** Bytes of bodies under way before further ones get 503; 512 MiB by default. */
  readonly maxInFlightBytes?: number;
};

/** Full Node objects of 12,000 nodes of 10 KB. */
const bodyLimit = 128 * 1024 * 1024;

const jsonType = "application/json; charset=utf-8";

/** Four names. */
const bindBodyLimit = 64 * 1024;

/** Verbs by path. `/v1/priority` is the Go system's name. */
const verbs = {
  "/v1/filter": "filter",
  "/v1/priority": "priority",
  "/v1/prioritize": "priority",
  "/v1/preempt": "preempt",
  "/v1/bind": "bind",
} as const;

type Verb = (typeof verbs)[keyof typeof verbs];

/** The server; it listens when told to. */
export function createExtenderServer(options: ExtenderServerOptions): Door {
  const doorOptions = {
    name: "the scheduler extender",
    log: options.log,
    tls: options.tls,
    bodyLimit,
  };
  const server = createFastify(doorOptions);
  // Every body is taken as bytes; which content types are welcome is decided before it is read.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", (request: FastifyRequest, payload: IncomingMessage) =>
    readBody(payload, request.headers["content-length"], request.routeOptions.bodyLimit),
  );
  addHealthRoutes(server, options.health);
  const gate = createGate(options);
  const calls = createCalls(options);
  for (const [path, verb] of Object.entries(verbs)) {
    const limit = verb === "bind" ? bindBodyLimit : bodyLimit;
    server.post(path, { onRequest: gate, bodyLimit: limit }, (request, reply) =>
      calls[verb](request, reply),
    );
  }
  addStrayAnswers(server);
  return doorOf(server, doorOptions);
}

/** Turns requests away before their body is read: wrong type, not the leader, not ready, too many at once. */
function createGate(options: ExtenderServerOptions) {
  const maxInFlight = options.maxInFlight ?? 500;
  const maxInFlightBytes = options.maxInFlightBytes ?? 512 * 1024 * 1024;
  let inFlight = 0;
  let inFlightBytes = 0;

  /** Why a request is turned away: status, message and whether it may succeed a little later. */
  const objection = (request: FastifyRequest, sizeBytes: number): [number, string] | undefined => {
    const type = request.headers["content-type"];
    if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
      return [415, `content type "${type}" is not application/json`];
    }
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity") {
      return [415, `content encoding "${encoding}" is not supported; send the body plain`];
    }
    const problem = options.health.readinessProblem();
    if (problem !== undefined) return [503, problem];
    if (!options.leadership.isLeader()) return [503, "not the leader; the leader answers"];
    if (inFlight >= maxInFlight || (inFlight > 0 && inFlightBytes + sizeBytes > maxInFlightBytes)) {
      return [
        503,
        `${inFlight} requests with ${inFlightBytes} bytes are under way, which is the limit; try again`,
      ];
    }
    return undefined;
  };

  return (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    // A body without a declared length may grow up to the limit.
    const sizeBytes = Number(request.headers["content-length"] ?? bodyLimit);
    const [code, message] = objection(request, sizeBytes) ?? [];
    if (code !== undefined && message !== undefined) {
      if (code === 415) options.metrics.count("bad_input", { input: "body" });
      else reply.header("retry-after", "1");
      const leader = options.leadership.leaderName();
      void sendProblem(reply, code, message, leader === "" ? {} : { leader });
      return;
    }
    inFlight += 1;
    inFlightBytes += sizeBytes;
    // `close` comes once and always, also when the caller hangs up.
    reply.raw.once("close", () => {
      inFlight -= 1;
      inFlightBytes -= sizeBytes;
    });
    done();
  };
}

type Call = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

function createCalls(options: ExtenderServerOptions): Record<Verb, Call> {
  const { scheduling, log, metrics } = options;
  const filterTimeoutMs = options.filterTimeoutMs ?? 4_500;
  const bindTimeoutMs = options.bindTimeoutMs ?? 25_000;

  /** Runs `call` and times it; a malformed body is answered with 400 and counted. */
  const timed =
    (verb: Verb, call: Call): Call =>
    async (request, reply) => {
      const startedMs = performance.now();
      try {
        return await call(request, reply);
      } catch (error) {
        if (!(error instanceof BodyProblem)) throw error;
        metrics.count("bad_input", { input: "body" });
        log.warn("request not understood", { path: pathOf(request), problem: error.message });
        return await sendProblem(reply, 400, error.message);
      } finally {
        metrics.time("schedule_latency", (performance.now() - startedMs) / 1000, { func: verb });
      }
    };

  /** What the use case answers, or the error text when it fails or takes too long. */
  const within = async <T>(
    limitMs: number,
    what: string,
    work: Promise<T>,
  ): Promise<{ readonly value: T } | { readonly error: string }> => {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<{ readonly error: string }>((resolve) => {
      timer = setTimeout(() => {
        log.warn("answered before the work was done", { what, limitMs });
        resolve({ error: `${what} took longer than ${limitMs} ms; the scheduler will try again` });
      }, limitMs);
      // A program that stops does not wait for calls that nobody will hear the answer of.
      timer.unref();
    });
    const done = work.then(
      (value) => ({ value }),
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        if (error instanceof WorldError) log.warn("scheduling call failed", { what }, error);
        else log.error("scheduling call failed", { what }, error);
        return { error: `${what}: ${message}` };
      },
    );
    try {
      return await Promise.race([done, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    filter: timed("filter", async (request, reply) => {
      const args = parseExtenderArgs(bodyOf(request));
      const offered = offeredNodes(args);
      const what = `filter of pod ${offered.pod.id.namespace}/${offered.pod.id.name}`;
      const outcome = await within(filterTimeoutMs, what, scheduling.filter(offered));
      if ("error" in outcome) return sendFiltered(reply, args, [], new Map(), outcome.error);
      const verdict = outcome.value;
      if (verdict.kind === "refused") {
        return sendFiltered(reply, args, [], new Map(), verdict.error);
      }
      return verdict.kind === "untouched"
        ? sendFiltered(reply, args, undefined, new Map(), "")
        : sendFiltered(reply, args, verdict.passed, verdict.failed, "");
    }),

    priority: timed("priority", async (request, reply) => {
      const offered = offeredNodes(parseExtenderArgs(bodyOf(request)));
      const what = `priorities of pod ${offered.pod.id.namespace}/${offered.pod.id.name}`;
      const outcome = await within(filterTimeoutMs, what, scheduling.prioritize(offered));
      // This answer has no place for an error: without scores the scheduler uses its own.
      return sendJson(reply, formatHostPriorityList("value" in outcome ? outcome.value : []));
    }),

    preempt: timed("preempt", async (request, reply) => {
      const args = parsed(parsePreemptionArgs(jsonOf(request)));
      const pod = podOf(args.pod);
      const what = `preemption for pod ${pod.id.namespace}/${pod.id.name}`;
      const outcome = await within(
        filterTimeoutMs,
        what,
        scheduling.preempt({ pod, candidates: args.candidates }),
      );
      // No place for an error either, and evicting pods without knowing that it helps is worse than not evicting.
      const kept = new Set("value" in outcome ? outcome.value : []);
      return sendJson(
        reply,
        formatPreemptionResult(args.candidates.filter(({ nodeName }) => kept.has(nodeName))),
      );
    }),

    bind: timed("bind", async (request, reply) => {
      const { namespace, podName, podUid, nodeName } = parsed(parseBindingArgs(jsonOf(request)));
      const outcome = await within(
        bindTimeoutMs,
        `bind of pod ${namespace}/${podName} to node ${nodeName}`,
        scheduling.bind({ pod: { namespace, name: podName }, podUid, nodeName }),
      );
      if ("error" in outcome) return sendJson(reply, formatBindingResult(outcome.error));
      const { value } = outcome;
      return sendJson(reply, formatBindingResult(value.kind === "bound" ? "" : value.error));
    }),
  };
}

/** `passed` undefined: all of them. */
function sendFiltered(
  reply: FastifyReply,
  args: ExtenderArgs,
  passed: readonly number[] | undefined,
  failed: ReadonlyMap<string, string>,
  error: string,
): FastifyReply {
  if (args.nodes === undefined) {
    const names = passed?.map((position) => args.nodeNames[position] as string) ?? args.nodeNames;
    return sendJson(reply, formatNodeNamesResult(names, { failed, error }));
  }
  const { before, after } = formatNodesResult({ failed, error });
  const positions = passed ?? args.nodeNames.map((_name, position) => position);
  return sendPieces(reply, [
    Buffer.from(before),
    ...args.nodes.pieces(positions),
    Buffer.from(after),
  ]);
}

/** Sends parts of the request's body as they stand: joining tens of megabytes would cost as much as reading them. */
function sendPieces(reply: FastifyReply, pieces: readonly Buffer[]): FastifyReply {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    "content-type": jsonType,
    "content-length": pieces.reduce((sum, piece) => sum + piece.length, 0),
  });
  raw.cork();
  for (const piece of pieces) raw.write(piece);
  raw.uncork();
  raw.end();
  return reply;
}

function sendJson(reply: FastifyReply, body: string): FastifyReply {
  return reply.type(jsonType).send(body);
}

/** The use case's view of the call. Node objects are parsed only when their addresses are asked for. */
function offeredNodes(args: ExtenderArgs): OfferedNodes {
  const { nodes, nodeNames } = args;
  let positions: Map<string, number> | undefined;
  return {
    pod: podOf(args.pod),
    nodeNames,
    internalIpsOf: (nodeName) => {
      if (nodes === undefined) return undefined;
      positions ??= new Map(nodeNames.map((name, position) => [name, position]));
      const position = positions.get(nodeName);
      return position === undefined ? undefined : parseNode(nodes.parse(position))?.internalIps;
    },
  };
}

function podOf(json: unknown): PodFacts {
  const pod = parsePod(json);
  if (pod === undefined) {
    throw new BodyProblem("Pod has no metadata.name or no metadata.namespace");
  }
  return pod;
}

function bodyOf(request: FastifyRequest): Buffer {
  const { body } = request;
  if (!Buffer.isBuffer(body) || body.length === 0) throw new BodyProblem("the body is empty");
  return body;
}

function jsonOf(request: FastifyRequest): unknown {
  try {
    return JSON.parse(bodyOf(request).toString("utf8")) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) throw new BodyProblem(`malformed JSON: ${error.message}`);
    throw error;
  }
}

function parsed<Args>(
  outcome:
    | { readonly kind: "args"; readonly args: Args }
    | { readonly kind: "problem"; readonly problem: string },
): Args {
  if (outcome.kind === "problem") throw new BodyProblem(outcome.problem);
  return outcome.args;
}

/** 405 for a known path with another method, 404 for the rest. */
function addStrayAnswers(server: FastifyInstance): void {
  server.setNotFoundHandler((request, reply) => {
    const path = pathOf(request).replace(/(.)\/$/, "$1");
    if (Object.hasOwn(verbs, path)) {
      return sendProblem(
        reply.header("allow", "POST"),
        405,
        `${request.method} ${path} is not served; use POST`,
      );
    }
    return sendProblem(
      reply,
      404,
      `${request.method} ${path} is not served here; there are POST ${Object.keys(verbs).join(", ")} and GET /healthy, /livez, /readyz`,
    );
  });
}
