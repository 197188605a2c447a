// The VipRoutes of vip-routes.ts over rtnetlink sockets, without child programs: a move of a virtual address waits for its routes. Which there
// should be is not its affair.

import type { Ip } from "../../core/ip.ts";
import { familyOf, ipFromNumber } from "../../core/ip.ts";
import { WorldError } from "../../ports/world-error.ts";
import { indexOfLink, inet, inet6, listRequests, namesOf } from "./netlink-facts.ts";
import {
  attribute,
  attributes,
  flag,
  message,
  readText,
  readU32,
  rt,
  u32,
} from "./netlink-message.ts";
import { NetlinkRefusal, NetlinkSocket } from "./netlink-socket.ts";
import { ipBytes, linkRequest, neighbourHead } from "./netlink-steps.ts";
import type { SystemCalls } from "./system-calls.ts";
import type { RouteChange, RouteFacts, VipRoute, VipRoutes, Way } from "./vip-routes.ts";
import { ownProtocol } from "./vip-routes.ts";
import { offeredProtocol } from "./vip-speaker.ts";

/** Types of routes of rtnetlink.h. */
const unicast = 1;
const unreachable = 7;

const mainTable = 254;
const proxyFlag = 8;
const onlinkFlag = 4;

/** Attributes of rtnetlink.h and neighbour.h. */
const rta = { dst: 1, oif: 4, gateway: 5, table: 15 } as const;
const nda = { dst: 1, protocol: 12 } as const;

/** Each call opens a socket of its own: what another call left unread is not its answer. */
export class NetlinkVipRoutes implements VipRoutes {
  readonly #calls: SystemCalls;
  readonly #hostNetns: string | undefined;

  /** @param options `hostNetns`: path of the namespace to work in, when it is not that of this process */
  constructor(calls: SystemCalls, options: { readonly hostNetns?: string } = {}) {
    this.#calls = calls;
    this.#hostNetns = options.hostNetns;
  }

  waysTo(ips: readonly Ip[]): Promise<ReadonlyMap<Ip, Way>> {
    return this.#over("NETWORK_READ_FAILED", "find the ways to pods and nodes", async (socket) => {
      const names = new Map<number, string>();
      const ways = new Map<Ip, Way>();
      for (const ip of ips) {
        const found = await wayTo(ip, socket);
        if (found === undefined) continue;
        // Asked for one by one: a node can have hundreds of pods, and most addresses leave by one device.
        const known = names.get(found.index);
        const dev = known ?? (await nameOf(found.index, socket));
        names.set(found.index, dev);
        if (dev !== "lo") ways.set(ip, { dev, via: found.via });
      }
      return ways;
    });
  }

  change(changes: readonly RouteChange[]): Promise<string> {
    const tried = "change routes of virtual addresses";
    return this.#over("NETWORK_CHANGE_FAILED", tried, async (socket) => {
      const indexes = new Map<string, number>();
      const indexOf = async (dev: string): Promise<number> => {
        const known = indexes.get(dev);
        if (known !== undefined) return known;
        const [link] = await socket.request(linkRequest(dev));
        const index = link === undefined ? 0 : indexOfLink(link);
        indexes.set(dev, index);
        return index;
      };
      const problems: string[] = [];
      for (const change of changes) {
        try {
          await make(change, socket, indexOf);
        } catch (error) {
          if (!(error instanceof NetlinkRefusal)) throw error;
          // What is to be removed may be gone, with its device too.
          if (change.do === "route" || change.do === "proxy") {
            problems.push(`${change.do} of ${change.ip}: ${error.message}`);
          }
        }
      }
      return problems.join("; ");
    });
  }

  list(): Promise<RouteFacts> {
    const tried = "list routes of virtual addresses";
    return this.#over("NETWORK_READ_FAILED", tried, async (socket) => {
      const names = namesOf(await socket.request(listRequests.links()));
      const routes: RouteFacts["routes"][number][] = [];
      for (const family of [inet, inet6]) {
        const list = await socket.request(listRequests.routes(family, { table: mainTable }));
        routes.push(...list.flatMap((body) => ownRoute(body, names)));
      }
      const neighbours = await socket.request(listRequests.neighbours("proxy"));
      return { routes, proxies: neighbours.flatMap((body) => ownProxy(body, names)) };
    });
  }

  /** What the kernel refuses as a whole is a broken world. */
  async #over<T>(
    code: "NETWORK_READ_FAILED" | "NETWORK_CHANGE_FAILED",
    tried: string,
    action: (socket: NetlinkSocket) => Promise<T>,
  ): Promise<T> {
    try {
      using socket = NetlinkSocket.open(this.#calls, this.#hostNetns);
      return await action(socket);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const message = `${error.message}; look whether the daemon has CAP_NET_ADMIN`;
      throw new WorldError(code, { tried, message, cause: error });
    }
  }
}

