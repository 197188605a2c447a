// Addresses in use elsewhere -> lines of /v1/import: pods, CSV, and the objects of whereabouts and Spiderpool. Says for each line where it
// came from and what is wrong with it; whether an address may be entered is the server's to say.

import type { Ip } from "../core/ip.ts";
import { ipFromNumber, parseIp, parseIpNumber } from "../core/ip.ts";
import { addressesOf, parseIpRange, rangeSize } from "../core/ip-range.ts";
import type { ImportLine } from "./api/import.ts";
import { parseJsonText } from "./json-text.ts";
import { asList, asObject, asText, quoteValue, textAt, valueAt } from "./json-value.ts";
import { parsePod } from "./pod.ts";

/** One line to import, or why there is none. `from` names its place: `line 3`, `SpiderEndpoint default/web-0`. */
export type ReadLine =
  | { readonly kind: "line"; readonly from: string; readonly line: ImportLine }
  | { readonly kind: "problem"; readonly from: string; readonly problem: string };

/** The columns of a CSV file by their names in lower case without separators. */
const csvFields = new Map<string, keyof ImportLine>(
  (
    [
      "ip",
      "namespace",
      "podName",
      "appName",
      "appType",
      "poolName",
      "policy",
      "reserved",
      "reason",
    ] as const
  ).map((name) => [name.toLowerCase(), name]),
);
const csvAliases = new Map<string, keyof ImportLine>([
  ["address", "ip"],
  ["pod", "podName"],
  ["app", "appName"],
  ["workload", "appName"],
  ["kind", "appType"],
  ["type", "appType"],
  ["pool", "poolName"],
]);

const policyNumbers = new Map([
  ["0", 0],
  ["1", 1],
  ["2", 2],
  ["pod-delete", 0],
  ["immutable", 1],
  ["never", 2],
]);

/**
 * Reads CSV (RFC 4180, with comma, semicolon or tab) whose first line names the columns. Columns that say nothing to us are a problem,
 * because a misspelt `podName` would enter reservations for nobody.
 */
export function readCsv(text: string): ReadLine[] {
  const rows = csvRows(text.replace(/^\ufeff/, ""));
  const head = rows.shift();
  if (head === undefined)
    return [{ kind: "problem", from: "line 1", problem: "the file is empty" }];
  if ("problem" in head) return [{ kind: "problem", from: "line 1", problem: head.problem }];
  const columns = head.cells.map((name) => {
    const key = name.trim().toLowerCase().replace(/[ _-]/g, "");
    return csvFields.get(key) ?? csvAliases.get(key);
  });
  const unknown = head.cells.filter((_, index) => columns[index] === undefined);
  const twice = columns.find((name, index) => columns.indexOf(name) !== index);
  const problem =
    unknown.length > 0
      ? `the first line names the columns, and ${quoteValue(unknown[0])} is none; there are ${[...csvFields.values()].join(", ")}`
      : twice !== undefined
        ? `column ${twice} stands twice; keep one`
        : columns.includes("ip")
          ? undefined
          : "there is no column ip";
  if (problem !== undefined) return [{ kind: "problem", from: "line 1", problem }];
  return rows.map((row): ReadLine => {
    const from = `line ${row.line}`;
    if ("problem" in row) return { kind: "problem", from, problem: row.problem };
    if (row.cells.length !== columns.length) {
      const problem = `it has ${row.cells.length} values and there are ${columns.length} columns; add or remove separators`;
      return { kind: "problem", from, problem };
    }
    const fields = new Map<string, string>();
    for (const [index, cell] of row.cells.entries()) {
      if (cell.trim() !== "") fields.set(columns[index] as string, cell.trim());
    }
    return csvLine(fields, from);
  });
}

function csvLine(fields: ReadonlyMap<string, string>, from: string): ReadLine {
  const problem = (text: string): ReadLine => ({ kind: "problem", from, problem: text });
  const ip = parseIp(fields.get("ip") ?? "");
  if (ip === undefined) return problem(`${quoteValue(fields.get("ip") ?? "")} is no address`);
  const policyText = fields.get("policy");
  const policy = policyText === undefined ? undefined : policyNumbers.get(policyText.toLowerCase());
  if (policyText !== undefined && policy === undefined) {
    return problem(
      `policy ${quoteValue(policyText)} is none; write pod-delete, immutable or never`,
    );
  }
  const reservedText = (fields.get("reserved") ?? "false").toLowerCase();
  if (!["true", "false", "yes", "no", "1", "0"].includes(reservedText)) {
    return problem(`reserved ${quoteValue(reservedText)} is neither true nor false`);
  }
  const text = (name: "namespace" | "podName" | "appName" | "appType" | "poolName" | "reason") => {
    const value = fields.get(name);
    return value === undefined ? {} : { [name]: value };
  };
  const isReserved = ["true", "yes", "1"].includes(reservedText);
  return {
    kind: "line",
    from,
    line: {
      ip,
      ...text("namespace"),
      ...text("podName"),
      ...text("appName"),
      ...text("appType"),
      ...text("poolName"),
      ...(policy === undefined ? {} : { policy }),
      ...(isReserved ? { reserved: true } : {}),
      ...text("reason"),
    },
  };
}

