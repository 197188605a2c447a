// The nftables rules of virtual addresses as text: what is where, and the commands that change it. Runs nothing. Two tables, because only a
// netdev chain sees what leaves by a raw socket, and only an inet table can translate addresses (docs/design/vip.md).

import type { Ip } from "../../core/ip.ts";
import { familyOf, ipToNumber } from "../../core/ip.ts";

/** Address translation, and what is refused. */
export const turnTable = "inet galaxy_vip";
/** What is said and heard on the wire. */
export const wireTable = "netdev galaxy_vip";

const families = [
  { n: "4", ip: "ip", type: "ipv4_addr" },
  { n: "6", ip: "ip6", type: "ipv6_addr" },
] as const;

/**
 * Everything but the chains of uplinks, as commands that can be given again without losing what is in the sets.
 * - `known`: addresses that this node must not answer for unless they are in `open`, whose elements run out by themselves
 * - `to`: the pod that an address is turned to; `here`: those whose route leads to a pod of this node
 * - `watched`: addresses whose claims by others are put into `foreign`
 * - `armed`: the permit of the next opening
 */
export function tablesText(): readonly string[] {
  return [
    `add table ${turnTable}`,
    `add table ${wireTable}`,
    `add set ${turnTable} armed { type mark; flags timeout; }`,
    `add set ${turnTable} uplinks { type ifname; }`,
    ...families.flatMap(({ n, type }) => [
      `add set ${turnTable} known${n} { type ${type}; }`,
      `add set ${turnTable} open${n} { type ${type}; flags timeout; }`,
      `add set ${turnTable} here${n} { type ${type}; }`,
      `add set ${turnTable} limited${n} { type ${type}; }`,
      `add set ${turnTable} ports${n} { type ${type} . inet_proto . inet_service; flags interval; }`,
      `add set ${turnTable} inside${n} { type ${type}; flags interval; auto-merge; }`,
      `add map ${turnTable} to${n} { type ${type} : ${type}; }`,
      `add map ${turnTable} hairpin${n} { type ${type} . ${type} : ${type}; }`,
      `add map ${turnTable} egress${n} { type ${type} : ${type}; flags timeout; }`,
      `add set ${wireTable} known${n} { ${wireType(n)}; }`,
      `add set ${wireTable} open${n} { ${wireType(n)}; flags timeout; }`,
      `add set ${wireTable} watched${n} { ${wireType(n)}; }`,
      `add set ${wireTable} foreign${n} { ${n === "4" ? "type ipv4_addr . ether_addr" : "typeof @th,64,128 . ether saddr"}; size 4096; flags dynamic,timeout; timeout 5s; }`,
    ]),
    ...turnChains(),
    ...wireChains(),
  ];
}

/** nft has no name for the target of a neighbour solicitation before 1.0.8. */
function wireType(n: "4" | "6"): string {
  return n === "4" ? "type ipv4_addr" : "typeof @th,64,128";
}

function chain(table: string, name: string, rules: readonly string[], hook = ""): string[] {
  return [
    `add chain ${table} ${name}${hook === "" ? "" : ` { ${hook}; policy accept; }`}`,
    `flush chain ${table} ${name}`,
    ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
  ];
}

