// What the kernel lists over rtnetlink, as facts: the same facts that iproute-facts.ts makes of `ip -json`. Lenient: messages and attributes
// that it does not know are skipped.

import type { Ip } from "../../core/ip.ts";
import { ipFromNumber } from "../../core/ip.ts";
import type {
  AddressFacts,
  LinkFacts,
  NeighbourFacts,
  RouteFacts,
  RuleFacts,
} from "../../core/net-model.ts";
import {
  attribute,
  attributes,
  flag,
  message,
  readText,
  readU16,
  readU32,
  rt,
  u32,
} from "./netlink-message.ts";

/** Address families of socket.h. */
export const inet = 2;
export const inet6 = 10;

const scopes: Readonly<Record<number, string>> = { 0: "global", 253: "link", 254: "host" };
const macvlanModes: Readonly<Record<number, string>> = {
  1: "private",
  2: "vepa",
  4: "bridge",
  8: "passthru",
  16: "source",
};
const ipvlanModes = ["l2", "l3", "l3s"];
const permanent = 0x80;
const proxyFlag = 0x08;

/** A neighbour entry of any state, for those who ask the wire. */
export type NeighbourEntry = NeighbourFacts & { readonly state: number };

/** Names of devices by index. */
export type LinkNames = ReadonlyMap<number, string>;

/** Requests for lists. */
export const listRequests = {
  // Without counters, which are most of a device's answer.
  links: () =>
    message(rt.getLink, flag.dump, Buffer.alloc(16), [attribute(/* IFLA_EXT_MASK */ 29, u32(8))]),
  addresses: () => message(rt.getAddress, flag.dump, Buffer.alloc(8)),
  /** @param link index; 0: all */
  neighbours: (how: "all" | "proxy", link = 0) => {
    const head = Buffer.alloc(12);
    if (how === "proxy") head.writeUInt8(proxyFlag, 10);
    const filter = link === 0 ? [] : [attribute(/* NDA_IFINDEX */ 8, u32(link))];
    return message(rt.getNeighbour, flag.dump, head, filter);
  },
  /** @param filter index of a device, or number of a table; the kernel may answer with more */
  routes: (family: number, filter: { readonly link?: number; readonly table?: number } = {}) => {
    const head = Buffer.alloc(12);
    head.writeUInt8(family, 0);
    const { link, table } = filter;
    return message(rt.getRoute, flag.dump, head, [
      ...(link === undefined ? [] : [attribute(/* RTA_OIF */ 4, u32(link))]),
      ...(table === undefined ? [] : [attribute(/* RTA_TABLE */ 15, u32(table))]),
    ]);
  },
  rules: (family: number) => {
    const head = Buffer.alloc(12);
    head.writeUInt8(family, 0);
    return message(rt.getRule, flag.dump, head);
  },
} as const;

/** The index of an object of a list of devices. */
export function indexOfLink(body: Buffer): number {
  return readU32(body, 4);
}

/** Names by index of a list of devices. */
export function namesOf(list: readonly Buffer[]): LinkNames {
  return new Map(
    list.map((body) => [indexOfLink(body), readText(attributes(body, 16).get(3))] as const),
  );
}

/** Devices of a list. */
export function readLinkList(list: readonly Buffer[], names: LinkNames): LinkFacts[] {
  return list.map((body) => {
    const flags = readU32(body, 8);
    const parts = attributes(body, 16);
    const info = attributes(parts.get(18) ?? Buffer.alloc(0));
    const kind = readText(info.get(1));
    const data = attributes(info.get(2) ?? Buffer.alloc(0));
    const first = data.get(1);
    const index = (type: number) => {
      const value = parts.get(type);
      return value === undefined ? 0 : readU32(value);
    };
    // With IFLA_LINK_NETNSID the device below is in another namespace, and its index says nothing here.
    const below = parts.has(37) ? 0 : index(5);
    return {
      name: readText(parts.get(3)),
      index: indexOfLink(body),
      kind,
      isLoopback: (flags & 8) !== 0,
      mac: macText(parts.get(1)),
      mtu: index(4),
      isUp: (flags & 1) !== 0,
      alias: readText(parts.get(20)),
      master: names.get(index(10)) ?? "",
      parent: names.get(below) ?? "",
      vlanId: kind === "vlan" && first !== undefined ? readU16(first) : undefined,
      mode: modeOf(kind, first),
    };
  });
}

