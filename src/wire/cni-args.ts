// The pod annotation `k8s.v1.cni.galaxy.io/args`: the ranges a pod asks for, and the addresses it was given. Hand-written, so that
// members we do not know are written back exactly as they stand. Never judges whether a range is configured.

import type { Ip } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import type { IpRange } from "../core/ip-range.ts";
import { mergeRanges, parseIpRange, rangeFamily } from "../core/ip-range.ts";
import type { IpInfo } from "../core/subnets.ts";
import { argsAnnotation } from "./established-names.ts";
import type { JsonMember } from "./json-text.ts";
import { parseJsonText } from "./json-text.ts";
import { asObject, quoteValue } from "./json-value.ts";

/** More addresses than any pod has; bounds the search for a matching. */
export const mostAddressesPerPod = 32;

/** What the annotation says. */
export type CniArgs = {
  /** One address is wanted out of each entry; undefined when the pod asks for none, or when the request has a problem. */
  readonly ranges: readonly (readonly IpRange[])[] | undefined;
  /** Addresses of `common.ipinfos`. */
  readonly assignedIps: readonly Ip[];
  /** What is wrong, each a sentence that names annotation, value and remedy. */
  readonly problems: readonly string[];
};

/** Reads the annotation; "" is an absent one. */
export function parseCniArgs(text: string): CniArgs {
  if (text.trim() === "") return { ranges: undefined, assignedIps: [], problems: [] };
  const json = parseJsonText(text);
  const problems: string[] = [];
  const report = (what: string) => problems.push(`annotation ${argsAnnotation}: ${what}`);
  if (json.kind === "problem") {
    report(`${quoteValue(text)} is not valid JSON: ${json.problem}; write a JSON object`);
    return { ranges: undefined, assignedIps: [], problems };
  }
  const args = asObject(json.value);
  if (args === undefined) {
    report(`${quoteValue(json.value)} is no JSON object; write {"request_ip_range":[["A~B"]]}`);
    return { ranges: undefined, assignedIps: [], problems };
  }
  for (const path of json.duplicates) report(`"${path}" stands twice; keep one of them`);
  const ranges = readRequest(args["request_ip_range"] ?? [], report);
  const assignedIps = readAssigned(asObject(args["common"])?.["ipinfos"] ?? [], report);
  const isUsable = problems.length === 0 && ranges.length > 0;
  return { ranges: isUsable ? ranges : undefined, assignedIps, problems };
}

function readRequest(value: unknown, report: (what: string) => void): IpRange[][] {
  if (!Array.isArray(value)) {
    report(`request_ip_range is ${quoteValue(value)}; write a list of lists like [["A~B"],["C"]]`);
    return [];
  }
  if (value.length > mostAddressesPerPod) {
    report(
      `request_ip_range has ${value.length} lists; a pod gets at most ${mostAddressesPerPod} addresses, one for each list`,
    );
    return [];
  }
  return value.map((list: unknown, index) => {
    const field = `request_ip_range[${index}]`;
    if (!Array.isArray(list)) {
      report(`${field} is ${quoteValue(list)}; write a list of ranges like ["A~B","C"]`);
      return [];
    }
    if (list.length === 0) {
      report(`${field} is an empty list; name at least one range in it, or leave it out`);
    }
    const ranges = list.flatMap((item: unknown, position) => {
      const parse = typeof item === "string" ? parseIpRange(item) : undefined;
      if (parse?.kind === "range") return [parse.range];
      const what = parse?.problem ?? `${quoteValue(item)} is no text`;
      report(`${field}[${position}] ${what}; write "A" or "A~B" without blanks and prefix`);
      return [];
    });
    if (new Set(ranges.map(rangeFamily)).size > 1) {
      report(
        `${field} ${quoteValue(list)} mixes IPv4 and IPv6; write one list for each address that the pod is to get`,
      );
    }
    return mergeRanges(ranges);
  });
}

function readAssigned(value: unknown, report: (what: string) => void): Ip[] {
  if (!Array.isArray(value)) {
    report(`common.ipinfos is ${quoteValue(value)}; remove it, galaxy-ipam writes it`);
    return [];
  }
  return value.flatMap((info: unknown, index) => {
    const text = asObject(info)?.["ip"];
    const ip = typeof text === "string" ? parseIp(text.split("/")[0] ?? "") : undefined;
    if (ip !== undefined) return [ip];
    report(
      `common.ipinfos[${index}] ${quoteValue(info)} has no address; remove it, galaxy-ipam writes it`,
    );
    return [];
  });
}

/**
 * Writes the addresses into the annotation: every other member, also inside `common`, stays as it stands, in its order, and `common`
 * comes last when it is new. Text that is no JSON object says nothing that could be kept and is replaced.
 */
export function formatCniArgs(existingText: string, ipInfos: readonly IpInfo[]): string {
  const infos = ipInfos.map(({ ip, vlan, gateway }) => ({ ip, vlan, gateway }));
  const members = membersOf(existingText);
  const common = members.findLast((member) => member.name === "common");
  const commonText = joinMembers(
    withMember(membersOf(common?.valueText ?? ""), {
      name: "ipinfos",
      valueText: JSON.stringify(infos),
    }),
  );
  return joinMembers(withMember(members, { name: "common", valueText: commonText }));
}

function membersOf(text: string): readonly JsonMember[] {
  // Nearly every pod that is bound has no annotation yet.
  if (text === "") return [];
  const json = parseJsonText(text);
  return json.kind === "value" ? (json.members ?? []) : [];
}

/** Replaces the member of that name in its place, or adds it at the end; of names that stand twice one is left. */
function withMember(members: readonly JsonMember[], added: JsonMember): readonly JsonMember[] {
  const last = members.findLastIndex((member) => member.name === added.name);
  if (last < 0) return [...members, added];
  return members
    .map((member, index) => (index === last ? added : member))
    .filter((member) => member === added || member.name !== added.name);
}

function joinMembers(members: readonly JsonMember[]): string {
  return `{${members.map(({ name, valueText }) => `${JSON.stringify(name)}:${valueText}`).join(",")}}`;
}
