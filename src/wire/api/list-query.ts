// The query of GET /v1/ip, read as the Go system reads it: page and size out of range are clamped, an unknown sort is "ip asc", and only
// what cannot be meant is refused. Every filter narrows on its own.

import type { ListedState, ListQuery } from "../../core/allocation-listing.ts";
import { parseIpNumber } from "../../core/ip.ts";
import type { IpRange } from "../../core/ip-range.ts";
import { parseCidr } from "../../core/ip-range.ts";
import type { Owner } from "../../core/owner.ts";
import { quoteValue } from "../json-value.ts";
import { formatOwnerKey } from "../owner-key.ts";
import { appTypeOf } from "./app-type.ts";
import type { RawQuery } from "./read-request.ts";
import { firstOf } from "./read-request.ts";

/** A query that was understood, or the parameter that was not. */
export type ListQueryParse =
  | {
      readonly kind: "query";
      readonly query: ListQuery;
      readonly page: number;
      readonly size: number;
      readonly isWide: boolean;
    }
  | { readonly kind: "invalid"; readonly field: string; readonly message: string };

const largestPage = 99_999;
const largestSize = 9_999;
const usualSize = 10;

const states: readonly ListedState[] = ["free", "bound", "reserved", "admin", "draining"];

/** Reads the query. */
export function parseListQuery(raw: RawQuery): ListQueryParse {
  const text = (name: string): string | undefined => {
    const value = firstOf(raw[name]);
    return value === "" ? undefined : value;
  };
  const isDeployment = parseGoBoolean(text("isDeployment"));
  if (isDeployment === "invalid") {
    return invalid("isDeployment", `invalid isDeployment(bool field): ${text("isDeployment")}`);
  }
  const wide = parseGoBoolean(text("wide"));
  if (wide === "invalid") {
    return invalid("wide", `wide ${quoteValue(text("wide"))} is neither true nor false`);
  }
  const stateText = text("state");
  const state = states.find((known) => known === stateText);
  if (stateText !== undefined && state === undefined) {
    return invalid("state", `state ${quoteValue(stateText)} is none of ${states.join(", ")}`);
  }
  const subnetText = text("subnet");
  const range = subnetText === undefined ? undefined : parseBlock(subnetText);
  if (subnetText !== undefined && range === undefined) {
    return invalid(
      "subnet",
      `subnet ${quoteValue(subnetText)} is no CIDR block such as 10.0.70.0/24`,
    );
  }
  const givenType = text("appType");
  const appType =
    givenType !== undefined
      ? appTypeOf(givenType)
      : isDeployment === undefined
        ? undefined
        : isDeployment
          ? "deployment"
          : "statefulset";
  const keyword = text("keyword");
  const page = parsePage(text("page"));
  const size = parseSize(text("size"));
  return {
    kind: "query",
    page,
    size,
    isWide: wide === true,
    query: {
      namespace: text("namespace"),
      appName: text("appName"),
      appType,
      podName: text("podName"),
      poolName: text("poolName"),
      state,
      range,
      keyword: keyword === undefined ? undefined : { text: keyword, prefixOf: keyPrefixOf },
      ...parseSort(text("sort")),
      offset: page * size,
      limit: size,
    },
  };
}

function invalid(field: string, message: string): ListQueryParse {
  return { kind: "invalid", field, message };
}

/** A truth value as Go's strconv.ParseBool takes it. */
export function parseGoBoolean(text: string | undefined): boolean | undefined | "invalid" {
  if (text === undefined) return undefined;
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  return "invalid";
}

/** A block, or an address that stands for itself. */
function parseBlock(text: string): IpRange | undefined {
  const value = parseIpNumber(text);
  if (value !== undefined) return { first: value, last: value };
  return parseCidr(text)?.range;
}

/** A number as Go's strconv.Atoi takes it; undefined for anything else. */
function parseInteger(text: string | undefined): number | undefined {
  return text !== undefined && /^[+-]?[0-9]{1,18}$/.test(text) ? Number(text) : undefined;
}

function parsePage(text: string | undefined): number {
  return Math.min(largestPage, Math.max(0, parseInteger(text) ?? 0));
}

function parseSize(text: string | undefined): number {
  const size = parseInteger(text) ?? usualSize;
  return size <= 0 ? usualSize : Math.min(largestSize, size);
}

function parseSort(text: string | undefined): Pick<ListQuery, "sortBy" | "isDescending"> {
  const [field = "", direction = "asc", ...rest] = (text ?? "").trim().toLowerCase().split(/\s+/);
  const sortBy = (["ip", "namespace", "podname", "policy"] as const).find((name) => name === field);
  const isKnown = rest.length === 0 && (direction === "asc" || direction === "desc");
  return sortBy === undefined || !isKnown
    ? { sortBy: "ip", isDescending: false }
    : { sortBy, isDescending: direction === "desc" };
}

/** The owner key without the name of the pod. */
function keyPrefixOf(owner: Owner): string {
  return owner.kind === "pod"
    ? formatOwnerKey({ ...owner, pod: { namespace: owner.pod.namespace, name: "" } })
    : formatOwnerKey(owner);
}
