// The VipNetwork port on iproute2, nftables and raw frames: routes and neighbour proxies of virtual addresses, and what the wire hears of them.
// An address is never put on a device: what is not turned to a pod must not reach the node. Whether the node answers is the gate's affair.

import type { Ip } from "../../core/ip.ts";
import { familyOf, ipFromNumber, ipToNumber, parseIp } from "../../core/ip.ts";
import type { IpRange } from "../../core/ip-range.ts";
import { parseCidr, rangeContains } from "../../core/ip-range.ts";
import type { ForbiddenRange } from "../../core/vip-holder.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HostNetwork } from "../../ports/host-network.ts";
import type { Log } from "../../ports/log.ts";
import type { VipNetwork, VipPlace } from "../../ports/vip-network.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, textAt, valueAt } from "../../wire/json-value.ts";
import { runProgram } from "./child-program.ts";
import { readLinks } from "./iproute-facts.ts";
import type { NftSession } from "./nft-session.ts";
import type { FrameSource } from "./vip-frames.ts";
import { claimFrames, forgetFlowsMessage, questionFrames } from "./vip-frames.ts";
import type { RouteChange, RouteFacts, VipRoute, VipRoutes, Way } from "./vip-routes.ts";
import { ownProtocol } from "./vip-routes.ts";
import {
  elements,
  familyDigit,
  tablesText,
  turnSet,
  turnTable,
  uplinkChains,
  wireKey,
  wireSet,
  wireTable,
} from "./vip-rules.ts";
import type { VipSpeaker } from "./vip-speaker.ts";
import { offeredProtocol } from "./vip-speaker.ts";

const families = ["4", "6"] as const;

/** The sets that say where addresses are, which this file alone changes. */
const placeSets = ["known", "here", "limited", "ports"] as const;

const limitMs = 10_000;

/** After taking over: the first two for who listens, the others for kernels that do not believe a second one at once; then now and then. */
const announceAtMs = [0, 100, 1_100, 2_200, 5_000];
const announceEveryMs = 60_000;

/** Addresses that are announced at once: a kernel keeps a thousand frames that come in at most, and drops the same ones each time. */
const claimsAtOnce = 32;
const claimPauseMs = 5;

/** What was put somewhere and looked at lately is not looked at again when it is to be put there: programs take longer than the kernel. */
const sureMs = 1_000;

/** How often the kernel is read beside other changes, before they have to wait. */
const repairTries = 3;

const probeMs = 250;
const lookAtDevicesMs = 10_000;

/** A device that virtual addresses can be answered for on. */
type Uplink = FrameSource & {
  readonly name: string;
  readonly index: number;
  readonly ranges: readonly IpRange[];
  readonly isDefault: boolean;
};

/** Where an address was put, or was tried to be put: whatever came of that, all of this is taken away when it goes elsewhere. */
type Placed = {
  readonly place: VipPlace;
  /** Undefined: there is no route. */
  readonly route: VipRoute | undefined;
  readonly uplinks: readonly Uplink[];
  /** When the kernel was known to have it so; undefined: it is not known, and it is put there once more. */
  readonly seenMs: number | undefined;
};

/** Elements by set, with the words of what the set is for. */
type Elements = ReadonlyMap<string, readonly string[]>;

/** The network of one node. */
export class LinuxVipNetwork implements VipNetwork {
  readonly #nft: NftSession;
  readonly #speaker: VipSpeaker;
  readonly #host: HostNetwork;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #routes: VipRoutes;
  readonly #hostNetns: string | undefined;
  readonly #routeHook: string | undefined;
  readonly #placed = new Map<Ip, Placed>();
  readonly #announced = new Map<Ip, symbol>();
  /** Whose routes a routing daemon is offered. */
  readonly #offered = new Set<Ip>();
  readonly #readyUplinks = new Map<string, number>();
  #uplinks: readonly Uplink[] = [];
  #neverClaimed: readonly ForbiddenRange[] = [];
  /** Counts changes of places. */
  #serial = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  /** Until when routes are offered. */
  #offeredUntilMs = Number.NEGATIVE_INFINITY;
  /** Addresses that the wire is asked for. */
  readonly #probed = new Set<Ip>();
  /** Addresses of which only what was said since nftables listens for them anew is kept. */
  readonly #listened = new Set<Ip>();
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param ports `host` sets sysctls in the same namespace that `nft` and `speaker` work in, which is `hostNetns` when it is said;
   *   `routeHook`: a program that is called with `add ADDRESS` and `del ADDRESS` for addresses that are offered as routes
   */
  constructor(ports: {
    readonly nft: NftSession;
    readonly speaker: VipSpeaker;
    readonly host: HostNetwork;
    readonly routes: VipRoutes;
    readonly clock: Clock;
    readonly log: Log;
    readonly hostNetns?: string;
    readonly routeHook?: string;
  }) {
    this.#nft = ports.nft;
    this.#speaker = ports.speaker;
    this.#host = ports.host;
    this.#routes = ports.routes;
    this.#clock = ports.clock;
    this.#log = ports.log;
    this.#hostNetns = ports.hostNetns;
    this.#routeHook = ports.routeHook;
  }

