// The extender as the simulated scheduler reaches it over HTTP, with the protocol of kube-scheduler: what the scheduler is told has gone through
// the same port, parsers and limits as in a cluster.

import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { WorldError } from "../../ports/world-error.ts";
import {
  formatBindingArgs,
  formatExtenderArgs,
  formatPreemptionArgs,
  parseBindingResult,
  parseFilterResult,
  parseHostPriorityList,
  parsePreemptionResult,
} from "../../wire/extender-calls.ts";
import { formatPod } from "../../wire/pod-manifest.ts";
import type { Extender, FilterAnswer, NodesQuestion } from "./extender.ts";

/** Longer than any call takes that the scheduler still waits for. */
const callLimitMs = 30_000;

/** Where the extender listens; `certificate`: the one that it shows now, in PEM, when it speaks HTTPS. */
export type ExtenderAddress = {
  readonly host: string;
  readonly port: number;
  readonly certificate?: (() => string) | undefined;
};

/** Calls an extender. Calls reject with a WorldError when there is no answer or an unreadable one. */
export class HttpExtender implements Extender {
  readonly #address: ExtenderAddress;
  readonly #agent: HttpAgent;

  constructor(address: ExtenderAddress) {
    this.#address = address;
    this.#agent =
      address.certificate === undefined
        ? new HttpAgent({ keepAlive: true })
        : new HttpsAgent({ keepAlive: true });
  }

  async filter({ pod, nodeNames }: NodesQuestion): Promise<FilterAnswer> {
    const result = await this.#call(
      "filter",
      formatExtenderArgs(formatPod(pod), nodeNames),
      parseFilterResult,
    );
    if (result.error !== "") return { kind: "refused", error: result.error };
    const passed = new Set(result.passed);
    return {
      kind: "nodes",
      passed: nodeNames.flatMap((name, index) => (passed.has(name) ? [index] : [])),
      failed: result.failed,
    };
  }

  prioritize({ pod, nodeNames }: NodesQuestion): ReturnType<Extender["prioritize"]> {
    const body = formatExtenderArgs(formatPod(pod), nodeNames);
    return this.#call("priority", body, parseHostPriorityList);
  }

  preempt({
    pod,
    candidates,
  }: Parameters<Extender["preempt"]>[0]): ReturnType<Extender["preempt"]> {
    const body = formatPreemptionArgs(formatPod(pod), candidates);
    return this.#call("preempt", body, parsePreemptionResult);
  }

  async bind({
    pod,
    podUid,
    nodeName,
  }: Parameters<Extender["bind"]>[0]): ReturnType<Extender["bind"]> {
    const body = formatBindingArgs({
      namespace: pod.namespace,
      podName: pod.name,
      podUid,
      nodeName,
    });
    const error = await this.#call("bind", body, parseBindingResult);
    return error === "" ? { kind: "bound" } : { kind: "refused", error };
  }

  /** Closes idle connections; calls under way go on. */
  close(): void {
    this.#agent.destroy();
  }

  async #call<T>(verb: string, body: string, parse: (json: unknown) => T | undefined): Promise<T> {
    const tried = `call ${verb} of the extender`;
    const { status, text } = await this.#post(`/v1/${verb}`, body, tried);
    let answer: T | undefined;
    try {
      answer = parse(JSON.parse(text));
    } catch {
      answer = undefined;
    }
    if (status === 200 && answer !== undefined) return answer;
    throw new WorldError("API_UNREADABLE", {
      tried,
      message: `it answered ${status} with ${text.slice(0, 200)}`,
    });
  }

  #post(path: string, body: string, tried: string): Promise<{ status: number; text: string }> {
    const { host, port, certificate } = this.#address;
    const send = certificate === undefined ? httpRequest : httpsRequest;
    // It is this machine's own port: its very certificate is trusted, whoever signed it and whatever name it is for.
    const trust =
      certificate === undefined
        ? {}
        : {
            ca: certificate(),
            allowPartialTrustChain: true,
            checkServerIdentity: () => undefined,
          };
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        reject(
          new WorldError("API_UNAVAILABLE", {
            tried,
            message: error.message,
            mayHaveHappened: true,
            cause: error,
          }),
        );
      };
      const request = send(
        {
          host,
          port,
          path,
          method: "POST",
          agent: this.#agent,
          ...trust,
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          },
          signal: AbortSignal.timeout(callLimitMs),
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (part: string) => {
            text += part;
          });
          response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
          response.once("error", fail);
        },
      );
      request.once("error", fail);
      request.end(body);
    });
  }
}
