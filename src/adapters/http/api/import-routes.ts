// POST /v1/import: records for addresses that are in use already, each line on its own.

import { parseIp } from "../../../core/ip.ts";
import type { Owner } from "../../../core/owner.ts";
import { builtInWorkload, describeOwner } from "../../../core/owner.ts";
import type { ReleasePolicy } from "../../../core/release-policy.ts";
import type { Admin, ImportEntry, ImportOutcome } from "../../../ipam/admin.ts";
import { appTypeOf } from "../../../wire/api/app-type.ts";
import type { ImportLine } from "../../../wire/api/import.ts";
import { importIps } from "../../../wire/api/import.ts";
import { quoteValue } from "../../../wire/json-value.ts";
import { formatOwnerKey } from "../../../wire/owner-key.ts";
import { poolNameProblem } from "../../../wire/pod.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

const policies: readonly ReleasePolicy[] = ["pod-delete", "immutable", "never"];

const importBodyLimitBytes = 8 * 1024 * 1024;

type ImportResult = { ip: string; outcome: "entered" | "unchanged" | "refused"; message: string };

/** The routes of the import. */
export function importRoutes(admin: Admin): readonly Route[] {
  return [
    route(
      importIps,
      async ({ body }) => {
        const results: ImportResult[] = [];
        const entries: { readonly index: number; readonly entry: ImportEntry }[] = [];
        for (const [index, line] of body.lines.entries()) {
          const parsed = parseLine(line);
          if (typeof parsed === "string") {
            results[index] = { ip: line.ip, outcome: "refused", message: parsed };
          } else entries.push({ index, entry: parsed });
        }
        const outcomes = await admin.import(
          entries.map(({ entry }) => entry),
          { isDryRun: body.dryRun ?? false },
        );
        for (const [at, { index, entry }] of entries.entries()) {
          results[index] = formatOutcome(entry, outcomes[at] as ImportOutcome);
        }
        const count = (outcome: ImportResult["outcome"]) =>
          results.filter((result) => result.outcome === outcome).length;
        return {
          status: 200,
          body: {
            entered: count("entered"),
            unchanged: count("unchanged"),
            refused: count("refused"),
            results,
          },
        };
      },
      { bodyLimitBytes: importBodyLimitBytes },
    ),
  ];
}

function formatOutcome({ ip }: ImportEntry, outcome: ImportOutcome): ImportResult {
  switch (outcome.kind) {
    case "entered":
    case "unchanged":
      return { ip, outcome: outcome.kind, message: formatOwnerKey(outcome.allocation.owner) };
    case "would enter": {
      const { owner, podUid } = outcome;
      const isKept = owner.kind === "pod" && podUid === "";
      const message = `would ${isKept ? "be kept for" : "belong to"} ${describeOwner(owner)}`;
      return { ip, outcome: "entered", message };
    }
    case "refused":
      return { ip, outcome: "refused", message: outcome.reason };
    default:
      return outcome satisfies never;
  }
}

/** The entry of a line, or why it is none. */
function parseLine(line: ImportLine): ImportEntry | string {
  const ip = parseIp(line.ip);
  if (ip === undefined) return `${quoteValue(line.ip)} is not a valid ip`;
  const owner = ownerOfLine(line);
  if (typeof owner === "string") return owner;
  return { ip, owner, policy: line.policy === undefined ? undefined : policies[line.policy] };
}

function ownerOfLine(line: ImportLine): Owner | string {
  const { namespace, podName, appName, poolName } = line;
  if (line.reserved === true) {
    if (podName !== undefined || poolName !== undefined || appName !== undefined) {
      return "a reservation of the administrator belongs to nobody; leave out podName, appName and poolName";
    }
    return { kind: "admin", key: line.reason ?? "imported" };
  }
  const poolProblem = poolName === undefined ? undefined : poolNameProblem(poolName);
  if (poolProblem !== undefined) return poolProblem;
  for (const name of [namespace, podName, appName]) {
    if (name !== undefined && !/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(name)) {
      return `${quoteValue(name)} is no name of Kubernetes`;
    }
  }
  if (podName === undefined && appName === undefined) {
    return poolName === undefined
      ? "it says nobody whose the address is; give podName, appName, poolName or reserved"
      : { kind: "pool", pool: poolName };
  }
  if (namespace === undefined) return "namespace is missing";
  const workload = workloadOfLine(line, namespace);
  if (typeof workload === "string") return workload;
  if (podName !== undefined) {
    return { kind: "pod", pod: { namespace, name: podName }, workload, pool: poolName };
  }
  if (workload?.type !== "deployment" && workload?.type !== "replicaset") {
    return "an address of a StatefulSet is kept for a pod's name; give podName";
  }
  return { kind: "workload", workload };
}

function workloadOfLine({ appName, appType }: ImportLine, namespace: string) {
  if (appName === undefined) return undefined;
  const kind = appTypeOf(appType ?? "statefulset");
  if (kind === "deployment" || kind === "statefulset" || kind === "replicaset") {
    return builtInWorkload(kind, { namespace, name: appName });
  }
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(kind))
    return `appType ${quoteValue(appType)} is no kind`;
  return { type: "custom" as const, kind, apiGroup: undefined, namespace, name: appName };
}
