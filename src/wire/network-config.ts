// The fields of the CNI configuration of galaxy-k8s-vlan, galaxy-underlay-veth and galaxy-k8s-sriov, with the names that the Go plugins gave them, and where the
// addresses come from. What the fields do is in core/cni-plan.ts; docs/node.md lists them.

import type { ConfiguredRoute, NetworkConfig, NetworkMode } from "../core/cni-plan.ts";
import type { AddressGrant, CniRefusal, CniResult } from "../core/cni-result.ts";
import { cniCode } from "../core/cni-result.ts";
import { familyOf, parseIp } from "../core/ip.ts";
import { formatCidr, parseCidr } from "../core/ip-range.ts";
import { ifNameProblem, parseCniArgsVariable } from "./cni.ts";
import { mostAddressesPerPod } from "./cni-args.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, asText, quoteValue, textAt, valueAt } from "./json-value.ts";

/** Plugins whose work is done here. */
export const ownPlugins = ["galaxy-k8s-vlan", "galaxy-underlay-veth", "galaxy-k8s-sriov"] as const;

/** A plugin whose work is done here. */
export type OwnPlugin = (typeof ownPlugins)[number];

/** As many virtual functions as a card can have. */
const mostFunctions = 256;

/** The configuration, or every problem in one refusal. */
export function parseNetworkConfig(
  json: JsonObject,
  plugin: OwnPlugin,
): { readonly kind: "config"; readonly config: NetworkConfig } | CniRefusal {
  const problems: string[] = [];
  const problem = (field: string, remedy: string) =>
    problems.push(`${field} is ${quoteValue(json[field])}; ${remedy}`);
  const text = (field: string, initial: string): string => {
    const value = json[field];
    if (value === undefined || value === null) return initial;
    if (typeof value === "string") return value;
    problem(field, "write a text");
    return initial;
  };
  const choice = <T extends string>(field: string, choices: readonly T[], initial: T): T => {
    const value = text(field, "");
    if (value === "") return initial;
    const found = choices.find((candidate) => candidate === value);
    // The Go plugin takes an unknown word for the default, and a typing error for a bridge.
    if (found === undefined) problem(field, `write one of ${choices.join(", ")}`);
    return found ?? initial;
  };
  const flag = (field: string, initial: boolean): boolean => {
    const value = json[field];
    if (value === undefined || value === null) return initial;
    if (typeof value === "boolean") return value;
    problem(field, "write true or false");
    return initial;
  };
  const count = (field: string, most: number): number => {
    const value = json[field] ?? 0;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) {
      return value;
    }
    problem(field, `write a whole number from 0 to ${most}`);
    return 0;
  };
  const functionLimit = (): number => {
    const value = json["vf_num"] ?? 0;
    // As the Go plugin has it: nothing useful means all.
    if (typeof value === "number" && value <= 0) return mostFunctions;
    return count("vf_num", mostFunctions);
  };
  const deviceName = (field: string, value: unknown): string[] => {
    if (typeof value !== "string") {
      problem(field, "write the names of devices");
      return [];
    }
    if (value === "") return [];
    const wrong = ifNameProblem(value);
    if (wrong !== undefined) problems.push(`${field}: ${wrong}`);
    return wrong === undefined ? [value] : [];
  };
  const prefix = (field: string, initial: string, most: number): string => {
    const value = text(field, initial) || initial;
    if (value.length > most || !/^[A-Za-z0-9_.-]+$/.test(value)) {
      problem(field, `write at most ${most} letters, digits, "_", "." or "-"`);
      return initial;
    }
    return value;
  };
  const device = deviceName("device", json["device"] ?? "");
  const list = json["devices"] ?? [];
  if (!Array.isArray(list)) problem("devices", "write a list of names");
  const devices = Array.isArray(list) ? list.flatMap((item) => deviceName("devices", item)) : [];
  const modes = ["bridge", "pure", "macvlan", "ipvlan"] as const;
  const mode: NetworkMode =
    plugin === "galaxy-underlay-veth"
      ? "underlay-veth"
      : plugin === "galaxy-k8s-sriov"
        ? "sriov"
        : choice("switch", modes, "bridge");
  const optional = (field: string) => (json[field] === undefined ? undefined : flag(field, false));
  const mtu = count("mtu", 65_535);
  if (mtu > 0 && mtu < 576) problem("mtu", "write at least 576, or 0 for that of the device");
  const config: NetworkConfig = {
    mode,
    ipvlanMode: choice("ipvlan_mode", ["l2", "l3", "l3s"] as const, "l2"),
    devices: device.length > 0 ? device : devices,
    makesDefaultBridge: !flag("disable_default_bridge", false),
    defaultBridge: prefix("default_bridge_name", "docker", 15),
    // Four digits of a VLAN have to fit behind it.
    bridgePrefix: prefix("bridge_name_prefix", "docker", 11),
    vlanPrefix: prefix("vlan_name_prefix", "vlan", 11),
    mtu: mtu === 0 ? undefined : mtu,
    mayMoveAddresses: flag("allow_address_move", false),
    checksConflicts: flag("conflict_check", true),
    hasNodeAccess: flag("node_access", true),
    defaultAddress: count("default_address", mostAddressesPerPod - 1),
    routes: readRoutes(json["routes"] ?? [], problems),
    mostFunctions: functionLimit(),
    spoofCheck: optional("spoof_check"),
    trust: optional("trust"),
  };
  if (config.devices.length === 0 && problems.length === 0) {
    problems.push("neither device nor devices names a network card; set `device`");
  }
  return problems.length === 0
    ? { kind: "config", config }
    : {
        kind: "refused",
        code: cniCode.invalidConfig,
        message: `configuration of network ${asText(json["name"]) ?? ""}: ${problems.join("; ")}`,
      };
}