  /** Whether new flows of the pod leave with this address: for the gate. */
  sendsFromVip(ip: Ip): boolean {
    const place = this.#placed.get(ip)?.place;
    return place?.kind === "here" && place.sendsFromVip;
  }

  start(kept: readonly Ip[]): Promise<void> {
    this.#speaker.start();
    return this.#inTurn(async () => {
      await this.#nft.change("make the tables of virtual addresses", tablesText());
      await this.#look();
      await this.#adopt(kept);
      await this.#mend(await this.#readKernel());
    });
  }

  neverClaimed(): readonly ForbiddenRange[] {
    return this.#neverClaimed;
  }

  place(places: ReadonlyMap<Ip, VipPlace | undefined>): Promise<ReadonlyMap<Ip, string>> {
    return this.#inTurn(() => this.#place(places));
  }

  async repair(): Promise<void> {
    if (this.#clock.nowMs() - this.#lookedAtMs > lookAtDevicesMs) await this.#look();
    // What was placed meanwhile is not known well enough; after a few times nothing else is done before.
    for (let count = 0; count < repairTries; count += 1) {
      const serial = this.#serial;
      const seen = await this.#readKernel();
      const isDone = await this.#inTurn(async () => {
        if (serial !== this.#serial) return false;
        await this.#mend(seen);
        return true;
      });
      if (isDone) return;
    }
    await this.#inTurn(async () => this.#mend(await this.#readKernel()));
  }

  async keepInside(ranges: readonly IpRange[]): Promise<void> {
    const texts = (family: "4" | "6") =>
      ranges
        .map(({ first, last }) => [ipFromNumber(first), ipFromNumber(last)] as const)
        .filter(([first]) => familyDigit(first) === family)
        .map(([first, last]) => (first === last ? first : `${first}-${last}`));
    await this.#nft.change(
      "note the ranges of the cluster",
      families.flatMap((family) => [
        `flush set ${turnSet("inside", family)}`,
        ...elements("add", turnSet("inside", family), texts(family)),
      ]),
    );
  }

  async probe(ips: readonly Ip[]): Promise<ReadonlyMap<Ip, string>> {
    const asked = ips.filter((ip) => this.#placed.get(ip)?.uplinks.length !== 0);
    if (asked.length === 0) return new Map();
    for (const ip of asked) this.#probed.add(ip);
    try {
      return await this.#ask(asked);
    } finally {
      for (const ip of asked) this.#probed.delete(ip);
    }
  }

  async #ask(asked: readonly Ip[]): Promise<ReadonlyMap<Ip, string>> {
    await this.#watch(asked);
    for (const part of [1, 2]) {
      for (const ip of asked) {
        for (const uplink of this.#placed.get(ip)?.uplinks ?? []) {
          this.#speaker.send(uplink.index, questionFrames(ip, uplink));
        }
      }
      await new Promise<void>((resolve) => this.#clock.after(probeMs / 2, resolve));
      const found = part === 2 || asked.length < 100 ? await this.claimants() : new Map();
      const heard = new Map(asked.flatMap((ip) => (found.has(ip) ? [[ip, found.get(ip)]] : [])));
      if (heard.size > 0) return heard as Map<Ip, string>;
    }
    return new Map();
  }

  announce(ips: readonly Ip[]): void {
    const fresh = ips.filter((ip) => !this.#announced.has(ip));
    if (fresh.length === 0) return;
    const round = Symbol("announcements of one take-over");
    for (const ip of fresh) this.#announced.set(ip, round);
    this.#inBackground("offer and watch virtual addresses", async () => {
      await this.#watch(fresh);
      await this.#inTurn(() => this.#offer(fresh));
    });
    const tell = (count: number): void => {
      const due = fresh.filter((ip) => this.#announced.get(ip) === round);
      if (due.length === 0) return;
      this.#claim(due);
      const [before = 0, next = before + announceEveryMs] = announceAtMs.slice(count, count + 2);
      const delayMs = count < announceAtMs.length - 1 ? next - before : announceEveryMs;
      this.#clock.after(delayMs, () => tell(count + 1));
    };
    tell(0);
  }

  hush(ips: readonly Ip[]): void {
    if (ips.length === 0) return;
    for (const ip of ips) {
      this.#announced.delete(ip);
      this.#listened.delete(ip);
    }
    this.#speaker.tellNetfilter(ips.map(forgetFlowsMessage));
    // Asked for before whatever is placed next: an address that is elsewhere by then would not be known as offered any more.
    const withdrawn = this.#inTurn(() => this.#withdraw(ips));
    this.#inBackground("hush virtual addresses", async () => {
      await withdrawn;
      await this.#unwatch(ips.filter((ip) => !this.#announced.has(ip)));
    });
  }

  /** Tells neighbours again; for an address that somebody else claims. */
  claimAgain(ips: readonly Ip[]): void {
    this.#claim(ips.filter((ip) => this.#announced.has(ip)));
  }

  async claimants(): Promise<ReadonlyMap<Ip, string>> {
    if (this.#clock.nowMs() - this.#lookedAtMs > lookAtDevicesMs) {
      await this.#look();
    }
    const found = new Map<Ip, string>();
    const own = new Set(this.#uplinks.map(({ mac }) => mac));
    const listened = new Set([...this.#listened].map(familyDigit));
    for (const family of listened) {
      for (const { ip, mac } of await this.#heard(family)) {
        if (!this.#listened.has(ip) || own.has(mac)) continue;
        const names = this.#placed.get(ip)?.uplinks.map(({ name }) => name) ?? [];
        found.set(ip, `${mac} on ${names.join(", ")}`);
      }
    }
    return found;
  }

  /** Who claimed what is listened for, in the last seconds; `key` is that of the set. */
  async #heard(family: "4" | "6"): Promise<readonly Heard[]> {
    const list = await this.#nft.list(`set ${wireSet("foreign", family)}`);
    return asList(valueAt(list, "nftables")).flatMap((item) =>
      asList(valueAt(item, "set", "elem")).flatMap((element): readonly Heard[] => {
        const [key, mac] = asList(valueAt(element, "elem", "val", "concat")).map(
          (each) => asText(each) ?? "",
        );
        const ip = key === undefined ? undefined : ipOfWireKey(key);
        return key === undefined || ip === undefined || mac === undefined ? [] : [{ ip, key, mac }];
      }),
    );
  }

  offerFor(leftMs: number): void {
    const isOffering = [...this.#announced.keys()].some((ip) => isOfferable(this.#placed.get(ip)));
    if (!isOffering) return;
    this.#offeredUntilMs = this.#clock.nowMs() + leftMs;
    this.#speaker.offerFor(leftMs);
  }

  async stop(leave: boolean): Promise<void> {
    this.#announced.clear();
    if (!leave) {
      await this.#inTurn(async () => {
        await this.#withdraw([...this.#placed.keys()]);
        this.#placed.clear();
        await this.#mend(await this.#readKernel());
      });
    }
    await this.#turn;
    await this.#speaker.close(leave);
  }

  /** Changes of routes happen one after the other, in the order in which they were asked for. */
  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(action);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #inBackground(tried: string, action: () => Promise<void>): void {
    action().catch((error: unknown) => {
      if (!(error instanceof WorldError)) throw error;
      this.#log.warn("the network of a virtual address could not be changed", { tried }, error);
    });
  }

  async #place(places: ReadonlyMap<Ip, VipPlace | undefined>): Promise<ReadonlyMap<Ip, string>> {
    const problems = new Map<Ip, string>();
    const open = [...places].filter(([ip, place]) => !this.#isSurelyAt(ip, place));
    if (open.length === 0) return problems;
    const ways = await this.#waysTo(open.map(([, place]) => place));
    const wanted = new Map<Ip, Placed | undefined>();
    for (const [ip, place] of open) {
      const placed = place === undefined ? undefined : this.#resolve(ip, place, ways);
      if (typeof placed === "string") problems.set(ip, placed);
      else if (!this.#isAt(ip, placed)) wanted.set(ip, placed);
    }
    if (wanted.size === 0) return problems;
    this.#serial += 1;
    await this.#readyUplinksOf([...wanted.values()]);
    // As long as there are proxies, the sets must say for whom the kernel answers; otherwise it answers always.
    const removals = [...wanted].flatMap(([ip, placed]) =>
      placed === undefined ? this.#changesOf(ip, this.#placed.get(ip), placed) : [],
    );
    if (removals.length > 0) await this.#routes.change(removals);
    await this.#changeSets(wanted);
    const seenMs = this.#clock.nowMs();
    const changes: RouteChange[] = [];
    const moved = [...wanted].flatMap(([ip, placed]) =>
      isNewHere(ip, this.#placed.get(ip)?.place, placed?.place) ? [ip] : [],
    );
    for (const [ip, placed] of wanted) {
      if (placed === undefined) {
        this.#placed.delete(ip);
        continue;
      }
      changes.push(...this.#changesOf(ip, this.#placed.get(ip), placed));
      this.#placed.set(ip, placed);
    }
    const errors = await this.#routes.change(changes);
    // Flows that went elsewhere until now would not be turned. Before the gate opens: those that begin after that must stay.
    this.#speaker.tellNetfilter(moved.map(forgetFlowsMessage));
    const withdrawn = [...wanted].flatMap(([ip, placed]) =>
      this.#offered.has(ip) && !isOfferable(placed) ? [ip] : [],
    );
    for (const ip of withdrawn) this.#offered.delete(ip);
    await this.#callHook("del", withdrawn);
    const failed = errors === "" ? new Set<Ip>() : this.#missingIn(await this.#routes.list());
    for (const [ip, placed] of wanted) {
      if (placed === undefined) continue;
      if (!failed.has(ip)) this.#placed.set(ip, { ...placed, seenMs });
      // What else failed is found when the kernel is looked at next.
      else if (placed.place.kind === "here") {
        problems.set(ip, `its route or neighbour proxy is not there (${errors.slice(0, 300)})`);
      }
    }
    return problems;
  }

  /** Whether the kernel is known to have it so. */
  #isAt(ip: Ip, placed: Placed | undefined): boolean {
    const present = this.#placed.get(ip);
    if (placed === undefined || present === undefined) return placed === present;
    return present.seenMs !== undefined && isSamePlaced(placed, present);
  }

  /** The next holder of a planned move gets ready before it is granted the address: then nothing is left to do. */
  #isSurelyAt(ip: Ip, place: VipPlace | undefined): boolean {
    const placed = this.#placed.get(ip);
    if (place?.kind !== "here" || placed?.seenMs === undefined) return false;
    const isLately = this.#clock.nowMs() - placed.seenMs < sureMs;
    return isLately && JSON.stringify(placed.place) === JSON.stringify(place);
  }

  /** What an address needs; a sentence when it cannot be had. */
  #resolve(ip: Ip, place: VipPlace, ways: ReadonlyMap<Ip, Way>): Placed | string {
    const at = { place, seenMs: undefined };
    switch (place.kind) {
      case "nowhere":
        return { ...at, route: { kind: "unreachable" }, uplinks: [] };
      case "there": {
        const nodeIp = place.nodeIps.find((each) => familyOf(each) === familyOf(ip));
        const toNode = nodeIp === undefined ? undefined : ways.get(nodeIp);
        if (nodeIp !== undefined && toNode !== undefined && toNode.via === undefined) {
          const route = { kind: "device", dev: toNode.dev, via: nodeIp } as const;
          return { ...at, route, uplinks: [] };
        }
        // Nodes of other networks are reached like their pods: through the overlay, where there is one.
        const toPod = ways.get(place.podIp);
        if (toPod === undefined) return { ...at, route: undefined, uplinks: [] };
        const hop = toPod.via === undefined ? {} : { via: toPod.via, isOnlink: true };
        return { ...at, route: { kind: "device", dev: toPod.dev, ...hop }, uplinks: [] };
      }
      case "here": {
        const way = ways.get(place.podIp);
        if (way === undefined) {
          return `there is no route to its pod ${place.podIp} on this node; look whether the pod has its network`;
        }
        const uplinks =
          place.way.kind === "Route" ? [] : this.#uplinksFor(ip, place.way.interfaces);
        if (place.way.kind === "L2" && uplinks.length === 0) {
          return `no interface matches ${place.way.interfaces} and is up; correct the VIPPool's interfaces`;
        }
        // The kernel answers for an address only where its route leaves by another device (a pod on a bridge with the uplink has none).
        const dev = uplinks.some(({ name }) => name === way.dev) ? "lo" : way.dev;
        return { ...at, route: { kind: "device", dev }, uplinks };
      }
    }
  }

  /** Those that match the pattern: the ones whose network has the address, else those of the default route, else all that are named. */
  #uplinksFor(ip: Ip, pattern: string): readonly Uplink[] {
    const matching = this.#uplinks.filter(({ name }) => matches(name, pattern));
    const value = ipToNumber(ip);
    const near = matching.filter(({ ranges }) => ranges.some((each) => rangeContains(each, value)));
    if (near.length > 0) return near;
    const outward = matching.filter(({ isDefault }) => isDefault);
    return outward.length > 0 || pattern === "*" ? outward : matching;
  }

  /** Where the kernel sends packets to pods and nodes. */
  async #waysTo(places: readonly (VipPlace | undefined)[]): Promise<ReadonlyMap<Ip, Way>> {
    const asked = new Set(
      places.flatMap((place): readonly Ip[] => {
        if (place === undefined || place.kind === "nowhere") return [];
        return place.kind === "here" ? [place.podIp] : [place.podIp, ...place.nodeIps];
      }),
    );
    return asked.size === 0 ? new Map() : this.#routes.waysTo([...asked]);
  }

  /** Chains and sysctls of uplinks that are used for the first time. */
  async #readyUplinksOf(wanted: readonly (Placed | undefined)[]): Promise<void> {
    const used = new Map(
      wanted.flatMap((placed) => placed?.uplinks ?? []).map((uplink) => [uplink.name, uplink]),
    );
    const fresh = [...used.values()].filter(
      ({ name, index }) => this.#readyUplinks.get(name) !== index,
    );
    if (fresh.length === 0) return;
    await this.#nft.change("watch what is said on an uplink", [
      ...fresh.flatMap(uplinkChains),
      `flush set ${turnTable} uplinks`,
      ...elements(
        "add",
        `${turnTable} uplinks`,
        [...this.#readyUplinks.keys(), ...fresh.map(({ name }) => name)].map((name) => `"${name}"`),
      ),
    ]);
    for (const { name } of fresh) await this.#setSysctls(name);
    for (const { name, index } of fresh) this.#readyUplinks.set(name, index);
  }

  /** What the kernel needs in order to answer for others on a device, at once. */
  async #setSysctls(uplink: string): Promise<void> {
    const accept = `net/ipv6/conf/${uplink}/accept_ra`;
    const wanted: Readonly<Record<string, string>> = {
      [`net/ipv4/conf/${uplink}/forwarding`]: "1",
      [`net/ipv4/neigh/${uplink}/proxy_delay`]: "0",
      [`net/ipv6/conf/${uplink}/proxy_ndp`]: "1",
      [`net/ipv6/neigh/${uplink}/proxy_delay`]: "0",
      "net/ipv6/conf/all/forwarding": "1",
    };
    const present = await this.#host.readSysctls(undefined, [...Object.keys(wanted), accept]);
    const missing = Object.entries(wanted).filter(
      ([key, value]) => present[key] !== undefined && present[key] !== value,
    );
    // A machine that forwards listens to routers only when it is told so.
    const changes = [...(present[accept] === "1" ? [[accept, "2"] as const] : []), ...missing];
    await this.#host.apply(
      changes.map(([key, value]) => ({ do: "sysctl", place: "host", key, value })),
      { netns: undefined },
    );
  }

  /** Changes the sets from what they are to what is wanted; where they are not what they should be, they are written anew. */
  async #changeSets(wanted: ReadonlyMap<Ip, Placed | undefined>): Promise<void> {
    const before = [...wanted.keys()].flatMap((ip) => this.#entryOf(ip));
    const now = [...wanted].flatMap(([ip, placed]) =>
      placed === undefined ? [] : [{ ip, placed }],
    );
    const outcome = await this.#nft.transact([
      ...commandsOf("delete", elementsOf(before)),
      ...commandsOf("add", elementsOf(now)),
    ]);
    if (outcome.kind === "done") return;
    const others = [...this.#placed.keys()].filter((ip) => !wanted.has(ip));
    await this.#writeSets([...others.flatMap((ip) => this.#entryOf(ip)), ...now]);
  }

  #entryOf(ip: Ip): readonly Entry[] {
    const placed = this.#placed.get(ip);
    return placed === undefined ? [] : [{ ip, placed }];
  }

  /** Nothing of what stays is missing for a moment: it is one transaction. */
  async #writeSets(entries: readonly Entry[]): Promise<void> {
    await this.#nft.change("write anew where virtual addresses are", [
      ...families.flatMap((n) => placeSets.map((set) => `flush set ${turnSet(set, n)}`)),
      ...families.map((n) => `flush set ${wireSet("known", n)}`),
      ...commandsOf("add", elementsOf(entries)),
    ]);
  }

  /** What changes routes and proxies from what was tried before. What is there already is said again. */
  #changesOf(ip: Ip, before: Placed | undefined, now: Placed | undefined): readonly RouteChange[] {
    const names = (placed: Placed | undefined) => placed?.uplinks.map(({ name }) => name) ?? [];
    const old = names(before).filter((name) => !names(now).includes(name));
    const protocol = this.#offered.has(ip) && isOfferable(now) ? offeredProtocol : ownProtocol;
    return [
      ...old.map((dev) => ({ do: "no proxy", ip, dev }) as const),
      ...(now?.route !== undefined
        ? [{ do: "route", ip, route: now.route, protocol } as const]
        : before?.route !== undefined
          ? [{ do: "no route", ip } as const]
          : []),
      ...names(now).map((dev) => ({ do: "proxy", ip, dev }) as const),
    ];
  }

  /** Addresses whose route or proxies are not in the kernel as they were put. */
  #missingIn({ routes, proxies }: RouteFacts): ReadonlySet<Ip> {
    const present = new Map(routes.map((each) => [each.ip, each]));
    const proxied = new Set(proxies.map(({ ip, dev }) => `${ip} ${dev}`));
    const missing = [...this.#placed].filter(([ip, { route, uplinks }]) => {
      const found = present.get(ip);
      const protocol = this.#offered.has(ip) ? offeredProtocol : ownProtocol;
      const isRouted =
        routeText(found?.route) === routeText(route) &&
        (found === undefined || found.protocol === protocol);
      return !isRouted || !uplinks.every(({ name }) => proxied.has(`${ip} ${name}`));
    });
    return new Set(missing.map(([ip]) => ip));
  }

  /** What the kernel has, and where the places of now should be put by it. */
  async #readKernel(): Promise<Seen> {
    const seenMs = this.#clock.nowMs();
    const places = [...this.#placed].map(([ip, { place }]) => [ip, place] as const);
    const [facts, sets, ways] = await Promise.all([
      this.#routes.list(),
      this.#listSets(),
      this.#waysTo(places.map(([, place]) => place)),
    ]);
    return { seenMs, facts, sets, ways };
  }

  /**
   * Removes what belongs nowhere, and puts what is missing or has another way now where it should be. Others change routes and proxies
   * too: a device that goes down takes those on it along.
   */
  async #mend({ seenMs, facts, sets, ways }: Seen): Promise<void> {
    const entries = [...this.#placed.keys()].flatMap((ip) => this.#entryOf(ip));
    const wrongSets = [...elementsOf(entries)].filter(
      ([set, texts]) => textOf(texts) !== textOf(sets.get(set) ?? []),
    );
    const leftovers: RouteChange[] = [
      ...facts.routes
        .filter(({ ip }) => this.#placed.get(ip)?.route === undefined)
        .map(({ ip }) => ({ do: "no route", ip }) as const),
      ...facts.proxies
        .filter(({ ip, dev }) => !this.#isProxied(ip, dev))
        .map(({ ip, dev }) => ({ do: "no proxy", ip, dev }) as const),
    ];
    // In this order: a proxy of an address that no set knows would answer for it.
    const errors = leftovers.length === 0 ? "" : await this.#routes.change(leftovers);
    if (wrongSets.length > 0) await this.#writeSets(entries);
    const missing = this.#missingIn(facts);
    const again = new Map<Ip, VipPlace>();
    for (const [ip, placed] of this.#placed) {
      const should = this.#resolve(ip, placed.place, ways);
      const isRight =
        !missing.has(ip) && (typeof should === "string" || isSamePlaced(should, placed));
      this.#placed.set(ip, { ...placed, seenMs: isRight ? seenMs : undefined });
      if (!isRight) again.set(ip, placed.place);
      // The watchdog withdrew it, or whoever removed the route.
      if (missing.has(ip)) this.#offered.delete(ip);
    }
    await this.#unwatch(
      families.flatMap((n) =>
        (sets.get(wireSet("watched", n)) ?? [])
          .flatMap((key) => ipOfWireKey(key) ?? [])
          .filter((ip) => !this.#announced.has(ip) && !this.#probed.has(ip)),
      ),
    );
    const problems = await this.#place(again);
    if (this.#offeredUntilMs > this.#clock.nowMs()) {
      await this.#offer([...this.#announced.keys()].filter((ip) => !this.#offered.has(ip)));
    }
    if (wrongSets.length + leftovers.length + again.size === 0) return;
    this.#log.info("the kernel did not have virtual addresses where they were put, it was mended", {
      sets: wrongSets.map(([set]) => set),
      leftovers: leftovers.map(({ ip }) => ip),
      again: [...again.keys()],
      problems: [...(errors === "" ? [] : [errors]), ...problems.values()],
    });
  }

  #isProxied(ip: Ip, dev: string): boolean {
    return this.#placed.get(ip)?.uplinks.some(({ name }) => name === dev) === true;
  }

  /** The keys of the sets that say where addresses are, of `ports` their addresses. */
  async #listSets(): Promise<Elements> {
    const found = new Map<string, readonly string[]>();
    for (const table of [turnTable, wireTable]) {
      const list = await this.#nft.list(`table ${table}`);
      for (const item of asList(valueAt(list, "nftables"))) {
        const name = textAt(item, "set", "name");
        if (name === undefined) continue;
        const keys = asList(valueAt(item, "set", "elem")).map(
          (each) => asText(each) ?? asText(asList(valueAt(each, "concat"))[0]) ?? "",
        );
        found.set(`${table} ${name}`, keys);
      }
    }
    return found;
  }

  /** Takes over what an earlier process placed here, so that placing it again changes what is different. */
  async #adopt(kept: readonly Ip[]): Promise<void> {
    const { proxies, routes } = kept.length === 0 ? noFacts : await this.#routes.list();
    for (const ip of kept) {
      const names = proxies.filter((each) => each.ip === ip).map(({ dev }) => dev);
      const present = routes.find((each) => each.ip === ip);
      if (present?.protocol === offeredProtocol) this.#offered.add(ip);
      this.#placed.set(ip, {
        // Nothing new gets through for a moment; whether anything more may is known when the address is placed. Its pod is not known.
        place: { kind: "here", podIp: ip, way: { kind: "Route" }, sendsFromVip: false, ports: [] },
        route: present?.route,
        uplinks: this.#uplinks.filter(({ name }) => names.includes(name)),
        seenMs: undefined,
      });
    }
  }

  /** Reads which devices there are. */
  async #look(): Promise<void> {
    this.#lookedAtMs = this.#clock.nowMs();
    const [shown, ...tables] = await Promise.all([
      this.#ip(["-N", "-json", "-d", "address", "show"], ""),
      ...families.map((n) => this.#ip([`-${n}`, "-json", "route", "show"], "")),
    ]);
    const { links, addresses } = readLinks(JSON.parse(shown.stdout || "[]") as unknown);
    const routes = tables.flatMap(({ stdout }) => asList(JSON.parse(stdout || "[]") as unknown));
    const outward = new Set(
      routes
        .filter((route) => textAt(route, "dst") === "default")
        .map((route) => textAt(route, "dev")),
    );
    this.#neverClaimed = [
      ...addresses.map(({ ip, link }) => only(ip, `an address of this node, on ${link}`)),
      ...routes.flatMap((route) => {
        const gateway = parseIp(textAt(route, "gateway") ?? "");
        const isOurs = [`${offeredProtocol}`, `${ownProtocol}`].includes(
          textAt(route, "protocol") ?? "",
        );
        const dev = textAt(route, "dev") ?? "";
        return gateway === undefined || isOurs ? [] : [only(gateway, `the gateway of ${dev}`)];
      }),
    ];
    this.#uplinks = links
      .filter(
        ({ isLoopback, isUp, mac, master }) => !isLoopback && isUp && mac !== "" && master === "",
      )
      .map(({ name, index, mac }) => {
        const own = addresses.filter(({ link }) => link === name);
        const global = own.filter(({ scope }) => scope === "global");
        return {
          name,
          index,
          mac,
          ip4: global.find(({ ip }) => familyOf(ip) === "IPv4")?.ip,
          ip6: own.find(({ ip }) => ip.startsWith("fe80:"))?.ip,
          ranges: global.flatMap(({ ip, prefix }) => parseCidr(`${ip}/${prefix}`)?.range ?? []),
          isDefault: outward.has(name),
        };
      });
  }

  #claim(ips: readonly Ip[]): void {
    const frames = new Map<number, string[]>();
    for (const ip of ips.slice(0, claimsAtOnce)) {
      for (const uplink of this.#placed.get(ip)?.uplinks ?? []) {
        const list = frames.get(uplink.index) ?? [];
        list.push(...claimFrames(ip, uplink));
        frames.set(uplink.index, list);
      }
    }
    for (const [index, list] of frames) this.#speaker.send(index, list);
    const later = ips.slice(claimsAtOnce);
    if (later.length === 0) return;
    this.#clock.after(claimPauseMs, () =>
      this.#claim(later.filter((ip) => this.#announced.has(ip))),
    );
  }

  async #watch(ips: readonly Ip[]): Promise<void> {
    // An address that was here a moment ago may still be listened for, and its holder in between announced it, with every right.
    const fresh = ips.filter((ip) => !this.#listened.has(ip));
    for (const n of families) {
      const own = new Set(fresh.filter((ip) => familyDigit(ip) === n));
      if (own.size === 0) continue;
      const past = (await this.#heard(n)).filter(({ ip }) => own.has(ip));
      // What has run out meanwhile cannot be deleted: each by itself.
      for (const { key, mac } of past) {
        const element = `${key} . ${mac}`;
        await this.#nft.transact(elements("delete", wireSet("foreign", n), [element]));
      }
    }
    await this.#nft.change(
      "listen for other machines that claim an address",
      families.flatMap((n) =>
        elements(
          "add",
          wireSet("watched", n),
          ips.filter((ip) => familyDigit(ip) === n).map(wireKey),
        ),
      ),
    );
    for (const ip of ips) this.#listened.add(ip);
  }

  async #unwatch(ips: readonly Ip[]): Promise<void> {
    if (ips.length === 0) return;
    for (const ip of ips) this.#listened.delete(ip);
    await this.#nft.change(
      "listen no more for other machines",
      families.flatMap((n) => {
        const keys = ips.filter((ip) => familyDigit(ip) === n).map(wireKey);
        const set = wireSet("watched", n);
        return [...elements("add", set, keys), ...elements("delete", set, keys)];
      }),
    );
  }

  /** Gives routes of addresses that are answered for to a routing daemon. */
  async #offer(ips: readonly Ip[]): Promise<void> {
    const offered = ips.filter(
      (ip) => this.#announced.has(ip) && isOfferable(this.#placed.get(ip)),
    );
    for (const ip of offered) this.#offered.add(ip);
    await this.#putAgain(offered);
    await this.#callHook("add", offered);
  }

  async #withdraw(ips: readonly Ip[]): Promise<void> {
    // One that is announced again was opened again meanwhile.
    const withdrawn = ips.filter((ip) => this.#offered.has(ip) && !this.#announced.has(ip));
    for (const ip of withdrawn) this.#offered.delete(ip);
    await this.#putAgain(withdrawn);
    await this.#callHook("del", withdrawn);
  }

  async #putAgain(ips: readonly Ip[]): Promise<void> {
    const changes = ips.flatMap((ip) =>
      this.#changesOf(ip, this.#placed.get(ip), this.#placed.get(ip)),
    );
    this.#serial += 1;
    if (changes.length > 0) await this.#routes.change(changes);
  }

  async #callHook(verb: "add" | "del", ips: readonly Ip[]): Promise<void> {
    if (this.#routeHook === undefined) return;
    for (const ip of ips) {
      await runProgram({ file: this.#routeHook, args: [verb, ip], limitMs });
    }
  }

  #ip(args: readonly string[], input: string) {
    return this.#hostNetns === undefined
      ? runProgram({ file: "ip", args, input, limitMs })
      : runProgram({
          file: "nsenter",
          args: [`--net=${this.#hostNetns}`, "--", "ip", ...args],
          input,
          limitMs,
        });
  }
}

