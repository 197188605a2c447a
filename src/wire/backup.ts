// The file of a backup: lines of JSON. The first says what it is, the last how many there are and their checksum; each between them is an
// object as the API server has it, so that kubectl understands it too. The checksum is computed by who reads or writes bytes.

import type { Allocation } from "../core/allocation.ts";
import type { PoolFacts } from "../core/facts.ts";
import type { QuotaFacts } from "../core/quota.ts";
import type { PodSubnet } from "../core/subnets.ts";
import type { VipRecord } from "../core/vip.ts";
import type { VipPool } from "../core/vip-holder.ts";
import { formatFloatingIp, formatPool, parseFloatingIp, parsePool } from "./crd.ts";
import { formatFloatingIpConfig, parseFloatingIpConfig } from "./floatingip-config.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, formatTime, parseTimeMs, quoteValue, textAt, valueAt } from "./json-value.ts";
import { formatQuota, parseQuota } from "./quota.ts";
import { formatFloatingVip, formatVipPool, parseVipPool } from "./vip-objects.ts";

/** The format that this program writes, and the newest that it reads; it reads all before. 1: without quotas. */
const formatVersion = 2;

const headerKind = "GalaxyBackup";
const endKind = "GalaxyBackupEnd";

/** Where the configuration belongs. */
export type ConfigurationPlace = {
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
};

/** Where it stands unless the program's options say otherwise. */
export const usualConfigurationPlace: ConfigurationPlace = {
  namespace: "kube-system",
  name: "floatingip-config",
  key: "floatingips",
};

/** The first line. */
export type BackupHeader = {
  readonly createdAtMs: number;
  /** What it was made from, for people: version of the program, mode, replica. */
  readonly from: {
    readonly version: string;
    readonly mode: string;
    readonly instance: string;
    readonly role: "leader" | "follower" | "objects";
  };
};

/** What a backup holds. */
export type BackupContent = {
  /** Undefined where it is not known. */
  readonly configuration:
    | { readonly place: ConfigurationPlace; readonly subnets: readonly PodSubnet[] }
    | undefined;
  readonly pools: readonly PoolFacts[];
  readonly quotas: readonly QuotaFacts[];
  readonly vipPools: readonly VipPool[];
  readonly records: readonly Allocation[];
  /** Who holds which virtual address: for people. It is decided anew by claims and never restored. */
  readonly vips: readonly VipRecord[];
};

/** A line of a backup. Objects are as they stand in the file. */
export type BackupLine =
  | { readonly kind: "header"; readonly header: BackupHeader }
  | { readonly kind: "configuration" | "vip pool" | "vip"; readonly object: JsonObject }
  | { readonly kind: "pool" | "quota"; readonly object: JsonObject }
  | { readonly kind: "record"; readonly object: JsonObject }
  | { readonly kind: "end"; readonly objectCount: number; readonly sha256: string }
  /** Why nothing of the file may be used: which line, what is wrong, and the next step. */
  | { readonly kind: "problem"; readonly problem: string };

/** The text of the first line, with its end. */
export function formatBackupHeader({ createdAtMs, from }: BackupHeader): string {
  return lineOf({
    kind: headerKind,
    formatVersion,
    createdAt: formatTime(createdAtMs),
    from,
  });
}

/** The texts of the objects, each with its end, in an order that depends on nothing but what they say. */
export function* formatBackupObjects(content: BackupContent): Generator<string> {
  const { configuration, pools, quotas, records, vipPools, vips } = content;
  if (configuration !== undefined) {
    const { namespace, name, key } = configuration.place;
    yield lineOf({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace, name },
      data: { [key]: formatFloatingIpConfig(configuration.subnets) },
    });
  }
  for (const pool of pools) yield lineOf(formatPool(pool));
  for (const quota of quotas) yield lineOf(formatQuota(quota));
  for (const pool of vipPools) yield lineOf(formatVipPool(pool));
  for (const record of records) yield lineOf(formatFloatingIp(record));
  for (const vip of vips) yield lineOf(formatFloatingVip({ ...vip, version: "" }));
}

/** The text of the last line. @param sha256 of all bytes before it, in hexadecimal digits */
export function formatBackupEnd(end: {
  readonly objectCount: number;
  readonly sha256: string;
}): string {
  return lineOf({ kind: endKind, ...end });
}

