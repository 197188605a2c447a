// The PodBinder on a MemoryCluster: what the API server does with a Binding, for tests and the simulator.

import { podIdText } from "../../core/owner.ts";
import type { BindOutcome, PodBinder } from "../../ports/pod-binder.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatCniArgs, parseCniArgs } from "../../wire/cni-args.ts";
import type { MemoryCluster } from "./cluster.ts";

/** Binds pods of a MemoryCluster. */
export class MemoryPodBinder implements PodBinder {
  readonly #cluster: MemoryCluster;

  constructor(cluster: MemoryCluster) {
    this.#cluster = cluster;
  }

  async bind(request: Parameters<PodBinder["bind"]>[0]): Promise<BindOutcome> {
    await Promise.resolve();
    const { id, uid } = request.pod;
    const pod = this.#cluster.live.pods.get(podIdText(id));
    if (pod === undefined || pod.uid !== uid) return { kind: "gone" };
    if (pod.nodeName !== "" && pod.nodeName !== request.nodeName) {
      return { kind: "bound-elsewhere", nodeName: pod.nodeName };
    }
    const tried = `bind pod ${podIdText(id)} to node ${request.nodeName}`;
    if (pod.nodeName === "" && pod.isTerminating) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: "the pod is being deleted and cannot be assigned to a node; wait until it is gone",
      });
    }
    const { ipInfos } = request;
    const argsText = ipInfos.length === 0 ? pod.argsText : formatCniArgs(pod.argsText, ipInfos);
    const { assignedIps } = parseCniArgs(argsText);
    if (pod.nodeName === "" || pod.assignedIps.length === 0) {
      this.#cluster.changePod(id, { nodeName: request.nodeName, argsText, assignedIps });
      return { kind: "bound" };
    }
    // The node side has set up what the pod was first told; other addresses come too late for it.
    if (pod.assignedIps.join() !== assignedIps.join()) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: `it is bound there already with ${pod.assignedIps.join(", ")}, not with ${assignedIps.join(", ")}; delete the pod`,
      });
    }
    return { kind: "bound" };
  }
}