/** The way to an address as the kernel would send now; undefined where it cannot, or where the address is the node's own. */
async function wayTo(
  ip: Ip,
  socket: NetlinkSocket,
): Promise<{ readonly index: number; readonly via: Ip | undefined } | undefined> {
  const head = Buffer.alloc(12);
  head.writeUInt8(familyNumber(ip), 0);
  head.writeUInt8(prefixOf(ip), 1);
  try {
    const request = message(rt.getRoute, flag.ack, head, [attribute(rta.dst, ipBytes(ip))]);
    const [body] = await socket.request(request);
    if (body === undefined || body.readUInt8(7) !== unicast) return undefined;
    const parts = attributes(body, 12);
    return { index: numberIn(parts.get(rta.oif)), via: ipIn(parts.get(rta.gateway)) };
  } catch (error) {
    if (error instanceof NetlinkRefusal) return undefined;
    throw error;
  }
}

async function nameOf(index: number, socket: NetlinkSocket): Promise<string> {
  const head = Buffer.concat([u32(0), u32(index), u32(0), u32(0)]);
  // Without counters, which are most of the answer.
  const parts = [attribute(/* IFLA_EXT_MASK */ 29, u32(8))];
  const [body] = await socket.request(message(rt.getLink, flag.ack, head, parts));
  return body === undefined ? "" : readText(attributes(body, 16).get(/* IFLA_IFNAME */ 3));
}

async function make(
  change: RouteChange,
  socket: NetlinkSocket,
  indexOf: (dev: string) => Promise<number>,
): Promise<void> {
  const { ip } = change;
  switch (change.do) {
    case "route": {
      const { protocol, route } = change;
      const index = route.kind === "device" ? await indexOf(route.dev) : 0;
      await socket.request(routeRequest(ip, route, index, protocol));
      return;
    }
    case "no route":
      // Never one that somebody else made.
      for (const protocol of [ownProtocol, offeredProtocol]) {
        await socket.request(noRouteRequest(ip, protocol)).catch((error: unknown) => {
          if (!(error instanceof NetlinkRefusal)) throw error;
        });
      }
      return;
    case "proxy":
    case "no proxy": {
      const head = neighbourHead(ip, await indexOf(change.dev), proxyFlag);
      const parts = [attribute(nda.dst, ipBytes(ip))];
      if (change.do === "no proxy") {
        await socket.request(message(rt.delNeighbour, flag.ack, head, parts));
        return;
      }
      const flags = flag.ack | flag.create | flag.replace;
      const marked = [...parts, attribute(nda.protocol, Buffer.from([ownProtocol]))];
      await socket.request(message(rt.newNeighbour, flags, head, marked));
    }
  }
}

/** The fixed part of requests about the route of one address. */
function routeHead(
  ip: Ip,
  fields: {
    readonly protocol: number;
    readonly scope: number;
    readonly type: number;
    readonly flags: number;
  },
): Buffer {
  const { flags, protocol, scope, type } = fields;
  const bytes = [familyNumber(ip), prefixOf(ip), 0, 0, mainTable, protocol, scope, type];
  return Buffer.concat([Buffer.from(bytes), u32(flags)]);
}

