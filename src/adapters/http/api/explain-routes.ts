// GET /v1/explain/pod/{namespace}/{name}: facts, decision, reason, remedy.

import { stateOf } from "../../../core/allocation.ts";
import type { PodContext } from "../../../core/decide-filter.ts";
import { describeReclaim } from "../../../core/explain.ts";
import { formatIpRange } from "../../../core/ip-range.ts";
import type { Topology } from "../../../core/subnets.ts";
import { describeSubnet } from "../../../core/subnets.ts";
import type { Explain, ExplainedAddress, PodReport } from "../../../ipam/explain.ts";
import { policyNumbers } from "../../../wire/api/address-answer.ts";
import type { ExplanationAnswer } from "../../../wire/api/explain.ts";
import { explainPod } from "../../../wire/api/explain.ts";
import { formatTime } from "../../../wire/json-value.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** Node names that one group of an answer lists; their number is told in any case. */
const mostNodeNames = 20;

/** The routes of explanations. */
export function explainRoutes(explain: Explain, topology: () => Topology): readonly Route[] {
  return [
    route(explainPod, async ({ params: { namespace, name } }) => {
      const report = await explain.pod({ namespace, name });
      return {
        status: 200,
        body: { pod: `${namespace}/${name}`, ...formatReport(report, topology()) },
      };
    }),
  ];
}

function formatReport(report: PodReport, topology: Topology): Omit<ExplanationAnswer, "pod"> {
  if (report.kind === "unreadable") {
    return {
      decision: "unknown",
      because: report.reason,
      remedy: ["try again; if it stays so, look at the API server"],
      facts: { carries: [] },
      addresses: [],
      nodes: [],
    };
  }
  const addresses = report.addresses.map(formatExplained);
  if (report.kind === "not found") {
    return {
      decision: "not found",
      because:
        addresses.length === 0
          ? "there is no pod of that name, and no address is kept for it"
          : "there is no pod of that name; addresses are kept for the next one, or are about to be taken back",
      remedy: ["check namespace and name"],
      facts: { carries: [] },
      addresses,
      nodes: [],
    };
  }
  const { explanation } = report;
  return {
    decision: explanation.decision,
    because: explanation.because,
    remedy: [...explanation.remedies],
    facts: formatFacts(report.context),
    addresses,
    nodes: explanation.groups.map(({ group, addresses: planned, because }) => ({
      nodes: group.nodeNames.slice(0, mostNodeNames),
      nodeCount: group.nodeNames.length,
      subnets: group.zone.subnetIndexes.flatMap((index) => {
        const subnet = topology.subnets[index];
        return subnet === undefined ? [] : [describeSubnet(subnet)];
      }),
      addresses: planned.map(({ ip, from }) => ({ ip, from })),
      ...(because === undefined ? {} : { because }),
    })),
  };
}

function formatExplained({ allocation, withoutPod }: ExplainedAddress) {
  return {
    ip: allocation.ip,
    state: stateOf(allocation).toLowerCase(),
    policy: policyNumbers[allocation.policy],
    ...(allocation.nodeName === "" ? {} : { nodeName: allocation.nodeName }),
    updateTime: formatTime(allocation.updatedAtMs),
    ifPodGoes: describeReclaim(withoutPod),
  };
}

function formatFacts({
  pod,
  workload,
  workloadState,
  poolObject,
}: PodContext): ExplanationAnswer["facts"] {
  const request =
    pod.request.kind === "ranges"
      ? pod.request.ranges.map((list) => list.map(formatIpRange).join(",")).join(" and ")
      : (pod.request.families?.join(",") ?? "one address, IPv4 where there is one");
  return {
    uid: pod.uid,
    phase: pod.phase,
    ...(pod.nodeName === "" ? {} : { nodeName: pod.nodeName }),
    isTerminating: pod.isTerminating,
    policy: pod.policy,
    ...(pod.pool === undefined ? {} : { pool: pod.pool }),
    ...(poolObject?.size === undefined ? {} : { poolSize: poolObject.size }),
    request,
    ...(workload === undefined
      ? {}
      : { workload: `${workload.kind} ${workload.namespace}/${workload.name}` }),
    ...(pod.policy === "pod-delete" ? {} : { workloadState: workloadState.kind }),
    ...(workloadState.kind === "present" && workloadState.replicas !== undefined
      ? { replicas: workloadState.replicas }
      : {}),
    carries: [...pod.assignedIps],
  };
}