function lineOf(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/**
 * Reads the lines of a backup, without their ends, one after the other. After a problem nothing follows. That the file is whole is known
 * when `end` came with the right checksum, and not before.
 */
export function* readBackup(lines: Iterable<string>): Generator<BackupLine> {
  let number = 0;
  let objectCount = 0;
  let isEnded = false;
  for (const text of lines) {
    number += 1;
    if (isEnded) {
      yield problem(`line ${number} stands behind the last one; ${damaged}`);
      return;
    }
    const line = number === 1 ? readHeader(text) : readLine(text, number);
    if (line.kind === "end" && line.objectCount !== objectCount) {
      const counts = `it has ${objectCount} objects and should have ${line.objectCount}`;
      yield problem(`${counts}; ${damaged}`);
      return;
    }
    yield line;
    if (line.kind === "problem") return;
    isEnded = line.kind === "end";
    if (number > 1) objectCount += 1;
  }
  if (number === 0) yield problem(`it is empty; ${another}`);
  else if (!isEnded) {
    yield problem(`it ends after line ${number} without its last line: it is cut off; ${damaged}`);
  }
}

const another = "give a file that galaxyctl backup wrote";
const damaged = "copy it again from where it came from, or use another backup";

function problem(text: string): BackupLine & { readonly kind: "problem" } {
  return { kind: "problem", problem: text };
}

function readHeader(text: string): BackupLine {
  const json = jsonOf(text);
  if (textAt(json, "kind") !== headerKind) {
    return problem(
      `it is no backup: its first line is ${quoteValue(text.slice(0, 60))}; ${another}`,
    );
  }
  const version = valueAt(json, "formatVersion");
  const madeBy = textAt(json, "from", "version") ?? "an unknown version";
  if (typeof version === "number" && version > formatVersion) {
    return problem(
      `it has format ${version}, made by galaxy-ipam ${madeBy}; this galaxyctl reads up to ${formatVersion}: use galaxyctl ${madeBy} or newer`,
    );
  }
  const createdAtMs = parseTimeMs(valueAt(json, "createdAt"));
  if (typeof version !== "number" || version < 1 || createdAtMs === undefined) {
    return problem(
      `its first line says format ${quoteValue(version)} of ${quoteValue(valueAt(json, "createdAt"))}; ${damaged}`,
    );
  }
  const role = textAt(json, "from", "role");
  return {
    kind: "header",
    header: {
      createdAtMs,
      from: {
        version: madeBy,
        mode: textAt(json, "from", "mode") ?? "",
        instance: textAt(json, "from", "instance") ?? "",
        role: role === "leader" || role === "objects" ? role : "follower",
      },
    },
  };
}

function readLine(text: string, number: number): BackupLine {
  const object = asObject(jsonOf(text));
  if (object === undefined) return problem(`line ${number} is no JSON object; ${damaged}`);
  const wrong = (what: string) => problem(`line ${number}: ${what}; ${damaged}`);
  const kind = textAt(object, "kind") ?? "";
  switch (kind) {
    case endKind: {
      const { objectCount, sha256 } = object;
      if (typeof objectCount !== "number" || typeof sha256 !== "string") {
        return wrong("the last line lacks objectCount or sha256");
      }
      // The checksum is not of its own line: that has to be what was written, to the letter.
      return formatBackupEnd({ objectCount, sha256 }) === `${text}\n`
        ? { kind: "end", objectCount, sha256 }
        : wrong("the last line was changed");
    }
    case "ConfigMap":
      return { kind: "configuration", object };
    case "Pool": {
      const parsed = parsePool(object);
      return parsed.kind === "pool" ? { kind: "pool", object } : wrong(parsed.problem);
    }
    case "FloatingIPQuota": {
      const parsed = parseQuota(object);
      return parsed.kind === "quota" ? { kind: "quota", object } : wrong(parsed.problem);
    }
    case "FloatingIP":
      return parseFloatingIp(object) === undefined
        ? wrong(`the name ${quoteValue(textAt(object, "metadata", "name"))} is no address`)
        : { kind: "record", object };
    case "VIPPool": {
      const parsed = parseVipPool(object);
      return parsed.kind === "pool"
        ? { kind: "vip pool", object }
        : wrong(parsed.problems.join("; "));
    }
    case "FloatingVIP":
      return { kind: "vip", object };
    default:
      return problem(
        `line ${number} has the kind ${quoteValue(kind)}, which this galaxyctl does not know; use a newer one`,
      );
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What of a list of objects, as kubectl prints them, belongs into a backup. */
export type ObjectsContent =
  | { readonly kind: "content"; readonly content: BackupContent; readonly ignoredCount: number }
  | { readonly kind: "problem"; readonly problem: string };

/** Reads objects of the API server: FloatingIPs, Pools, FloatingIPQuotas, VIPPools and the ConfigMap; others are counted and left out. */
export function readClusterObjects(
  objects: Iterable<unknown>,
  place: ConfigurationPlace,
): ObjectsContent {
  const pools: PoolFacts[] = [];
  const quotas: QuotaFacts[] = [];
  const vipPools: VipPool[] = [];
  const records: Allocation[] = [];
  let configuration: BackupContent["configuration"];
  let ignoredCount = 0;
  for (const object of objects) {
    const kind = textAt(object, "kind");
    const name = textAt(object, "metadata", "name") ?? "";
    if (kind === "FloatingIP") {
      const record = parseFloatingIp(object);
      if (record === undefined) {
        return problem(`FloatingIP ${quoteValue(name)} has a name that is no address; delete it`);
      }
      records.push(record);
    } else if (kind === "Pool") {
      const parsed = parsePool(object);
      if (parsed.kind === "problem") return problem(`${parsed.problem}; correct it first`);
      pools.push(parsed.pool);
    } else if (kind === "FloatingIPQuota") {
      const parsed = parseQuota(object);
      if (parsed.kind === "problem") return problem(`${parsed.problem}; correct it first`);
      quotas.push(parsed.quota);
    } else if (kind === "VIPPool") {
      const parsed = parseVipPool(object);
      if (parsed.kind === "problems") return problem(parsed.problems.join("; "));
      vipPools.push(parsed.pool);
    } else if (kind === "ConfigMap" && textAt(object, "data", place.key) !== undefined) {
      const parsed = parseFloatingIpConfig(textAt(object, "data", place.key) ?? "");
      if (parsed.kind === "invalid") {
        return problem(`ConfigMap ${name}: ${parsed.problems.join("; ")}`);
      }
      const namespace = textAt(object, "metadata", "namespace") ?? place.namespace;
      configuration = { place: { namespace, name, key: place.key }, subnets: parsed.subnets };
    } else ignoredCount += 1;
  }
  return {
    kind: "content",
    content: { configuration, pools, quotas, vipPools, records, vips: [] },
    ignoredCount,
  };
}