function readRoutes(value: unknown, problems: string[]): ConfiguredRoute[] {
  if (!Array.isArray(value)) {
    problems.push(`routes is ${quoteValue(value)}; write a list of {"dst","gw","address"}`);
    return [];
  }
  return value.flatMap((item: unknown, index) => {
    const cidr = parseCidr(textAt(item, "dst") ?? "");
    const gwText = textAt(item, "gw");
    const gw = gwText === undefined || gwText === "" ? undefined : parseIp(gwText);
    const address = valueAt(item, "address") ?? 0;
    const isPosition = typeof address === "number" && Number.isInteger(address) && address >= 0;
    if (cidr === undefined || (gwText !== undefined && gw === undefined) || !isPosition) {
      problems.push(
        `routes[${index}] is ${quoteValue(item)}; write {"dst":"10.0.0.0/8","gw":"10.1.1.1","address":0}, gw and address may be left out`,
      );
      return [];
    }
    return [{ dst: formatCidr(cidr), gw, address }];
  });
}

/** Where the addresses are to come from. */
export type AddressSource =
  | { readonly kind: "grants"; readonly grants: readonly AddressGrant[] }
  /** The IPAM plugin of that type is to be asked. */
  | { readonly kind: "ipam"; readonly type: string };

/**
 * The addresses of an attachment: CNI_ARGS `ipinfos`, else `runtimeConfig.ips`, else the IPAM plugin that the configuration names.
 * What was given is checked, because a pod may have had a hand in it.
 */
export function addressSource(config: JsonObject, args: string): AddressSource | CniRefusal {
  const infos = parseCniArgsVariable(args).get("ipinfos") ?? "";
  if (infos !== "") {
    let json: unknown;
    try {
      json = JSON.parse(infos);
    } catch {
      return noAddress(`ipinfos of CNI_ARGS ${quoteValue(infos)} is no JSON; write [{"ip":…}]`);
    }
    return parseIpInfos(json, "ipinfos of CNI_ARGS");
  }
  const ips = valueAt(config, "runtimeConfig", "ips");
  if (Array.isArray(ips) && ips.length > 0) {
    const gateways = parseIp(textAt(config, "gateway") ?? "");
    return parseIpInfos(
      ips.map((ip: unknown) => (gateways === undefined ? { ip } : { ip, gateway: gateways })),
      "runtimeConfig.ips",
    );
  }
  const type = textAt(config, "ipam", "type") ?? "";
  if (type !== "") return { kind: "ipam", type };
  return noAddress(
    "neither ipInfo from cni args nor ipam type from netconf; request a float IP for the pod, or set `ipam`",
  );
}

function noAddress(message: string): CniRefusal {
  return { kind: "refused", code: cniCode.noAddress, message };
}

/** Reads a list of `{"ip":"A/P","vlan":N,"gateway":"G"}`, as galaxy-ipam writes it. @param where for messages */
export function parseIpInfos(json: unknown, where: string): AddressSource | CniRefusal {
  if (!Array.isArray(json) || json.length === 0 || json.length > mostAddressesPerPod) {
    return noAddress(
      `${where} is ${quoteValue(json)}; a list of 1 to ${mostAddressesPerPod} addresses is expected`,
    );
  }
  const grants: AddressGrant[] = [];
  for (const [index, item] of json.entries()) {
    const grant = readGrant(item);
    if (typeof grant === "string") return noAddress(`${where}[${index}]: ${grant}`);
    if (grants.some(({ ip }) => ip === grant.ip)) {
      return noAddress(`${where}[${index}]: ${grant.ip} stands twice; every address once`);
    }
    grants.push(grant);
  }
  return { kind: "grants", grants };
}

function readGrant(item: unknown): AddressGrant | string {
  const object = asObject(item);
  const ipText = asText(object?.["ip"]) ?? "";
  const [address = "", prefixText] = ipText.split("/");
  const ip = parseIp(address);
  if (object === undefined || ip === undefined) {
    return `${quoteValue(item)} has no address; "ip":"ADDRESS/PREFIX" is expected`;
  }
  const most = familyOf(ip) === "IPv4" ? 32 : 128;
  const prefix = prefixText === undefined ? most : Number(prefixText);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(prefixText ?? "0") || prefix > most || prefix === 0) {
    return `${quoteValue(ipText)} has no usable prefix; write 1 to ${most} behind the "/"`;
  }
  const vlan = object["vlan"] ?? 0;
  if (typeof vlan !== "number" || !Number.isInteger(vlan) || vlan < 0 || vlan > 4094) {
    return `vlan is ${quoteValue(vlan)}; 0 (untagged) to 4094 is expected`;
  }
  const gatewayText = asText(object["gateway"]) ?? "";
  const gateway = gatewayText === "" ? undefined : parseIp(gatewayText);
  if (gatewayText !== "" && (gateway === undefined || familyOf(gateway) !== familyOf(ip))) {
    return `gateway is ${quoteValue(gatewayText)}; an address of the family of ${ip} is expected`;
  }
  return { ip, prefix, vlan, gateway };
}

/** The addresses that an IPAM plugin gave; VLAN 0, because IPAM plugins know none. */
export function grantsOfResult(result: CniResult): AddressSource | CniRefusal {
  return parseIpInfos(
    result.ips.map(({ address, gateway }) => ({ ip: address, gateway: gateway ?? "" })),
    "the result of the IPAM plugin",
  );
}
