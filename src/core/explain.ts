// Why a pod has or does not get an address, and what would change it, out of the functions that decide. Pure; gathering the facts is in
// ipam/explain.ts.

import type { Allocation } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import type { PlannedAddress, PodContext, Refusal } from "./decide-filter.ts";
import { decideFilter, describeWorkload } from "./decide-filter.ts";
import type { ReclaimDecision } from "./decide-reclaim.ts";
import { podIsFinished } from "./facts.ts";
import { podIdText } from "./owner.ts";
import type { Zone } from "./subnets.ts";
import { describeSubnet } from "./subnets.ts";

/** Nodes that share pod subnets. */
export type NodeGroup = { readonly zone: Zone; readonly nodeNames: readonly string[] };

/** What an explanation is made from. */
export type ExplainFacts = {
  readonly context: PodContext;
  readonly view: AllocationView;
  readonly groups: readonly NodeGroup[];
  /** Nodes that no pod subnet is for. */
  readonly nodesWithoutSubnet: readonly string[];
  readonly youngSinceMs: number;
};

/** The word that says it all. */
export type ExplainedDecision =
  | "has address"
  | "would get address"
  | "refused"
  | "no node"
  | "not wanted"
  | "finished"
  | "unknown";

/** What the pod would get on nodes of a group, or why it gets nothing there. */
export type ExplainedGroup = {
  readonly group: NodeGroup;
  readonly addresses: readonly PlannedAddress[];
  readonly because: string | undefined;
};

/** The decision with its reason, what would change it, and what it is on each group of nodes. */
export type PodExplanation = {
  readonly decision: ExplainedDecision;
  readonly because: string;
  readonly remedies: readonly string[];
  readonly groups: readonly ExplainedGroup[];
};

/** Explains a pod that is there. */
export function explainPod(facts: ExplainFacts): PodExplanation {
  const { pod } = facts.context;
  const name = podIdText(pod.id);
  const bound = facts.view.ofPod(pod.id).filter(({ podUid }) => podUid === pod.uid);
  if (podIsFinished(pod)) {
    return alone("finished", `pod ${name} is ${pod.phase} and has given up its addresses`, []);
  }
  if (!pod.wantsAddress) {
    return alone(
      "not wanted",
      `no container of pod ${name} requests tke.cloud.tencent.com/eni-ip`,
      ['request tke.cloud.tencent.com/eni-ip: "1" in the resources of a container of the workload'],
    );
  }
  if (pod.nodeName !== "" && bound.length > 0) {
    return alone(
      "has address",
      `pod ${name} has ${bound.map(({ ip }) => ip).join(", ")} on node ${pod.nodeName}`,
      [],
    );
  }
  if (facts.view.topology.subnets.length === 0) {
    return alone("no node", "there is no configuration of pod subnets yet", [
      "create the ConfigMap floatingip-config with the key floatingips",
    ]);
  }
  const decision = decideFilter(
    facts.context,
    facts.view,
    facts.groups.map(({ zone }) => zone),
    facts.youngSinceMs,
  );
  if (decision.kind === "refused") return refusedPod(facts.context, decision);
  const groups = facts.groups.map((group): ExplainedGroup => {
    const plan = decision.plans.get(group.zone.id);
    return plan?.kind === "plan"
      ? { group, addresses: plan.addresses, because: undefined }
      : { group, addresses: [], because: plan?.message ?? "not looked at" };
  });
  const passing = groups.filter(({ because }) => because === undefined);
  if (passing.length > 0) {
    const count = passing.reduce((sum, { group }) => sum + group.nodeNames.length, 0);
    const ips = [...new Set(passing.flatMap(({ addresses }) => addresses.map(({ ip }) => ip)))];
    return {
      decision: "would get address",
      because: `${count} nodes pass, with ${ips.join(" or ")}`,
      remedies:
        pod.nodeName === ""
          ? ["if the pod stays pending, look at the scheduler's events: something else keeps it"]
          : [
              `the pod is on node ${pod.nodeName} without an address of ours; delete it so that it is scheduled again`,
            ],
      groups,
    };
  }
  return { decision: "no node", groups, ...whyNoNode(facts, groups) };
}

function alone(
  decision: ExplainedDecision,
  because: string,
  remedies: readonly string[],
): PodExplanation {
  return { decision, because, remedies, groups: [] };
}

function refusedPod(context: PodContext, refusal: Refusal): PodExplanation {
  const decision = refusal.because === "workload unknown" ? "unknown" : "refused";
  return alone(decision, refusal.message, remediesOf(context, refusal));
}

