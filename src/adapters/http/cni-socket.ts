// The daemon's unix socket: calls of galaxy-sdn, ours and the Go program's, one POST each. Root alone may use it. On node:http, because
// three routes and small bodies need no framework.

import { chmod, mkdir, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import type { AttachmentId } from "../../core/cni-plan.ts";
import type { CniRefusal } from "../../core/cni-result.ts";
import { cniCode } from "../../core/cni-result.ts";
import type { StatusPorts } from "../../node/network-status.ts";
import { writeNetworkStatus } from "../../node/network-status.ts";
import type { PodCall, PodNetworks } from "../../node/pod-networks.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { CniRequest } from "../../wire/cni.ts";
import {
  formatCniError,
  formatCniResult,
  formatCniVersions,
  parseCniArgsVariable,
  parseCniRequest,
  validAttachments,
} from "../../wire/cni.ts";
import { asObject, quoteValue } from "../../wire/json-value.ts";
import { formatNetworkStatus } from "../../wire/networks.ts";
import { parseSocketCall } from "../../wire/node-config.ts";

/** A call is an environment and one network configuration. */
const mostBodyBytes = 4 * 2 ** 20;

/** A container younger than this is never garbage: runtimes list it only after its network was made. */
const youngestGarbageMs = 120_000;

/** A call has this long to arrive; it is a few kilobytes from a process of this machine. */
const usualArrivalMs = 15_000;

/** Names of namespaces and pods (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/). */
const podNames = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

/** Connections at a time: each call is one, and a node has a few hundred pods. */
const mostConnections = 1_000;

/** What the socket needs. */
export type CniSocketParts = {
  readonly pods: Pick<PodNetworks, "add" | "del" | "check" | "collect">;
  readonly status: StatusPorts;
  /** Tells neighbours about what was attached, beside the answer. */
  readonly announce: (id: AttachmentId) => Promise<void>;
  /** Instead of 15 s. */
  readonly arrivalMs?: number;
};

/** A door of the daemon. */
export type CniSocket = {
  listen(path: string): Promise<void>;
  /** Ends after the calls that are being answered. */
  close(): Promise<void>;
};

type Answer = { readonly status: number; readonly json: unknown };

/** Makes the door. */
export function createCniSocket(parts: CniSocketParts): CniSocket {
  const arrivalMs = parts.arrivalMs ?? usualArrivalMs;
  const settings = {
    requestTimeout: arrivalMs,
    headersTimeout: arrivalMs,
    connectionsCheckingInterval: Math.min(1_000, arrivalMs),
  };
  const server = createServer(settings, (request, response) => {
    void respond(parts, request, response);
  });
  server.maxConnections = mostConnections;
  return {
    async listen(path) {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      if (await isAnswered(path)) {
        throw new WorldError("PORT_UNAVAILABLE", {
          tried: `listen on ${path}`,
          message: "another daemon answers there; stop it, or give this one another --socket",
        });
      }
      // What a daemon that was killed leaves; nobody listens on it any more.
      await rm(path, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.once("error", (cause: unknown) => {
          reject(
            new WorldError("PORT_UNAVAILABLE", {
              tried: `listen on ${path}`,
              message: `${cause instanceof Error ? cause.message : String(cause)}; correct --socket`,
              cause,
            }),
          );
        });
        server.listen(path, resolve);
      });
      await chmod(path, 0o600);
    },
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
    },
  };
}

async function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function respond(
  parts: CniSocketParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: Answer;
  // A caller that hangs up in the middle; nobody reads the answer.
  request.on("error", () => {});
  response.on("error", () => {});
  try {
    answer = await route(parts, request);
  } catch (error) {
    if (request.destroyed && !request.complete) return;
    parts.status.log.error("a call of galaxy-sdn failed", {}, error);
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof WorldError ? cniCode.ioFailure : cniCode.general;
    answer = problem({ kind: "refused", code, message });
  }
  const text = answer.json === undefined ? "" : JSON.stringify(answer.json);
  // What was not read of a body that is too large would be taken for the next request.
  if (!request.complete) response.setHeader("connection", "close");
  response.writeHead(answer.status, { "content-type": "application/json" }).end(text);
}

