// PodBinder on the pods/binding subresource: node and addresses reach the pod in one write. Decides nothing about addresses.

import type { PodFacts } from "../../core/facts.ts";
import type { IpInfo } from "../../core/subnets.ts";
import type { BindOutcome, PodBinder } from "../../ports/pod-binder.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatCniArgs, parseCniArgs } from "../../wire/cni-args.ts";
import { argsAnnotation } from "../../wire/established-names.ts";
import { parsePod } from "../../wire/pod.ts";
import { type ApiClient, segment } from "./api-client.ts";

/** What the binder needs. */
export type KubernetesPodBinderOptions = {
  readonly client: ApiClient;
  /**
   * Whether what is known of the pod may be old (the watch is down, or shows another pod of that name). Then the pod is read first: API
   * servers before 1.23 do not compare the uid of a Binding with the pod's and would bind another pod of the same name
   * (https://github.com/kubernetes/kubernetes/pull/105913).
   */
  readonly mayBeStale: (pod: PodFacts) => boolean;
};

/** Binds pods through the API server. */
export class KubernetesPodBinder implements PodBinder {
  readonly #client: ApiClient;
  readonly #mayBeStale: (pod: PodFacts) => boolean;

  constructor(options: KubernetesPodBinderOptions) {
    this.#client = options.client;
    this.#mayBeStale = options.mayBeStale;
  }

  async bind(request: {
    readonly pod: PodFacts;
    readonly nodeName: string;
    readonly ipInfos: readonly IpInfo[];
  }): Promise<BindOutcome> {
    let { pod } = request;
    const tried = `bind pod ${pod.id.namespace}/${pod.id.name} to node ${request.nodeName}`;
    if (this.#mayBeStale(pod)) {
      const live = await this.#readPod(pod, tried);
      if (live === "gone") return { kind: "gone" };
      if (live.nodeName !== "") return this.#outcomeOfBound(live, request, tried);
      pod = live;
    }
    const answer = await this.#client.write({
      method: "POST",
      path: `${podPath(pod)}/binding`,
      body: {
        apiVersion: "v1",
        kind: "Binding",
        metadata: {
          name: pod.id.name,
          namespace: pod.id.namespace,
          uid: pod.uid,
          ...(request.ipInfos.length === 0
            ? {}
            : { annotations: { [argsAnnotation]: formatCniArgs(pod.argsText, request.ipInfos) } }),
        },
        target: { apiVersion: "v1", kind: "Node", name: request.nodeName },
      },
      tried,
    });
    if (answer.kind === "done") return { kind: "bound" };
    // 404 and 409 have several reasons (another pod of that name, bound already, being deleted); the pod itself says which.
    const live = await this.#readPod(pod, tried);
    if (live === "gone") return { kind: "gone" };
    if (live.nodeName !== "") return this.#outcomeOfBound(live, request, tried);
    throw new WorldError("API_REJECTED", {
      tried,
      message: `${answer.message}; ${live.isTerminating ? "the pod is being deleted" : "the scheduler tries again"}`,
    });
  }

  /** A pod that has a node already. Bound by somebody else without addresses: they are written now, or its network never comes up. */
  async #outcomeOfBound(
    live: PodFacts,
    request: { readonly nodeName: string; readonly ipInfos: readonly IpInfo[] },
    tried: string,
  ): Promise<BindOutcome> {
    if (live.nodeName !== request.nodeName) {
      return { kind: "bound-elsewhere", nodeName: live.nodeName };
    }
    const wantedText = formatCniArgs("", request.ipInfos);
    const wanted = parseCniArgs(wantedText).assignedIps;
    const isWritten =
      wanted.length === live.assignedIps.length &&
      wanted.every((ip) => live.assignedIps.includes(ip));
    if (isWritten) return { kind: "bound" };
    if (live.assignedIps.length > 0) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: `it is bound there already with ${live.assignedIps.join(", ")} in its annotation, not with ${wanted.join(", ")}; delete the pod if its network does not work`,
      });
    }
    const answer = await this.#client.write({
      method: "PATCH",
      path: podPath(live),
      body: {
        metadata: {
          uid: live.uid,
          annotations: { [argsAnnotation]: formatCniArgs(live.argsText, request.ipInfos) },
        },
      },
      tried,
    });
    if (answer.kind === "done") return { kind: "bound" };
    return { kind: "gone" };
  }

  /** The pod now; `gone` also when another one has its name. */
  async #readPod(pod: PodFacts, tried: string): Promise<PodFacts | "gone"> {
    const answer = await this.#client.readJson({ path: podPath(pod), tried });
    if (answer.kind === "missing") return "gone";
    const live = parsePod(answer.json);
    if (live === undefined) {
      throw new WorldError("API_UNREADABLE", {
        tried,
        message: "the answer is not a Pod; is there a proxy between us and the API server?",
      });
    }
    return live.uid === pod.uid ? live : "gone";
  }
}

function podPath(pod: PodFacts): string {
  return `/api/v1/namespaces/${segment(pod.id.namespace)}/pods/${segment(pod.id.name)}`;
}