function turnChains(): string[] {
  const each = (make: (family: (typeof families)[number]) => readonly string[]) =>
    families.flatMap(make);
  const t = turnTable;
  return [
    // Before those of kube-proxy (-100): whose address it is is decided here.
    ...chain(
      t,
      "turn",
      each(({ n, ip }) => [
        `${ip} daddr @limited${n} ${ip} daddr . meta l4proto . th dport != @ports${n} return`,
        `${ip} daddr @open${n} dnat ${ip} to ${ip} daddr map @to${n}`,
      ]),
    ),
    ...chain(t, "turn_in", ["jump turn"], "type nat hook prerouting priority -110"),
    ...chain(t, "turn_out", ["jump turn"], "type nat hook output priority -110"),
    // The chains above see the first packet of a flow only: without these, old flows would go on when the address is closed.
    ...chain(
      t,
      "gate",
      each(({ n, ip }) => [
        `ct status dnat ct original ${ip} daddr @known${n} ct original ${ip} daddr != @open${n} drop`,
        `ct status snat ct reply ${ip} daddr @known${n} ct reply ${ip} daddr != @open${n} drop`,
      ]),
    ),
    ...chain(t, "gate_in", ["jump gate"], "type filter hook prerouting priority -150"),
    ...chain(t, "gate_out", ["jump gate"], "type filter hook output priority -150"),
    // What was not turned must not reach the pod as it is.
    ...chain(
      t,
      "refuse",
      each(({ n, ip }) => [
        `${ip} daddr @here${n} ${ip} daddr @open${n} reject with icmpx type admin-prohibited`,
        `${ip} daddr @here${n} reject with icmpx type host-unreachable`,
      ]),
    ),
    ...chain(t, "refuse_through", ["jump refuse"], "type filter hook forward priority -10"),
    ...chain(t, "refuse_out", ["jump refuse"], "type filter hook output priority 10"),
    // A pod that calls itself sees the address that it called; a pod that speaks as its address does so to the outside only.
    ...chain(
      t,
      "back",
      each(({ n, ip }) => [
        `ct status dnat snat ${ip} to ${ip} saddr . ct original ${ip} daddr map @hairpin${n}`,
        `oifname @uplinks ${ip} daddr != @inside${n} snat ${ip} to ${ip} saddr map @egress${n}`,
      ]),
      "type nat hook postrouting priority 90",
    ),
  ];
}

function wireChains(): string[] {
  const t = wireTable;
  const solicited = "icmpv6 type nd-neighbor-solicit @th,64,128";
  const advertised = "icmpv6 type nd-neighbor-advert @th,64,128";
  return [
    ...chain(t, "heard", [
      "ether type arp arp saddr ip @watched4 update @foreign4 { arp saddr ip . arp saddr ether }",
      "ether type arp arp daddr ip @known4 arp daddr ip != @open4 drop",
      `${advertised} @watched6 update @foreign6 { @th,64,128 . ether saddr }`,
      `${solicited} @known6 @th,64,128 != @open6 drop`,
    ]),
    ...chain(t, "said", [
      "ether type arp arp saddr ip @known4 arp saddr ip != @open4 drop",
      `${advertised} @known6 @th,64,128 != @open6 drop`,
    ]),
  ];
}

/** Chains on an uplink; they go with it. @param index of the device, which names the chains */
export function uplinkChains(uplink: { readonly name: string; readonly index: number }): string[] {
  const { name, index } = uplink;
  const on = (hook: string, priority: number) =>
    `type filter hook ${hook} device "${name}" priority ${priority}`;
  return [
    ...chain(wireTable, `heard_${index}`, ["jump heard"], on("ingress", -500)),
    ...chain(wireTable, `said_${index}`, ["jump said"], on("egress", 500)),
  ];
}

/** Removes everything of ours, also when there is nothing. */
export function noTables(): readonly string[] {
  return [turnTable, wireTable].flatMap((table) => [`add table ${table}`, `delete table ${table}`]);
}

/** The sets and maps that both families have in the table of translation. */
export type TurnSet =
  | "known"
  | "open"
  | "here"
  | "limited"
  | "ports"
  | "inside"
  | "to"
  | "hairpin"
  | "egress";

/** `inet galaxy_vip open4`. */
export function turnSet(set: TurnSet, family: "4" | "6"): string {
  return `${turnTable} ${set}${family}`;
}

/** `netdev galaxy_vip open4`. */
export function wireSet(set: "known" | "open" | "watched" | "foreign", family: "4" | "6"): string {
  return `${wireTable} ${set}${family}`;
}

/** "4" or "6". */
export function familyDigit(ip: Ip): "4" | "6" {
  return familyOf(ip) === "IPv4" ? "4" : "6";
}

/** An address as an element of the sets of the wire, where IPv6 is a number. */
export function wireKey(ip: Ip): string {
  return familyOf(ip) === "IPv4" ? ip : `0x${ipToNumber(ip).toString(16).padStart(32, "0")}`;
}

/** Commands that add or delete elements; none for none. */
export function elements(
  verb: "add" | "delete",
  set: string,
  texts: readonly string[],
): readonly string[] {
  return texts.length === 0 ? [] : [`${verb} element ${set} { ${texts.join(", ")} }`];
}
