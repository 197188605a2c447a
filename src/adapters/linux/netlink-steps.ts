// Steps as rtnetlink requests: what `ip link add …` and its like would send. Pure, but for indexes of devices, which are asked for.

import type { Ip } from "../../core/ip.ts";
import { familyOf, ipToNumber } from "../../core/ip.ts";
import type { NetStep } from "../../core/net-model.ts";
import { inet, inet6 } from "./netlink-facts.ts";
import { attribute, flag, message, rt, text, u16, u32 } from "./netlink-message.ts";

/** How indexes of devices are found; rejects when there is no such device. */
export type IndexOf = (link: string) => Promise<number>;

const make = flag.ack | flag.create | flag.exclusive;
const replace = flag.ack | flag.create | flag.replace;

/** Attributes of if_link.h. */
const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  info: 18,
  alias: 20,
  namespace: 28,
} as const;

/** The bytes of an address, in network order. */
export function ipBytes(ip: Ip): Buffer {
  const value = ipToNumber(ip);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  }
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(value >> 64n, 0);
  bytes.writeBigUInt64BE(value & 0xffffffffffffffffn, 8);
  return bytes;
}

/** The bytes of a MAC. */
export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(":", ""), "hex");
}

function family(ip: string): number {
  return ip.includes(":") ? inet6 : inet;
}

function linkHead(index = 0, flags = 0, change = 0): Buffer {
  return Buffer.concat([u32(0), u32(index), u32(flags), u32(change)]);
}

function info(kind: string, ...data: readonly Buffer[]): Buffer {
  const inner = data.length === 0 ? [] : [attribute(2, ...data)];
  return attribute(ifla.info, attribute(1, text(kind)), ...inner);
}

/** A request that changes a device that is there, by its name. */
function change(link: string, ...what: readonly Buffer[]): Buffer {
  return message(rt.newLink, flag.ack, linkHead(), [attribute(ifla.name, text(link)), ...what]);
}

/** Gives a device its mark. */
export function aliasRequest(link: string, alias: string): Buffer {
  return change(link, attribute(ifla.alias, Buffer.from(alias, "utf8")));
}

/** Gives a device, known by its index, its name and its mark. */
export function nameRequest(index: number, name: string, alias: string): Buffer {
  const parts = [attribute(ifla.name, text(name)), attribute(ifla.alias, Buffer.from(alias))];
  return message(rt.newLink, flag.ack, linkHead(index), parts);
}

/** Asks for a device by name. */
export function linkRequest(link: string): Buffer {
  // Without counters, as in lists.
  const parts = [attribute(ifla.name, text(link)), attribute(29, u32(8))];
  return message(rt.getLink, flag.ack, linkHead(), parts);
}

/**
 * The requests of a step, each made when the one before it was carried out; in the namespace of the step, for devices that are born on the
 * host and go into a pod on the host.
 * @param podNamespace an open file of the pod's namespace, for those
 */
export async function* requestsOf(
  step: Exclude<NetStep, { readonly do: "sysctl" }>,
  indexOf: IndexOf,
  podNamespace: number | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  switch (step.do) {
    case "veth": {
      const { name, mac, mtu, alias, peer } = step;
      const end = (link: string, address: string) => [
        attribute(ifla.name, text(link)),
        attribute(ifla.address, macBytes(address)),
        attribute(ifla.mtu, u32(mtu)),
      ];
      const inPod = attribute(ifla.namespace, u32(inPodNamespace(podNamespace)));
      const other = attribute(1, linkHead(), ...end(peer.name, peer.mac), inPod);
      const parts = [...end(name, mac), info("veth", other)];
      yield message(rt.newLink, make, linkHead(), parts);
      yield aliasRequest(name, alias);
      return;
    }
    case "macvlan":
    case "ipvlan": {
      const name = step.bornAs ?? step.name;
      const mode =
        step.do === "macvlan"
          ? attribute(1, u32(4))
          : attribute(1, u16(["l2", "l3", "l3s"].indexOf(step.mode)));
      const parts = [
        attribute(ifla.name, text(name)),
        attribute(ifla.link, u32(await indexOf(step.parent))),
        ...(step.do === "macvlan" ? [attribute(ifla.address, macBytes(step.mac))] : []),
        attribute(ifla.mtu, u32(step.mtu)),
        info(step.do, mode),
      ];
      if (step.place === "pod") {
        const inPod = attribute(ifla.namespace, u32(inPodNamespace(podNamespace)));
        yield message(rt.newLink, make, linkHead(), [...parts, inPod]);
        return;
      }
      yield message(rt.newLink, make, linkHead(), parts);
      yield aliasRequest(name, step.alias);
      return;
    }
    case "vlan": {
      const parts = [
        attribute(ifla.name, text(step.name)),
        attribute(ifla.link, u32(await indexOf(step.parent))),
        info("vlan", attribute(1, u16(step.id))),
      ];
      yield message(rt.newLink, make, linkHead(), parts);
      yield aliasRequest(step.name, step.alias);
      return;
    }
    case "bridge": {
      // No spanning tree and no waiting: the bridge has one way out. Without a querier, snooping would lose neighbour discovery.
      const data = [
        attribute(5, u32(0)),
        attribute(1, u32(0)),
        attribute(23, Buffer.from([0])),
      ] as const;
      const parts = [
        attribute(ifla.name, text(step.name)),
        attribute(ifla.address, macBytes(step.mac)),
        attribute(ifla.mtu, u32(step.mtu)),
        info("bridge", ...data),
      ];
      yield message(rt.newLink, make, linkHead(), parts);
      yield aliasRequest(step.name, step.alias);
      return;
    }
    case "master":
      yield change(step.link, attribute(ifla.master, u32(await indexOf(step.bridge))));
      return;
    case "no master":
      yield change(step.link, attribute(ifla.master, u32(0)));
      return;
    case "no link":
      yield message(rt.delLink, flag.ack, linkHead(), [attribute(ifla.name, text(step.name))]);
      return;
    case "functions":
    case "function":
    case "no function":
    case "moved link":
    case "no moved link":
      throw new TypeError(`${step.do} is the business of function-network.ts`);
    case "up":
      yield message(rt.newLink, flag.ack, linkHead(0, 1, 1), [
        attribute(ifla.name, text(step.link)),
      ]);
      return;
    case "address":
    case "no address":
      yield addressRequest(step, await indexOf(step.link));
      return;
    case "route":
    case "no route":
      yield routeRequest(step, await indexOf(step.link));
      return;
    case "rule":
    case "no rule":
      yield ruleRequest(step);
      return;
    case "neighbour": {
      const head = neighbourHead(step.ip, await indexOf(step.link), 0);
      const parts = [attribute(1, ipBytes(step.ip)), attribute(2, macBytes(step.mac))];
      yield message(rt.newNeighbour, replace, head, parts);
      return;
    }
    case "no neighbour": {
      const head = neighbourHead(step.ip, await indexOf(step.link), 0);
      yield message(rt.delNeighbour, flag.ack, head, [attribute(1, ipBytes(step.ip))]);
      return;
    }
    case "proxy":
    case "no proxy": {
      const head = neighbourHead(step.ip, await indexOf(step.link), 8);
      const isNew = step.do === "proxy";
      const type = isNew ? rt.newNeighbour : rt.delNeighbour;
      yield message(type, isNew ? replace : flag.ack, head, [attribute(1, ipBytes(step.ip))]);
      return;
    }
  }
}