type CsvRow =
  | { readonly line: number; readonly cells: readonly string[] }
  | { readonly line: number; readonly problem: string };

/** Rows with the number of the line on which each starts; empty lines and lines that begin with `#` are left out. */
function csvRows(text: string): CsvRow[] {
  const separator = separatorOf(text.slice(0, text.search(/\r?\n|$/)));
  const rows: CsvRow[] = [];
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const startLine = line;
    const cells: string[] = [];
    let isOpen = false;
    for (;;) {
      let cell = "";
      if (text[at] === '"') {
        isOpen = true;
        for (at += 1; at < text.length; at += 1) {
          if (text[at] === "\n") line += 1;
          if (text[at] !== '"') cell += text[at];
          else if (text[at + 1] === '"') {
            cell += '"';
            at += 1;
          } else {
            isOpen = false;
            at += 1;
            break;
          }
        }
      }
      while (at < text.length && text[at] !== separator && text[at] !== "\n") {
        cell += text[at];
        at += 1;
      }
      cells.push(cell.replace(/\r$/, ""));
      if (text[at] !== separator) break;
      at += 1;
    }
    at += 1;
    line += 1;
    if (isOpen) rows.push({ line: startLine, problem: "a quote is not closed" });
    else if (cells.length > 1 || (cells[0] !== "" && cells[0]?.startsWith("#") === false)) {
      if (!(cells[0] ?? "").startsWith("#")) rows.push({ line: startLine, cells });
    }
  }
  return rows;
}

function separatorOf(head: string): string {
  return [",", ";", "\t"].find((candidate) => head.includes(candidate)) ?? ",";
}

/** Kinds of objects that {@link readObjects} understands. */
export const importKinds = [
  "Pod",
  "IPPool",
  "OverlappingRangeIPReservation",
  "SpiderIPPool",
  "SpiderEndpoint",
  "SpiderReservedIP",
] as const;

/**
 * Reads objects as the API server gives them, lists of them included. An address that several objects name with the same pod (a pool and an
 * endpoint) is one line.
 */
export function readObjects(objects: readonly unknown[]): ReadLine[] {
  const lines = objects.flatMap((object) => readObject(object));
  const seen = new Map<string, ReadLine>();
  return lines.filter((line) => {
    if (line.kind === "problem") return true;
    const { ip, namespace, podName } = line.line;
    const key = `${ip} ${namespace ?? ""}/${podName ?? ""}`;
    if (seen.has(key)) return false;
    seen.set(key, line);
    return true;
  });
}

