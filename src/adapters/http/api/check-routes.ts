// /v1/check and /v1/check/repair: what is not as it should be, and doing what was proposed.

import type { Finding } from "../../../core/check-records.ts";
import { podIdText } from "../../../core/owner.ts";
import type { Check, RepairOutcome } from "../../../ipam/check.ts";
import type { FindingAnswer } from "../../../wire/api/check.ts";
import { getCheck, repair } from "../../../wire/api/check.ts";
import { formatRepairId, parseRepairId } from "../../../wire/api/repair-id.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** Findings of one answer; the most severe come first. */
const mostFindings = 1_000;

/** The routes of the check. */
export function checkRoutes(check: Check): readonly Route[] {
  return [
    route(getCheck, async () => {
      const { findings, recordCount, podCount } = await check.report();
      return {
        status: 200,
        body: {
          findings: findings.slice(0, mostFindings).map(formatFinding),
          recordCount,
          podCount,
          isTruncated: findings.length > mostFindings,
        },
      };
    }),
    route(repair, async ({ body }) => {
      const results: {
        id: string;
        outcome: RepairOutcome["kind"] | "unknown repair";
        message: string;
      }[] = [];
      // One after the other: each may change what the next one finds.
      for (const id of body.repairs) {
        const proposed = parseRepairId(id);
        if (proposed === undefined) {
          const message = "no repair has this id; ask GET /v1/check again";
          results.push({ id, outcome: "unknown repair", message });
          continue;
        }
        const { kind, message } = await check.repair(proposed);
        results.push({ id, outcome: kind, message });
      }
      return { status: 200, body: { results } };
    }),
  ];
}

function formatFinding(finding: Finding): FindingAnswer {
  const { kind, severity, ip, pod, message, advice } = finding;
  return {
    kind,
    severity,
    message,
    ...(ip === undefined ? {} : { ip }),
    ...(pod === undefined ? {} : { pod: podIdText(pod) }),
    ...(finding.repair === undefined
      ? {}
      : {
          repair: {
            id: formatRepairId(finding.repair),
            action: finding.repair.do === "reclaim" ? finding.repair.outcome : finding.repair.do,
            message: finding.repair.message,
          },
        }),
    ...(advice === undefined ? {} : { advice }),
  };
}