function inPodNamespace(podNamespace: number | undefined): number {
  if (podNamespace === undefined) throw new Error("the pod has no network namespace");
  return podNamespace;
}

type Step<T extends NetStep["do"]> = Extract<NetStep, { readonly do: T }>;

function addressRequest(step: Step<"address" | "no address">, index: number): Buffer {
  const { ip, prefix } = step;
  const isIpv6 = familyOf(ip) === "IPv6";
  const isNew = step.do === "address";
  // Whether anybody else has the address was asked before; waiting for the kernel to ask again (without IFA_F_NODAD) would delay
  // the pod by a second.
  const flags = isNew && isIpv6 ? 2 : 0;
  const head = Buffer.concat([Buffer.from([family(ip), prefix, flags, 0]), u32(index)]);
  const bytes = ipBytes(ip);
  const parts = [attribute(2, bytes), attribute(1, bytes)];
  if (isNew && !isIpv6 && prefix < 31) {
    const broadcast = Buffer.alloc(4);
    broadcast.writeUInt32BE((bytes.readUInt32BE(0) | (0xffffffff >>> prefix)) >>> 0);
    parts.push(attribute(4, broadcast));
  }
  return message(isNew ? rt.newAddress : rt.delAddress, isNew ? replace : flag.ack, head, parts);
}

function routeRequest(step: Step<"route" | "no route">, index: number): Buffer {
  const [address = "", prefix = "0"] = step.dst.split("/");
  const isIpv6 = address.includes(":");
  const isNew = step.do === "route";
  const via = isNew ? step.via : undefined;
  // As iproute2 has it: what is reached without a next hop is on the link; to remove, any scope will do.
  const scope = isIpv6 ? 0 : isNew ? (via === undefined ? 253 : 0) : 255;
  const isOnLink = isNew && step.onlink === true;
  const head = Buffer.concat([
    Buffer.from([
      family(address),
      Number(prefix),
      0,
      0,
      step.table < 256 ? step.table : 0,
      isNew ? 3 : 0,
      scope,
      isNew ? 1 : 0,
    ]),
    u32(isOnLink ? 4 : 0),
  ]);
  const parts = [
    ...(Number(prefix) === 0 ? [] : [attribute(1, ipBytes(address as Ip))]),
    ...(via === undefined ? [] : [attribute(5, ipBytes(via))]),
    attribute(4, u32(index)),
    ...(isNew && step.src !== undefined ? [attribute(7, ipBytes(step.src))] : []),
    ...(isNew && step.metric !== undefined ? [attribute(6, u32(step.metric))] : []),
    ...(step.table < 256 ? [] : [attribute(15, u32(step.table))]),
  ];
  return message(isNew ? rt.newRoute : rt.delRoute, isNew ? replace : flag.ack, head, parts);
}

function ruleRequest(step: Step<"rule" | "no rule">): Buffer {
  const isIpv6 = familyOf(step.from) === "IPv6";
  const isNew = step.do === "rule";
  const head = Buffer.concat([
    Buffer.from([family(step.from), 0, isIpv6 ? 128 : 32, 0, 0, 0, 0, 1]),
    u32(0),
  ]);
  return message(isNew ? rt.newRule : rt.delRule, isNew ? make : flag.ack, head, [
    attribute(2, ipBytes(step.from)),
    attribute(6, u32(step.priority)),
    attribute(15, u32(step.table)),
  ]);
}

/** The fixed part of requests about neighbours. @param flags NTF_USE is 1, NTF_PROXY is 8 */
export function neighbourHead(ip: Ip, index: number, flags: number): Buffer {
  const permanent = (flags & 1) !== 0 ? 0 : 0x80;
  return Buffer.concat([
    Buffer.from([family(ip), 0, 0, 0]),
    u32(index),
    u16(permanent),
    Buffer.from([flags, 0]),
  ]);
}
