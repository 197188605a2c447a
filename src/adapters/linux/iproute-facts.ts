// What `ip -N -json -d` prints, as facts. Lenient: fields that are missing or unknown are skipped, because every version of iproute2
// prints some more.

import type { Ip } from "../../core/ip.ts";
import { parseIp } from "../../core/ip.ts";
import type {
  AddressFacts,
  LinkFacts,
  NeighbourFacts,
  RouteFacts,
  RuleFacts,
} from "../../core/net-model.ts";
import { mainTable } from "../../core/net-model.ts";
import { asList, asObject, asText, valueAt } from "../../wire/json-value.ts";

/** rtnetlink's numbers (linux/rtnetlink.h), which `ip -N` prints, and the words that it prints otherwise. */
const scopes: Readonly<Record<string, string>> = { "0": "global", "253": "link", "254": "host" };
const tables: Readonly<Record<string, number>> = { main: mainTable, local: 255, default: 253 };

/** Devices and addresses of `address show`. */
export function readLinks(list: unknown): { links: LinkFacts[]; addresses: AddressFacts[] } {
  const links: LinkFacts[] = [];
  const addresses: AddressFacts[] = [];
  for (const item of asList(list)) {
    const link = asObject(item);
    const name = asText(link?.["ifname"]);
    if (link === undefined || name === undefined) continue;
    const flags = asList(link["flags"]);
    const kind = asText(valueAt(link, "linkinfo", "info_kind")) ?? "";
    const vlanId = valueAt(link, "linkinfo", "info_data", "id");
    // A device below in another namespace is printed as an index without a name.
    const parent = asText(link["link"]) ?? "";
    links.push({
      name,
      index: Number(link["ifindex"] ?? 0),
      kind,
      isLoopback: flags.includes("LOOPBACK"),
      mac: asText(link["address"]) ?? "",
      mtu: Number(link["mtu"] ?? 0),
      isUp: flags.includes("UP"),
      alias: asText(link["ifalias"]) ?? "",
      master: asText(link["master"]) ?? "",
      parent,
      vlanId: kind === "vlan" && typeof vlanId === "number" ? vlanId : undefined,
      mode: asText(valueAt(link, "linkinfo", "info_data", "mode")) ?? "",
    });
    for (const info of asList(link["addr_info"])) {
      const ip = parseIp(asText(valueAt(info, "local")) ?? "");
      const prefix = valueAt(info, "prefixlen");
      if (ip === undefined || typeof prefix !== "number") continue;
      const scope = wordOf(valueAt(info, "scope"));
      addresses.push({ link: name, ip, prefix, scope: scopes[scope] ?? scope });
    }
  }
  return { links, addresses };
}

/** A word that some versions print as a number. */
function wordOf(value: unknown, initial = ""): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : initial;
}

/** Unicast routes of `route show`. @param device named by a `dev` filter, which is not printed then */
export function readRoutes(list: unknown, device: string | undefined): RouteFacts[] {
  return asList(list).flatMap((item) => {
    const route = asObject(item);
    const type = wordOf(route?.["type"], "1");
    if (route === undefined || (type !== "1" && type !== "unicast")) return [];
    const link = asText(route["dev"]) ?? device;
    const gateway = asText(route["gateway"]) ?? asText(valueAt(route, "via", "host"));
    const dst = destinationOf(asText(route["dst"]) ?? "", "pref" in route);
    if (link === undefined || dst === undefined) return [];
    const table = wordOf(route["table"], "main");
    const metric = route["metric"];
    const protocol = wordOf(route["protocol"]);
    const scope = wordOf(route["scope"]);
    return [
      {
        dst,
        link,
        via: gateway === undefined ? undefined : parseIp(gateway),
        src: parseOptional(route["prefsrc"]),
        table: tables[table] ?? Number(table),
        metric: typeof metric === "number" ? metric : undefined,
        protocol: protocol === "2" ? "kernel" : protocol,
        scope: scopes[scope] ?? scope,
      },
    ];
  });
}

/** `default`, `A` or `A/P` as `A/P`. */
function destinationOf(text: string, isIpv6: boolean): string | undefined {
  if (text === "default") return isIpv6 ? "::/0" : "0.0.0.0/0";
  const [address = "", prefix] = text.split("/");
  const ip = parseIp(address);
  if (ip === undefined) return undefined;
  return `${ip}/${prefix ?? (ip.includes(":") ? 128 : 32)}`;
}

function parseOptional(value: unknown): Ip | undefined {
  return typeof value === "string" ? parseIp(value) : undefined;
}

/** Rules by source of `rule show`. */
export function readRules(list: unknown): RuleFacts[] {
  return asList(list).flatMap((item) => {
    const from = parseOptional(valueAt(item, "src"));
    const priority = valueAt(item, "priority");
    const table = wordOf(valueAt(item, "table"));
    // Rules for whole subnets are somebody else's.
    const isOneAddress = valueAt(item, "srclen") === undefined;
    if (from === undefined || typeof priority !== "number" || !isOneAddress) return [];
    return [{ from, priority, table: tables[table] ?? Number(table) }];
  });
}

/** Proxy and permanent entries of `neigh show`. @param device named by a `dev` filter, which is not printed then */
export function readNeighbours(list: unknown, device?: string): NeighbourFacts[] {
  return asList(list).flatMap((item) => {
    const neighbour = asObject(item);
    const ip = parseOptional(neighbour?.["dst"]);
    const link = asText(neighbour?.["dev"]) ?? device;
    if (neighbour === undefined || ip === undefined || link === undefined) return [];
    return [{ link, ip, mac: asText(neighbour["lladdr"]), isProxy: "proxy" in neighbour }];
  });
}