async function route(parts: CniSocketParts, request: IncomingMessage): Promise<Answer> {
  if (request.url === "/healthy") return { status: 200, json: { status: "ok" } };
  if (request.url !== "/cni") {
    return { status: 404, json: { message: "the paths are /cni and /healthy" } };
  }
  const startMs = performance.now();
  const body = await readBody(request);
  const call = body === undefined ? undefined : parseSocketCall(body);
  if (call === undefined) {
    return problem({
      kind: "refused",
      code: cniCode.undecodable,
      message:
        'the body is not {"env":{…},"config":"<base64>"}; call the daemon through galaxy-sdn',
    });
  }
  const config = Buffer.from(call.config, "base64").toString("utf8");
  const parsed = parseCniRequest(call.env, config);
  const outcome = parsed.kind === "refused" ? parsed : await dispatched(parts, parsed);
  const isRefused = outcome.kind === "refused";
  const command = parsed.kind === "refused" ? "unreadable" : parsed.command;
  const seconds = (performance.now() - startMs) / 1000;
  const result = isRefused ? String(outcome.code) : "ok";
  parts.status.metrics.time("cni_duration", seconds, { command, result });
  if (!isRefused) return { status: 200, json: outcome.json };
  const keys = parseCniArgsVariable(call.env["CNI_ARGS"] ?? "");
  parts.status.log.warn("CNI call refused", {
    command,
    container: call.env["CNI_CONTAINERID"] ?? "",
    namespace: keys.get("K8S_POD_NAMESPACE"),
    pod: keys.get("K8S_POD_NAME"),
    code: outcome.code,
    because: outcome.message,
    seconds,
  });
  return problem(outcome, parsed.version);
}

/** A broken world is a refusal too: the runtime is told what broke, and tries again. */
async function dispatched(parts: CniSocketParts, request: CniRequest): Promise<Dispatched> {
  try {
    return await dispatch(parts, request);
  } catch (error) {
    if (!(error instanceof WorldError)) throw error;
    const code = error.code === "NODE_BUSY" ? cniCode.tryAgainLater : cniCode.ioFailure;
    return { kind: "refused", code, message: `${error.code}: ${error.message}` };
  }
}

type Dispatched = { readonly kind: "json"; readonly json: unknown } | CniRefusal;

async function dispatch(parts: CniSocketParts, request: CniRequest): Promise<Dispatched> {
  const { pods } = parts;
  const { log } = parts.status;
  const { containerId, netns, ifName, args, path, version } = request;
  const call: PodCall = { containerId, netns, ifName, args, path, cniVersion: version };
  const nothing: Dispatched = { kind: "json", json: undefined };
  switch (request.command) {
    case "VERSION":
      return { kind: "json", json: formatCniVersions() };
    case "STATUS":
      return nothing;
    case "GC": {
      const valid = validAttachments(request.config);
      if (valid === undefined) return nothing;
      const kept = new Set(valid.map((attachment) => attachment.containerId));
      await pods.collect((id) => kept.has(id), youngestGarbageMs);
      return nothing;
    }
    case "DEL": {
      const refusal = await pods.del(call);
      if (refusal !== undefined) return refusal;
      log.info("container has no networks any more", { container: containerId });
      return nothing;
    }
    case "CHECK":
      return (await pods.check(call)) ?? nothing;
    case "ADD": {
      const keys = parseCniArgsVariable(args);
      const namespace = keys.get("K8S_POD_NAMESPACE") ?? "";
      const name = keys.get("K8S_POD_NAME") ?? "";
      if (namespace === "" || name === "") {
        return {
          kind: "refused",
          code: cniCode.invalidEnvironment,
          message:
            "CNI_ARGS has no K8S_POD_NAMESPACE and K8S_POD_NAME; galaxy-sdn is for pods of Kubernetes, others call galaxy-k8s-vlan",
        };
      }
      const strange = [namespace, name].find((text) => text.length > 253 || !podNames.test(text));
      if (strange !== undefined) {
        return {
          kind: "refused",
          code: cniCode.invalidEnvironment,
          message: `CNI_ARGS say that pod or namespace is ${quoteValue(strange)}, which is no name that Kubernetes gives; look at who calls galaxy-sdn`,
        };
      }
      const podUid = keys.get("K8S_POD_UID") ?? "";
      const runtimeConfig = asObject(request.config["runtimeConfig"]) ?? {};
      const outcome = await pods.add({ ...call, pod: { namespace, name }, podUid, runtimeConfig });
      if (outcome.kind === "refused") return outcome;
      const [first] = outcome.networks;
      if (first === undefined) throw new Error("a pod was added without a network");
      for (const network of outcome.networks) {
        const id = { containerId, network: network.name, ifName: network.ifName };
        parts.announce(id).catch((error: unknown) => {
          log.warn("neighbours were not told about a pod", { container: containerId }, error);
        });
      }
      const status = formatNetworkStatus(
        outcome.networks.map((network, index) => ({ ...network, isDefault: index === 0 })),
      );
      writeNetworkStatus(parts.status, outcome.pod, status).catch((error: unknown) => {
        log.error("the network status of a pod failed", { pod: name, namespace }, error);
      });
      log.info("pod has its networks", {
        pod: name,
        namespace,
        container: containerId,
        ips: first.result.ips.map(({ address }) => address),
      });
      return { kind: "json", json: formatCniResult(first.result, version) };
    }
  }
}

/** 500 with CNI's error: galaxy-sdn prints it as it is, the Go client behind "galaxy returns:". */
function problem(refusal: CniRefusal, version?: Parameters<typeof formatCniError>[1]): Answer {
  return { status: 500, json: formatCniError(refusal, version) };
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
