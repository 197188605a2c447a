// Addresses as lists: the filters that commands share, reading page by page, and the columns for people.

import type { FloatingIp, listIps } from "../wire/api/floating-ip.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { Columns } from "./output.ts";
import type { Color } from "./terminal.ts";

/** Options that choose addresses; all that are given must hold. */
export type AddressFilter = {
  readonly keyword?: string;
  readonly pool?: string;
  readonly app?: string;
  readonly appType?: string;
  readonly pod?: string;
  readonly state?: NonNullable<FloatingIp["state"]>;
  readonly subnet?: string;
};

type Query = NonNullable<Parameters<typeof readPage>[1]>;

/** The query of a filter; the namespace is the option that all commands share. */
export function queryOf(context: CommandContext, filter: AddressFilter): Query {
  const { namespace } = context.options;
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(filter.keyword === undefined ? {} : { keyword: filter.keyword }),
    ...(filter.pool === undefined ? {} : { poolName: filter.pool }),
    ...(filter.app === undefined ? {} : { appName: filter.app }),
    ...(filter.appType === undefined ? {} : { appType: filter.appType }),
    ...(filter.pod === undefined ? {} : { podName: filter.pod }),
    ...(filter.state === undefined ? {} : { state: filter.state }),
    ...(filter.subnet === undefined ? {} : { subnet: filter.subnet }),
  };
}

/** The largest page that the API gives is 9999; a smaller one shows the first lines sooner. */
const pageSize = 5_000;

/** One page of addresses with everything that is known of each. */
async function readPage(
  client: ApiClient,
  query: {
    readonly namespace?: string;
    readonly keyword?: string;
    readonly poolName?: string;
    readonly appName?: string;
    readonly appType?: string;
    readonly podName?: string;
    readonly state?: NonNullable<FloatingIp["state"]>;
    readonly subnet?: string;
    readonly sort?: string;
  },
  page: { readonly page: number; readonly size: number },
) {
  const { body } = await client.call<typeof listIps>({
    method: "GET",
    path: "/v1/ip",
    query: { ...query, ...page, wide: true },
    about: "addresses",
  });
  return body;
}

/** A part of a list of addresses, and how many there are in all. */
export type AddressPart = { readonly addresses: readonly FloatingIp[]; readonly total: number };

/**
 * Reads addresses page by page, at most `limit` of them. The list is no snapshot: what changes meanwhile may be missing or stand twice,
 * and `note` is told when the number of addresses changed.
 */
export async function* readAddresses(
  client: ApiClient,
  query: Query,
  options: { readonly limit: number; readonly note: (line: string) => void },
): AsyncGenerator<AddressPart> {
  const size = Math.max(1, Math.min(pageSize, options.limit));
  let left = options.limit;
  let total: number | undefined;
  for (let page = 0; left > 0; page += 1) {
    const answer = await readPage(client, query, { page, size });
    if (total !== undefined && answer.totalElements !== total) {
      options.note(
        `the number of addresses changed from ${total} to ${answer.totalElements} while they were read: some may be missing or stand twice; list again`,
      );
    }
    total = answer.totalElements;
    const addresses = answer.content.slice(0, left);
    left -= addresses.length;
    yield { addresses, total };
    if (answer.last || answer.content.length === 0) return;
  }
}

/** The state as people read it. */
export function stateOf(address: FloatingIp): string {
  return address.state ?? (address.status === undefined ? "free" : "bound");
}

const stateColors: Readonly<Record<string, Color>> = {
  free: "gray",
  held: "cyan",
  bound: "green",
  reserved: "blue",
  admin: "yellow",
  draining: "yellow",
  conflict: "red",
  unknown: "red",
};

/** The release policies by their numbers on the wire. */
export const policyWords = ["pod-delete", "immutable", "never"] as const;

function policyOf(address: FloatingIp): string | undefined {
  return stateOf(address) === "free" ? undefined : policyWords[address.policy];
}

/** `deployment web`, as far as it is known. */
function workloadOf({ appName, appType }: FloatingIp): string | undefined {
  return appName === undefined || appName === ""
    ? undefined
    : `${appType ?? "workload"}/${appName}`;
}

/** Columns of a list of addresses. */
export const addressColumns: Columns<FloatingIp> = {
  usual: [
    { title: "IP", text: ({ ip }) => ip, isWhole: true },
    { title: "STATE", text: stateOf, isWhole: true, color: (row) => stateColors[stateOf(row)] },
    { title: "NAMESPACE", text: ({ namespace }) => namespace },
    { title: "WORKLOAD", text: workloadOf },
    { title: "POD", text: ({ podName }) => podName },
    { title: "POOL", text: ({ poolName }) => poolName },
    { title: "POLICY", text: policyOf },
    { title: "PHASE", text: ({ status }) => status },
  ],
  wide: [
    { title: "NODE", text: ({ nodeName, lastNodeName }) => nodeName ?? lastNodeName },
    { title: "SUBNET", text: ({ subnet }) => subnet },
    { title: "RELEASABLE", text: ({ releasable }) => (releasable === true ? "yes" : "no") },
    { title: "UPDATED", text: ({ updateTime }) => updateTime },
    { title: "POD UID", text: ({ podUid }) => podUid },
  ],
};
