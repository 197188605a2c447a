// The annotation that says which networks a pod has: written beside the answer to ADD, and again while that can help.

import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { NodeMetrics } from "../ports/node-metrics.ts";
import type { NodePod, PodDirectory } from "../ports/pod-directory.ts";
import { WorldError } from "../ports/world-error.ts";

/** Pauses before each try; others who write to the pod at the same moment are done by then, and an API server may restart. */
const pausesMs = [0, 200, 1_000, 5_000, 20_000];

/** What the writing needs. */
export type StatusPorts = {
  readonly directory: PodDirectory;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: NodeMetrics;
};

/** Writes the annotation; never rejects for a broken world. `gone`: the pod is, or another one has its name. */
export async function writeNetworkStatus(
  ports: StatusPorts,
  pod: Pick<NodePod, "id" | "uid">,
  text: string,
): Promise<"written" | "gone" | "failed"> {
  const outcome = await tryToWrite(ports, pod, text);
  ports.metrics.count("network_statuses", { outcome: outcome.kind });
  if (outcome.kind === "failed") {
    const { namespace, name } = pod.id;
    ports.log.warn(
      "the network status of a pod was not written; its network works all the same",
      { pod: name, namespace },
      outcome.cause,
    );
  }
  return outcome.kind;
}

async function tryToWrite(
  { directory, clock }: StatusPorts,
  pod: Pick<NodePod, "id" | "uid">,
  text: string,
): Promise<{ readonly kind: "written" | "gone" } | { readonly kind: "failed"; cause: unknown }> {
  let cause: unknown;
  for (const pauseMs of pausesMs) {
    if (pauseMs > 0) await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
    try {
      const answer = await directory.writeNetworkStatus(pod, text);
      if (answer !== "conflict") return { kind: answer };
      // Somebody else wrote at the same moment, or it is another pod of the name by now.
      const now = await directory.readPod(pod.id);
      if (now === "gone" || now.uid !== pod.uid) return { kind: "gone" };
      cause = new Error("others changed the pod each time");
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      cause = error;
    }
  }
  return { kind: "failed", cause };
}