const noFacts: RouteFacts = { routes: [], proxies: [] };

/** What was read of the kernel. `ways`: to pods and nodes of what is placed. */
type Seen = {
  readonly seenMs: number;
  readonly facts: RouteFacts;
  readonly sets: Elements;
  readonly ways: ReadonlyMap<Ip, Way>;
};

type Entry = { readonly ip: Ip; readonly placed: Placed };

/** A claim on the wire. */
type Heard = { readonly ip: Ip; readonly key: string; readonly mac: string };

function only(ip: Ip, what: string): ForbiddenRange {
  const value = ipToNumber(ip);
  return { range: { first: value, last: value }, what };
}

/** Whether an address begins to be turned to this pod; what a process before this one turned goes on. */
function isNewHere(ip: Ip, before: VipPlace | undefined, now: VipPlace | undefined): boolean {
  if (now?.kind !== "here") return false;
  return before?.kind !== "here" || (before.podIp !== now.podIp && before.podIp !== ip);
}

function isOfferable(placed: Placed | undefined): boolean {
  return placed?.place.kind === "here" && placed.place.way.kind === "Route";
}

function isSamePlaced(a: Placed, b: Placed): boolean {
  const text = ({ place, route, uplinks }: Placed) =>
    JSON.stringify([
      place,
      routeText(route),
      uplinks.map(({ name, index, mac }) => [name, index, mac]),
    ]);
  return text(a) === text(b);
}