function readObject(object: unknown): ReadLine[] {
  const kind = textAt(object, "kind") ?? "";
  const items = valueAt(object, "items");
  if (Array.isArray(items)) {
    // `kubectl get pods -o json` gives a List whose items have kinds, the API server a PodList whose items have none.
    const itemKind = kind === "List" ? undefined : kind.replace(/List$/, "");
    return items.flatMap((item: unknown) =>
      readObject(
        itemKind === undefined || textAt(item, "kind") !== undefined
          ? item
          : { ...asObject(item), kind: itemKind },
      ),
    );
  }
  const namespace = textAt(object, "metadata", "namespace");
  const name = textAt(object, "metadata", "name") ?? "";
  const from = `${kind === "" ? "object" : kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
  switch (kind) {
    case "Pod":
      return podLines(object, from);
    case "IPPool":
      return whereaboutsPool(object, from);
    case "OverlappingRangeIPReservation":
      return whereaboutsReservation(object, name, from);
    case "SpiderIPPool":
      return spiderPool(object, from);
    case "SpiderEndpoint":
      return spiderEndpoint(object, { namespace: namespace ?? "", name }, from);
    case "SpiderReservedIP":
      return spiderReserved(object, name, from);
    default:
      return [
        {
          kind: "problem",
          from,
          problem: `kind ${quoteValue(kind)} is not known; there are ${importKinds.join(", ")}`,
        },
      ];
  }
}

/**
 * A pod's addresses: those of Galaxy's annotation, else those in its status. Pods of the host's network and finished pods have none of their
 * own. Policy and pool come from the pod's annotations.
 */
function podLines(object: unknown, from: string): ReadLine[] {
  const pod = parsePod(object);
  if (pod === undefined) return [{ kind: "problem", from, problem: "it has no name" }];
  const isHost = valueAt(object, "spec", "hostNetwork") === true;
  if (pod.phase === "Succeeded" || pod.phase === "Failed" || isHost) return [];
  const inStatus = asList(valueAt(object, "status", "podIPs")).flatMap(
    (item) => textAt(item, "ip") ?? [],
  );
  const single = textAt(object, "status", "podIP");
  const found: readonly string[] =
    pod.assignedIps.length > 0
      ? pod.assignedIps
      : inStatus.length > 0
        ? inStatus
        : single === undefined
          ? []
          : [single];
  const { namespace, name: podName } = pod.id;
  return found.map((text): ReadLine => {
    const ip = parseIp(text);
    if (ip === undefined)
      return { kind: "problem", from, problem: `${quoteValue(text)} is no address` };
    return {
      kind: "line",
      from,
      line: { ip, namespace, podName, ...(pod.pool === undefined ? {} : { poolName: pod.pool }) },
    };
  });
}

/** `NAMESPACE/NAME`, as whereabouts and Spiderpool refer to a pod. */
function podOf(text: string): { readonly namespace: string; readonly podName: string } | undefined {
  const [namespace, podName, more] = text.split("/");
  if (more !== undefined || !namespace || !podName) return undefined;
  return { namespace, podName };
}

function lineFor(ipText: string, podText: string, from: string): ReadLine {
  const ip = parseIp(ipText);
  if (ip === undefined) {
    return { kind: "problem", from, problem: `${quoteValue(ipText)} is no address` };
  }
  const pod = podOf(podText);
  if (pod === undefined) {
    const problem = `${ip}: ${quoteValue(podText)} names no pod as NAMESPACE/NAME`;
    return { kind: "problem", from, problem };
  }
  return { kind: "line", from, line: { ip, ...pod } };
}

/**
 * IPPool of whereabouts.cni.cncf.io: `spec.allocations` maps the distance from the address that `spec.range` is written with to the pod
 * (github.com/k8snetworkplumbingwg/whereabouts, pkg/storage/kubernetes/ipam.go, toIPReservationList).
 */
function whereaboutsPool(object: unknown, from: string): ReadLine[] {
  const range = textAt(object, "spec", "range") ?? "";
  const first = parseIpNumber(range.split("/")[0] ?? "");
  if (first === undefined || !range.includes("/")) {
    return [{ kind: "problem", from, problem: `spec.range ${quoteValue(range)} is no block` }];
  }
  const allocations = asObject(valueAt(object, "spec", "allocations")) ?? {};
  return Object.entries(allocations).map(([offset, allocation]): ReadLine => {
    if (!/^[0-9]{1,15}$/.test(offset)) {
      const problem = `allocation ${quoteValue(offset)} is no distance from the first address`;
      return { kind: "problem", from, problem };
    }
    const ip: Ip = ipFromNumber(
      typeof first === "number" ? first + Number(offset) : first + BigInt(offset),
    );
    return lineFor(ip, textAt(allocation, "podref") ?? "", from);
  });
}

/** OverlappingRangeIPReservation of whereabouts: the name is the address, with `-` for `:`, after the network's name if there is one. */
function whereaboutsReservation(object: unknown, name: string, from: string): ReadLine[] {
  const v4 = /(?:^|-)(\d+\.\d+\.\d+\.\d+)$/.exec(name)?.[1];
  const ip = v4 ?? name.replaceAll("-", ":");
  return [lineFor(ip, textAt(object, "spec", "podref") ?? "", from)];
}

/**
 * SpiderIPPool of spiderpool.spidernet.io: `status.allocatedIPs` is JSON text, a map from address to `{"pod":"NAMESPACE/NAME"}`
 * (github.com/spidernet-io/spiderpool, spiderippool_types.go).
 */
function spiderPool(object: unknown, from: string): ReadLine[] {
  const text = textAt(object, "status", "allocatedIPs") ?? "";
  if (text === "") return [];
  const json = parseJsonText(text);
  const map = json.kind === "value" ? asObject(json.value) : undefined;
  if (map === undefined) {
    return [{ kind: "problem", from, problem: "status.allocatedIPs is no JSON object" }];
  }
  return Object.entries(map).map(([ip, allocation]) =>
    lineFor(ip, textAt(allocation, "pod") ?? "", from),
  );
}

/** SpiderEndpoint has the name of its pod; `status.current.ips` its addresses with prefixes. */
function spiderEndpoint(
  object: unknown,
  pod: { readonly namespace: string; readonly name: string },
  from: string,
): ReadLine[] {
  return asList(valueAt(object, "status", "current", "ips")).flatMap((detail) =>
    (["ipv4", "ipv6"] as const).flatMap((field) => {
      const text = asText(valueAt(detail, field)) ?? "";
      if (text === "") return [];
      return [lineFor(text.split("/")[0] ?? "", `${pod.namespace}/${pod.name}`, from)];
    }),
  );
}

/** Larger blocks belong into the configuration, as a gap in `ips`. */
const mostReserved = 4_096;

/** SpiderReservedIP: `spec.ips` are addresses and ranges `A-B` that nobody gets. */
function spiderReserved(object: unknown, name: string, from: string): ReadLine[] {
  return asList(valueAt(object, "spec", "ips")).flatMap((item): ReadLine[] => {
    const parse = parseIpRange((asText(item) ?? "").replace("-", "~"));
    if (parse.kind === "problem") return [{ kind: "problem", from, problem: parse.problem }];
    if (rangeSize(parse.range) > mostReserved) {
      const problem = `${quoteValue(item)} has more than ${mostReserved} addresses; leave it out of ips in the configuration instead`;
      return [{ kind: "problem", from, problem }];
    }
    return [...addressesOf(parse.range)].map((ip) => ({
      kind: "line",
      from,
      line: { ip, reserved: true, reason: `SpiderReservedIP ${name}`.slice(0, 253) },
    }));
  });
}
