// What is not as it should be between records, pods, annotations and configuration, and what would repair it. Pure; who repairs is
// ipam/check.ts.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import { poolInForce } from "./decide-pool.ts";
import type { ReclaimDecision } from "./decide-reclaim.ts";
import { describeReclaim } from "./explain.ts";
import type { PodFacts, PoolFacts } from "./facts.ts";
import { podIsFinished } from "./facts.ts";
import type { Ip } from "./ip.ts";
import type { PodId } from "./owner.ts";
import { podIdText } from "./owner.ts";

/** What a finding proposes. It names the state that it was proposed for. */
export type ProposedRepair =
  /** Look at the addresses of the pod as if an event had told of it. */
  | {
      readonly do: "reclaim";
      readonly pod: PodId;
      readonly ip: Ip;
      readonly version: string;
      readonly outcome: "release" | "reserve" | "adopt";
    }
  /** Make records for what living pods carry. */
  | { readonly do: "adopt"; readonly pod: PodId; readonly ip: Ip }
  /** Read the record again. */
  | { readonly do: "read again"; readonly ip: Ip };

/** One difference. */
export type Finding = {
  readonly kind:
    | "record without pod"
    | "pod without record"
    | "record of another pod"
    | "double use"
    | "outside configuration"
    | "key not understood"
    | "unsettled record"
    | "pool not in force"
    | "pool without object"
    | "configuration invalid";
  readonly severity: "error" | "warning" | "note";
  readonly ip?: Ip;
  readonly pod?: PodId;
  readonly message: string;
  readonly repair?: ProposedRepair & { readonly message: string };
  readonly advice?: string;
};

/** What is compared. */
export type CheckFacts = {
  readonly view: AllocationView;
  /** Records to look at; all of the view's. */
  readonly allocations: Iterable<Allocation>;
  /** Names of pools that addresses name. */
  readonly poolNames: Iterable<string>;
  readonly pods: Iterable<PodFacts>;
  readonly podOf: (id: PodId) => PodFacts | undefined;
  /** What would become of an address without its pod. */
  readonly withoutPod: (allocation: Allocation) => ReclaimDecision;
  readonly pools: readonly PoolFacts[];
  readonly configurationProblems: readonly string[];
};

const nothing: readonly Finding[] = [];

/**
 * All differences in the order in which they are met, step by step: a step looks at one record or pod, so that a caller can let other work run
 * in between. What was looked at may have changed by the end.
 */
export function* checkRecords(facts: CheckFacts): Generator<readonly Finding[]> {
  yield facts.configurationProblems.map((message) => ({
    kind: "configuration invalid",
    severity: "error",
    message,
    advice: "correct the configuration; the last good one stays in force until then",
  }));
  for (const allocation of facts.allocations) yield checkRecord(allocation, facts);
  const carriers = new Map<Ip, PodFacts>();
  for (const pod of facts.pods) yield checkPod(pod, carriers, facts);
  yield checkPools(facts);
}

const severityOrder = { error: 0, warning: 1, note: 2 } as const;

/** Order of findings: the most severe first. */
export function compareFindings(a: Finding, b: Finding): number {
  return severityOrder[a.severity] - severityOrder[b.severity];
}

function checkRecord(allocation: Allocation, facts: CheckFacts): readonly Finding[] {
  const { ip, owner } = allocation;
  const { view } = facts;
  const phase = view.phaseOf(ip);
  if (phase === "unsettled" || phase === "lost") {
    const message = "its record is read again";
    return [
      {
        kind: "unsettled record",
        severity: "warning",
        ip,
        message: `the record of ${ip} is ${phase === "lost" ? "gone although a pod may have the address" : "not known for certain"}`,
        repair: { do: "read again", ip, message },
      },
    ];
  }
  if (phase !== "idle") return nothing;
  if (owner.kind === "foreign") {
    return [
      {
        kind: "key not understood",
        severity: "warning",
        ip,
        message: `the record of ${ip} has the key "${owner.key}", which is none of this system`,
        advice: "delete the FloatingIP if nothing uses the address, or give it the label reserved",
      },
    ];
  }
  const found: Finding[] = [];
  if (owner.kind === "pod" && isBound(allocation)) {
    const difference = checkBound(allocation, owner.pod, facts);
    if (difference !== undefined) found.push(difference);
  }
  if (!view.topology.isConfigured(ip) && owner.kind !== "admin") {
    found.push({
      kind: "outside configuration",
      severity: "note",
      ip,
      message: isBound(allocation)
        ? `${ip} is in a pod, but the configuration does not list it any more`
        : `${ip} is reserved, but the configuration does not list it any more`,
      advice: "nothing has to be done: it is not handed out again",
    });
  }
  return found.length === 0 ? nothing : found;
}