function routeRequest(ip: Ip, route: VipRoute, index: number, protocol: number): Buffer {
  const flags = flag.ack | flag.create | flag.replace;
  const dst = attribute(rta.dst, ipBytes(ip));
  if (route.kind === "unreachable") {
    const head = routeHead(ip, { protocol, scope: 0, type: unreachable, flags: 0 });
    return message(rt.newRoute, flags, head, [dst]);
  }
  // As iproute2 has it: what is reached without a next hop is on the link.
  const scope = route.via === undefined && familyNumber(ip) === inet ? 253 : 0;
  const head = routeHead(ip, {
    protocol,
    scope,
    type: unicast,
    flags: route.isOnlink === true ? onlinkFlag : 0,
  });
  return message(rt.newRoute, flags, head, [
    dst,
    ...(route.via === undefined ? [] : [attribute(rta.gateway, ipBytes(route.via))]),
    attribute(rta.oif, u32(index)),
  ]);
}

/** A route of the protocol, of any type and scope. */
function noRouteRequest(ip: Ip, protocol: number): Buffer {
  const scope = familyNumber(ip) === inet ? 255 : 0;
  const head = routeHead(ip, { protocol, scope, type: 0, flags: 0 });
  return message(rt.delRoute, flag.ack, head, [attribute(rta.dst, ipBytes(ip))]);
}

/** A route of the main table that has one of our protocols and leads to one address. */
function ownRoute(
  body: Buffer,
  names: ReadonlyMap<number, string>,
): readonly RouteFacts["routes"][number][] {
  const [prefix, protocol, type] = [body.readUInt8(1), body.readUInt8(5), body.readUInt8(7)];
  if (protocol !== ownProtocol && protocol !== offeredProtocol) return [];
  const parts = attributes(body, 12);
  const table = parts.has(rta.table) ? numberIn(parts.get(rta.table)) : body.readUInt8(4);
  const ip = ipIn(parts.get(rta.dst));
  if (ip === undefined || prefix !== prefixOf(ip) || table !== mainTable) return [];
  if (type === unreachable) return [{ ip, route: { kind: "unreachable" }, protocol }];
  const via = ipIn(parts.get(rta.gateway));
  const isOnlink = (readU32(body, 8) & onlinkFlag) !== 0;
  const route: VipRoute = {
    kind: "device",
    dev: names.get(numberIn(parts.get(rta.oif))) ?? "",
    ...(via === undefined ? {} : { via }),
    ...(isOnlink ? { isOnlink } : {}),
  };
  return [{ ip, route, protocol }];
}

function ownProxy(
  body: Buffer,
  names: ReadonlyMap<number, string>,
): readonly RouteFacts["proxies"][number][] {
  const parts = attributes(body, 12);
  const ip = ipIn(parts.get(nda.dst));
  const isProxy = (body.readUInt8(10) & proxyFlag) !== 0;
  if (!isProxy || ip === undefined || parts.get(nda.protocol)?.[0] !== ownProtocol) return [];
  return [{ ip, dev: names.get(readU32(body, 4)) ?? "" }];
}

function familyNumber(ip: Ip): number {
  return familyOf(ip) === "IPv6" ? inet6 : inet;
}

function prefixOf(ip: Ip): number {
  return familyOf(ip) === "IPv6" ? 128 : 32;
}

function numberIn(bytes: Buffer | undefined): number {
  return bytes === undefined ? 0 : readU32(bytes);
}

function ipIn(bytes: Buffer | undefined): Ip | undefined {
  if (bytes?.length === 4) return ipFromNumber(bytes.readUInt32BE(0));
  if (bytes?.length !== 16) return undefined;
  return ipFromNumber((bytes.readBigUInt64BE(0) << 64n) | bytes.readBigUInt64BE(8));
}
