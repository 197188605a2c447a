// A change of who has an address <-> one line of JSON, as histories keep it. Our own format; the words are those of core/tenure.ts, shortened
// where they stand in every line.

import { parseIp } from "../core/ip.ts";
import type { Owner } from "../core/owner.ts";
import type { Holder, HolderChange } from "../core/tenure.ts";
import { asObject } from "./json-value.ts";

const ownerKinds: readonly string[] = ["pod", "workload", "pool", "admin", "foreign"];

/** The line, without a line break. */
export function formatHolderChange({ ip, atMs, isAbout, before, after }: HolderChange): string {
  return JSON.stringify({
    ip,
    at: atMs,
    ...(isAbout ? { about: true } : {}),
    ...(before === undefined
      ? {}
      : {
          from: before.fromMs,
          ...(before.fromIsAbout ? { fromAbout: true } : {}),
          before: formatHolder(before.holder),
        }),
    ...(after === undefined ? {} : { after: formatHolder(after) }),
  });
}

function formatHolder({ owner, podUid, nodeName }: Holder): Readonly<Record<string, unknown>> {
  return {
    owner,
    ...(podUid === "" ? {} : { uid: podUid }),
    ...(nodeName === "" ? {} : { node: nodeName }),
  };
}

/** @returns undefined for what {@link formatHolderChange} does not write */
export function parseHolderChange(line: string): HolderChange | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    // A line that somebody edited; the others are as good as before.
    return undefined;
  }
  const object = asObject(json);
  const ip = typeof object?.["ip"] === "string" ? parseIp(object["ip"]) : undefined;
  const atMs = object?.["at"];
  if (object === undefined || ip === undefined || typeof atMs !== "number") return undefined;
  const before = parseHolder(object["before"]);
  const fromMs = object["from"];
  return {
    ip,
    atMs,
    isAbout: object["about"] === true,
    before:
      before === undefined || typeof fromMs !== "number"
        ? undefined
        : { holder: before, fromMs, fromIsAbout: object["fromAbout"] === true },
    after: parseHolder(object["after"]),
  };
}

function parseHolder(json: unknown): Holder | undefined {
  const object = asObject(json);
  const owner = asObject(object?.["owner"]);
  const kind = owner?.["kind"];
  if (object === undefined || typeof kind !== "string" || !ownerKinds.includes(kind)) {
    return undefined;
  }
  const { uid = "", node = "" } = object;
  if (typeof uid !== "string" || typeof node !== "string") return undefined;
  // Absent members of an owner are undefined ones in memory.
  const absent = kind === "pod" ? { workload: undefined, pool: undefined } : {};
  return { owner: { ...absent, ...owner } as Owner, podUid: uid, nodeName: node };
}