function checkBound(allocation: Allocation, id: PodId, facts: CheckFacts): Finding | undefined {
  const { ip, podUid, version } = allocation;
  const pod = facts.podOf(id);
  const name = podIdText(id);
  const repairTo = (decision: ReclaimDecision): Pick<Finding, "repair"> =>
    decision.do === "keep"
      ? {}
      : {
          repair: {
            do: "reclaim",
            pod: id,
            ip,
            version,
            outcome: decision.do,
            message: `pod ${name} is looked for once more; if it is gone, ${ip}: ${describeReclaim(decision)}`,
          },
        };
  if (pod === undefined || podIsFinished(pod)) {
    return {
      kind: "record without pod",
      severity: "warning",
      ip,
      pod: id,
      message: `the record of ${ip} names pod ${name}, which is ${pod === undefined ? "not there" : pod.phase}`,
      ...repairTo(facts.withoutPod(allocation)),
    };
  }
  if (pod.uid === podUid) {
    const carriesOthers = pod.assignedIps.length > 0 && !pod.assignedIps.includes(ip);
    if (!carriesOthers) return undefined;
    return {
      kind: "record of another pod",
      severity: "warning",
      ip,
      pod: id,
      message: `the record of ${ip} names pod ${name}, which carries ${pod.assignedIps.join(", ")}`,
      ...repairTo({ do: "release", because: "pod runs with other addresses" }),
    };
  }
  return {
    kind: "record of another pod",
    severity: "warning",
    ip,
    pod: id,
    message: `the record of ${ip} names an earlier pod ${name} (uid ${podUid}, now ${pod.uid})`,
    ...repairTo(
      pod.assignedIps.includes(ip)
        ? { do: "adopt", because: "pod carries the address", pod }
        : facts.withoutPod(allocation),
    ),
  };
}

/** @param carriers pods looked at already, by the addresses that they carry */
function checkPod(
  pod: PodFacts,
  carriers: Map<Ip, PodFacts>,
  { view }: CheckFacts,
): readonly Finding[] {
  if (pod.nodeName === "" || podIsFinished(pod) || pod.assignedIps.length === 0) return nothing;
  const name = podIdText(pod.id);
  const findings: Finding[] = [];
  for (const ip of pod.assignedIps) {
    const other = carriers.get(ip);
    if (other !== undefined) {
      const [older, younger] = pod.createdAtMs < other.createdAtMs ? [pod, other] : [other, pod];
      findings.push({
        kind: "double use",
        severity: "error",
        ip,
        pod: younger.id,
        message: `${ip} is in pod ${podIdText(older.id)} and in the younger pod ${podIdText(younger.id)}`,
        advice: `delete pod ${podIdText(younger.id)}; it gets another address when it is made again`,
      });
      continue;
    }
    carriers.set(ip, pod);
    if (!pod.wantsAddress) continue;
    const allocation = view.get(ip);
    if (allocation === undefined) {
      const isConfigured = view.topology.isConfigured(ip);
      findings.push({
        kind: isConfigured ? "pod without record" : "outside configuration",
        severity: isConfigured ? "error" : "warning",
        ip,
        pod: pod.id,
        message: `pod ${name} carries ${ip}, which has no record`,
        ...(isConfigured
          ? {
              repair: {
                do: "adopt" as const,
                pod: pod.id,
                ip,
                message: `a record of ${ip} is made for pod ${name}`,
              },
            }
          : { advice: "extend the configuration, or delete the pod" }),
      });
      continue;
    }
    const { owner } = allocation;
    if (owner.kind === "pod" && podIdText(owner.pod) === name) continue;
    findings.push({
      kind: "double use",
      severity: "error",
      ip,
      pod: pod.id,
      message: `pod ${name} carries ${ip}, whose record belongs to ${owner.kind === "pod" ? `pod ${podIdText(owner.pod)}` : owner.kind}`,
      advice: "delete the pod that should not have the address",
    });
  }
  return findings;
}

function checkPools({ pools, poolNames, view }: CheckFacts): readonly Finding[] {
  const findings: Finding[] = [];
  const names = new Set(pools.map(({ name }) => name));
  for (const pool of pools) {
    const inForce = poolInForce(pools.filter(({ name }) => name === pool.name));
    if (inForce === pool || inForce === undefined) continue;
    findings.push({
      kind: "pool not in force",
      severity: "warning",
      message: `Pool ${pool.namespace}/${pool.name} is not in force: ${inForce.namespace}/${inForce.name} has the same name`,
      advice: "delete one of them",
    });
  }
  for (const name of poolNames) {
    if (names.has(name)) continue;
    const count = view.ofPool(name).length;
    findings.push({
      kind: "pool without object",
      severity: "note",
      message: `${count} addresses belong to pool ${name}, which has no Pool object`,
      advice: "release them if no workload uses the pool any more",
    });
  }
  return findings;
}