function routeText(route: VipRoute | undefined): string {
  return route?.kind === "device"
    ? `${route.dev} ${route.via ?? ""} ${route.isOnlink === true ? "onlink" : ""}`
    : `${route?.kind}`;
}

/** The elements of every set that says where addresses are; of empty ones too. */
function elementsOf(entries: readonly Entry[]): Elements {
  return new Map(
    families.flatMap((n): (readonly [string, readonly string[]])[] => {
      const own = entries.filter(({ ip }) => familyDigit(ip) === n);
      const ips = own.map(({ ip }) => ip);
      const limited = own.flatMap(({ ip, placed: { place } }) =>
        place.kind === "here" && place.ports !== undefined ? [{ ip, ports: place.ports }] : [],
      );
      return [
        [turnSet("known", n), ips],
        [wireSet("known", n), ips.map(wireKey)],
        [
          turnSet("here", n),
          own.filter(({ placed }) => placed.place.kind === "here").map(({ ip }) => ip),
        ],
        [turnSet("limited", n), limited.map(({ ip }) => ip)],
        [
          turnSet("ports", n),
          limited.flatMap(({ ip, ports }) =>
            ports.map(
              ({ protocol, first, last }) =>
                `${ip} . ${protocol} . ${first === last ? first : `${first}-${last}`}`,
            ),
          ),
        ],
      ];
    }),
  );
}

function commandsOf(verb: "add" | "delete", sets: Elements): readonly string[] {
  return [...sets].flatMap(([set, texts]) => elements(verb, set, texts));
}

/** The address that an element begins with, however it is spelled. */
function addressIn(element: string): string {
  const [key = ""] = element.split(" ");
  return ipOfWireKey(key) ?? key;
}

function textOf(keys: readonly string[]): string {
  return keys.map(addressIn).toSorted().join();
}

/** Whether a name matches a pattern in which `*` stands for anything; several patterns have commas between them. */
function matches(name: string, pattern: string): boolean {
  return pattern.split(",").some((each) => {
    const parts = each
      .trim()
      .split("*")
      .map((part) => part.replaceAll(/[^A-Za-z0-9]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(name);
  });
}

function ipOfWireKey(key: string): Ip | undefined {
  return key.startsWith("0x") ? ipFromNumber(BigInt(key)) : parseIp(key);
}
