// The PodBinder on a simulated API server: what Kubernetes does with a Binding, and answered only when the bound pod is kept.

import { podIdText } from "../../core/owner.ts";
import type { BindOutcome, PodBinder } from "../../ports/pod-binder.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatCniArgs, parseCniArgs } from "../../wire/cni-args.ts";
import { argsTextOf } from "../../wire/pod-manifest.ts";
import type { SimApi } from "./api.ts";

/** Binds pods of a simulated cluster. */
export class SimulatedPodBinder implements PodBinder {
  readonly #api: SimApi;
  readonly #kept: () => Promise<void>;

  /** @param kept resolves when everything that the API server has now outlives the process; rejects when it cannot be kept */
  constructor(api: SimApi, kept: () => Promise<void> = () => Promise.resolve()) {
    this.#api = api;
    this.#kept = kept;
  }

  async bind(request: Parameters<PodBinder["bind"]>[0]): Promise<BindOutcome> {
    const tried = `bind pod ${podIdText(request.pod.id)} to node ${request.nodeName}`;
    const outcome = this.#write(request, tried);
    if (outcome.kind !== "bound") return outcome;
    try {
      await this.#kept();
    } catch (error) {
      throw new WorldError("STATE_FILE_FAILED", {
        tried,
        message: error instanceof Error ? error.message : String(error),
        mayHaveHappened: true,
        cause: error,
      });
    }
    return outcome;
  }

  #write(request: Parameters<PodBinder["bind"]>[0], tried: string): BindOutcome {
    const { id, uid } = request.pod;
    const key = podIdText(id);
    const pod = this.#api.get("pods", key);
    if (pod === undefined || pod.facts.uid !== uid) return { kind: "gone" };
    const { facts } = pod;
    if (facts.nodeName !== "" && facts.nodeName !== request.nodeName) {
      return { kind: "bound-elsewhere", nodeName: facts.nodeName };
    }
    if (facts.nodeName === "" && facts.isTerminating) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: "the pod is being deleted and cannot be assigned to a node; wait until it is gone",
      });
    }
    const { ipInfos } = request;
    const asked = argsTextOf(facts);
    const argsText = ipInfos.length === 0 ? asked : formatCniArgs(asked, ipInfos);
    const { assignedIps } = parseCniArgs(argsText);
    if (facts.nodeName === "" || facts.assignedIps.length === 0) {
      const bound = { ...facts, nodeName: request.nodeName, argsText, assignedIps };
      this.#api.put("pods", key, { ...pod, facts: bound }, "galaxy-ipam");
      return { kind: "bound" };
    }
    // The node side has set up what the pod was first told; other addresses come too late for it.
    if (facts.assignedIps.join() !== assignedIps.join()) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: `it is bound there already with ${facts.assignedIps.join(", ")}, not with ${assignedIps.join(", ")}; delete the pod`,
      });
    }
    return { kind: "bound" };
  }
}