function remediesOf(context: PodContext, refusal: Refusal): readonly string[] {
  const { pod, workload, poolObject } = context;
  const who = workload === undefined ? "the workload" : describeWorkload(workload);
  switch (refusal.because) {
    case "annotation":
      return ["correct the annotation on the pod template; the message names it"];
    case "policy unsupported":
      return [
        "use a Deployment or a StatefulSet, or remove the annotation k8s.v1.cni.galaxy.io/release-policy",
      ];
    case "workload unknown":
      return [
        "wait: it is tried again; if it stays so, look at the API server and the permissions",
      ];
    case "replicas reached":
      return [
        `scale ${who} up, or delete a pod that still has an address`,
        "set maxSurge 0 and maxUnavailable 1 in the rolling update, so that an old pod goes first",
        'or annotate the pod template with k8s.v1.cni.galaxy.io/surge-ips: "1", so that new pods have addresses of their own',
      ];
    case "pool size reached":
      return [`enlarge pool ${pod.pool} (size ${poolObject?.size}), or delete a pod of it`];
    case "quota reached":
      return [
        `raise spec.limit of FloatingIPQuota ${context.quota?.name} (now ${context.quota?.limit})`,
        `release reserved addresses of namespace ${pod.id.namespace} that nobody needs (galaxyctl ip idle -n ${pod.id.namespace}), or delete pods there`,
      ];
    case "ranges with policy":
      return ["remove request_ip_range, or the release policy and the pool"];
    default:
      return refusal.because satisfies never;
  }
}

function whyNoNode(
  facts: ExplainFacts,
  groups: readonly ExplainedGroup[],
): Pick<PodExplanation, "because" | "remedies"> {
  if (groups.length === 0) {
    const count = facts.nodesWithoutSubnet.length;
    return {
      because:
        count === 0
          ? "no node is known"
          : `no pod subnet is for any of the ${count} nodes: none of their internal addresses is in nodeSubnets`,
      remedies: [
        "extend nodeSubnets of a pod subnet so that it holds the nodes' internal addresses",
      ],
    };
  }
  const because = [...new Set(groups.flatMap(({ because: reason }) => reason ?? []))].join("; ");
  if (facts.context.pod.request.kind === "ranges") {
    return {
      because,
      remedies: ["free an address of the pod's ranges, or widen request_ip_range"],
    };
  }
  const subnets = [
    ...new Set(
      groups.flatMap(({ group }) =>
        group.zone.subnetIndexes.flatMap((index) => {
          const subnet = facts.view.topology.subnets[index];
          return subnet === undefined ? [] : [describeSubnet(subnet)];
        }),
      ),
    ),
  ];
  return {
    because,
    remedies: [
      `extend "ips" of ${subnets.join(" or ")}, or release reserved addresses there that nobody needs`,
    ],
  };
}

/** What a decision about an address would do, as a sentence. */
export function describeReclaim(decision: ReclaimDecision): string {
  switch (decision.do) {
    case "keep":
      return `it stays as it is: ${decision.because}`;
    case "adopt":
      return `the record follows the pod: ${decision.because}`;
    case "reserve":
      return `it is kept for later: ${decision.because}`;
    case "release":
      return `it is released: ${decision.because}`;
    default:
      return decision satisfies never;
  }
}

/** Why an address is in its state, and what would change it. */
export function explainAddress(facts: {
  readonly allocation: Allocation | undefined;
  readonly isHeld: boolean;
  readonly isConfigured: boolean;
  readonly podStatus: string | undefined;
  readonly releasedAtMs: number | undefined;
  /** What would become of it without its pod; undefined when that is not the question. */
  readonly withoutPod: ReclaimDecision | undefined;
  /** Since when no pod has it, and what follows; undefined when a pod has it, or nothing is known. */
  readonly idleReason?: string | undefined;
}): readonly string[] {
  const { allocation, withoutPod } = facts;
  if (allocation === undefined) {
    if (facts.isHeld) return ["it is promised to a pod that is being scheduled"];
    return [
      facts.releasedAtMs === undefined
        ? "it is free and was not used since this process started"
        : "it is free; addresses released longest ago are used first",
    ];
  }
  const reasons: string[] = [];
  const { owner } = allocation;
  if (owner.kind === "admin") {
    reasons.push(
      `the administrator took it out of allocation: ${owner.key}`,
      "DELETE /v1/reservation/IP gives it back",
    );
  } else if (owner.kind === "foreign") {
    reasons.push(
      `its record has the key "${owner.key}", which is not understood; nothing touches it`,
    );
  } else if (owner.kind === "pool") {
    reasons.push(`it is kept for pods of pool ${owner.pool}`, "POST /v1/ip releases it");
  } else if (owner.kind === "workload") {
    reasons.push(`it is kept for the next pod of ${describeWorkload(owner.workload)}`);
  } else if (allocation.podUid === "") {
    reasons.push(`it is kept for the next pod called ${podIdText(owner.pod)}`);
  } else {
    reasons.push(
      `pod ${podIdText(owner.pod)} has it on node ${allocation.nodeName} (${facts.podStatus ?? "Deleted"})`,
    );
  }
  if (withoutPod !== undefined) reasons.push(`without its pod ${describeReclaim(withoutPod)}`);
  if (facts.idleReason !== undefined) reasons.push(facts.idleReason);
  if (!facts.isConfigured) {
    reasons.push("the configuration does not list it any more: it is not handed out again");
  }
  return reasons;
}
