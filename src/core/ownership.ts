// Which workload a pod belongs to, from its controller reference and that of its ReplicaSet. Reading those is not done here.

import type { ControllerRef, PodFacts, PodOwnership } from "./facts.ts";
import { builtInWorkload } from "./owner.ts";

/**
 * What is known about who controls a pod's ReplicaSet.
 * - `unknown`: the ReplicaSet was not seen (cache not filled, or it is gone already)
 * - `none`: it was seen, and no Deployment controls it
 */
export type ReplicaSetController = "unknown" | "none" | { readonly deployment: string };

/** The name and group under which Deployments, StatefulSets and ReplicaSets are built in; the same kinds of other groups are custom. */
const builtInGroup = "apps";

/**
 * What a ReplicaSet that was seen says about its Deployment.
 * @param owner the ReplicaSet's own controller reference; undefined when it has none
 */
export function controllerOfReplicaSet(owner: ControllerRef | undefined): ReplicaSetController {
  return owner?.apiGroup === builtInGroup && owner.kind === "Deployment"
    ? { deployment: owner.name }
    : "none";
}

/** The name of the ReplicaSet of API group `apps` that controls the pod: what has to be read before {@link resolveOwnership}. */
export function replicaSetNameOf(pod: Pick<PodFacts, "controller">): string | undefined {
  const { controller } = pod;
  return controller?.apiGroup === builtInGroup && controller.kind === "ReplicaSet"
    ? controller.name
    : undefined;
}

/**
 * The workload of a pod. An unknown ReplicaSet is taken for one of a Deployment whose name is the ReplicaSet's up to the last `-`
 * (the Deployment controller names it `DEPLOYMENT-HASH`), and the answer says that this is not certain. Without a `-` no
 * Deployment can have made it, but one may have adopted it: a ReplicaSet of its own, not certain either.
 * @param replicaSet asked only for a pod that {@link replicaSetNameOf} names a ReplicaSet for
 */
export function resolveOwnership(
  pod: Pick<PodFacts, "id" | "controller">,
  replicaSet: ReplicaSetController,
): PodOwnership {
  const { controller } = pod;
  if (controller === undefined) return { workload: undefined, isCertain: true };
  const { namespace } = pod.id;
  const { name } = controller;
  const replicaSetName = replicaSetNameOf(pod);
  if (replicaSetName !== undefined) {
    if (replicaSet === "none") return certain("replicaset", namespace, replicaSetName);
    if (replicaSet !== "unknown") return certain("deployment", namespace, replicaSet.deployment);
    const dash = replicaSetName.lastIndexOf("-");
    return {
      workload:
        dash > 0
          ? builtInWorkload("deployment", { namespace, name: replicaSetName.slice(0, dash) })
          : builtInWorkload("replicaset", { namespace, name: replicaSetName }),
      isCertain: false,
    };
  }
  if (controller.apiGroup === builtInGroup) {
    if (controller.kind === "StatefulSet") return certain("statefulset", namespace, name);
    if (controller.kind === "Deployment") return certain("deployment", namespace, name);
  }
  return {
    workload: {
      type: "custom",
      kind: controller.kind.toLowerCase(),
      apiGroup: controller.apiGroup,
      namespace,
      name,
    },
    isCertain: true,
  };
}

function certain(
  type: "deployment" | "statefulset" | "replicaset",
  namespace: string,
  name: string,
): PodOwnership {
  return { workload: builtInWorkload(type, { namespace, name }), isCertain: true };
}