function modeOf(kind: string, value: Buffer | undefined): string {
  if (value === undefined) return "";
  if (kind === "macvlan") return macvlanModes[readU32(value)] ?? "";
  if (kind === "ipvlan") return ipvlanModes[readU16(value)] ?? "";
  return "";
}

function macText(bytes: Buffer | undefined): string {
  return bytes === undefined ? "" : (bytes.toString("hex").match(/../g) ?? []).join(":");
}

/** Addresses of a list. */
export function readAddressList(list: readonly Buffer[], names: LinkNames): AddressFacts[] {
  return list.flatMap((body) => {
    const link = names.get(readU32(body, 4));
    const parts = attributes(body, 8);
    const ip = addressOf(body.readUInt8(0), parts.get(2) ?? parts.get(1));
    if (link === undefined || ip === undefined) return [];
    return [{ link, ip, prefix: body.readUInt8(1), scope: scopeText(body.readUInt8(3)) }];
  });
}

function scopeText(scope: number): string {
  return scopes[scope] ?? String(scope);
}

function addressOf(family: number, bytes: Buffer | undefined): Ip | undefined {
  if (bytes === undefined) return undefined;
  if (family === inet && bytes.length === 4) return ipFromNumber(bytes.readUInt32BE(0));
  if (family !== inet6 || bytes.length !== 16) return undefined;
  return ipFromNumber((bytes.readBigUInt64BE(0) << 64n) | bytes.readBigUInt64BE(8));
}

/** Unicast routes of a list; those over several devices are left out. */
export function readRouteList(list: readonly Buffer[], names: LinkNames): RouteFacts[] {
  return list.flatMap((body) => {
    const family = body.readUInt8(0);
    if ((family !== inet && family !== inet6) || body.readUInt8(7) !== 1) return [];
    // Entries that the kernel made for itself while it forwards (RTM_F_CLONED) are no configuration.
    if ((readU32(body, 8) & 0x200) !== 0) return [];
    const parts = attributes(body, 12);
    const number = (type: number) => {
      const value = parts.get(type);
      return value === undefined ? undefined : readU32(value);
    };
    const link = names.get(number(4) ?? 0);
    if (link === undefined) return [];
    const isIpv6 = family === inet6;
    const dst = addressOf(family, parts.get(1)) ?? (isIpv6 ? "::" : "0.0.0.0");
    const via = parts.get(18);
    const protocol = body.readUInt8(5);
    return [
      {
        dst: `${dst}/${body.readUInt8(1)}`,
        link,
        via:
          addressOf(family, parts.get(5)) ??
          (via === undefined ? undefined : addressOf(readU16(via), via.subarray(2))),
        src: addressOf(family, parts.get(7)),
        table: number(15) ?? body.readUInt8(4),
        metric: number(6),
        protocol: protocol === 2 ? "kernel" : String(protocol),
        scope: scopeText(body.readUInt8(6)),
      },
    ];
  });
}

/** Rules by source of a list. */
export function readRuleList(list: readonly Buffer[]): RuleFacts[] {
  return list.flatMap((body) => {
    const family = body.readUInt8(0);
    const parts = attributes(body, 12);
    const from = addressOf(family, parts.get(2));
    const priority = parts.get(6);
    const table = parts.get(15);
    const isOneAddress = body.readUInt8(2) === (family === inet ? 32 : 128);
    if (from === undefined || priority === undefined || !isOneAddress) return [];
    const number = table === undefined ? body.readUInt8(4) : readU32(table);
    return [{ from, priority: readU32(priority), table: number }];
  });
}

/** Neighbours of a list, in every state. */
export function readNeighbourList(list: readonly Buffer[], names: LinkNames): NeighbourEntry[] {
  return list.flatMap((body) => {
    const link = names.get(readU32(body, 4));
    const parts = attributes(body, 12);
    const ip = addressOf(body.readUInt8(0), parts.get(1));
    if (link === undefined || ip === undefined) return [];
    const hardware = parts.get(2);
    const mac = hardware === undefined ? undefined : macText(hardware);
    const isProxy = (body.readUInt8(10) & proxyFlag) !== 0;
    return [{ link, ip, mac, isProxy, state: readU16(body, 8) }];
  });
}

/** Proxy entries, or those that somebody set, as facts. */
export function setNeighbours(
  entries: readonly NeighbourEntry[],
  which: "proxy" | "permanent",
): NeighbourFacts[] {
  return entries
    .filter(({ isProxy, state }) =>
      which === "proxy" ? isProxy : !isProxy && (state & permanent) !== 0,
    )
    .map(({ link, ip, mac, isProxy }) => ({ link, ip, mac, isProxy }));
}
