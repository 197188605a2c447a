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
import {
  elements,
  familyDigit,
  tablesText,
  turnSet,
  turnTable,
  uplinkChains,
  wireKey,
  wireSet,
} from "./vip-rules.ts";
import type { VipSpeaker } from "./vip-speaker.ts";
import { offeredProtocol } from "./vip-speaker.ts";

const families = ["4", "6"] as const;

/** Protocol of our routes and neighbour proxies that are offered to nobody. */
const ownProtocol = 158;

const limitMs = 10_000;

/** After taking over: the first two for who listens, the others for kernels that do not believe a second one at once; then now and then. */
const announceAtMs = [0, 100, 1_100, 2_200, 5_000];
const announceEveryMs = 60_000;

/** Addresses that are announced at once: a kernel keeps a thousand frames that come in at most, and drops the same ones each time. */
const claimsAtOnce = 32;
const claimPauseMs = 5;

/** What was put somewhere and looked at lately is not looked at again when it is to be put there: programs take longer than the kernel. */
const sureMs = 1_000;

const probeMs = 250;
const lookAtDevicesMs = 10_000;

/** A device that virtual addresses can be answered for on. */
type Uplink = FrameSource & {
  readonly name: string;
  readonly index: number;
  readonly ranges: readonly IpRange[];
  readonly isDefault: boolean;
};

/** Where an address was put. */
type Placed = {
  readonly place: VipPlace;
  /** Of `ip route`, behind the destination; undefined: there is no route. */
  readonly route: string | undefined;
  readonly uplinks: readonly Uplink[];
  /** When that was seen to be so; undefined: before it was. */
  readonly seenMs?: number;
};

/** The network of one node. */
export class LinuxVipNetwork implements VipNetwork {
  readonly #nft: NftSession;
  readonly #speaker: VipSpeaker;
  readonly #host: HostNetwork;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #hostNetns: string | undefined;
  readonly #routeHook: string | undefined;
  readonly #placed = new Map<Ip, Placed>();
  readonly #announced = new Map<Ip, symbol>();
  readonly #readyUplinks = new Map<string, number>();
  #uplinks: readonly Uplink[] = [];
  #neverClaimed: readonly ForbiddenRange[] = [];
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param ports `host` sets sysctls in the same namespace that `nft` and `speaker` work in, which is `hostNetns` when it is said;
   *   `routeHook`: a program that is called with `add ADDRESS` and `del ADDRESS` for addresses that are offered as routes
   */
  constructor(ports: {
    readonly nft: NftSession;
    readonly speaker: VipSpeaker;
    readonly host: HostNetwork;
    readonly clock: Clock;
    readonly log: Log;
    readonly hostNetns?: string;
    readonly routeHook?: string;
  }) {
    this.#nft = ports.nft;
    this.#speaker = ports.speaker;
    this.#host = ports.host;
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
    return this.#inTurn(async () => {
      await this.#nft.change("make the tables of virtual addresses", tablesText());
      await this.#look();
      await this.#adopt(kept, await this.#removeLeftovers(new Set(kept)));
    });
  }

  neverClaimed(): readonly ForbiddenRange[] {
    return this.#neverClaimed;
  }

  place(places: ReadonlyMap<Ip, VipPlace | undefined>): Promise<ReadonlyMap<Ip, string>> {
    return this.#inTurn(() => this.#place(places));
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
    this.#speaker.tellNetfilter(fresh.map(forgetFlowsMessage));
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
    for (const ip of ips) this.#announced.delete(ip);
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
      await this.#inTurn(() => this.#look());
    }
    const found = new Map<Ip, string>();
    const own = new Set(this.#uplinks.map(({ mac }) => mac));
    for (const family of families) {
      const list = await this.#nft.list(`set ${wireSet("foreign", family)}`);
      for (const item of asList(valueAt(list, "nftables"))) {
        for (const element of asList(valueAt(item, "set", "elem"))) {
          const [key, mac] = asList(valueAt(element, "elem", "val", "concat")).map(
            (each) => asText(each) ?? "",
          );
          const ip = key === undefined ? undefined : ipOfWireKey(key);
          if (ip === undefined || mac === undefined || own.has(mac)) continue;
          const names = this.#placed.get(ip)?.uplinks.map(({ name }) => name) ?? [];
          found.set(ip, `${mac} on ${names.join(", ")}`);
        }
      }
    }
    return found;
  }

  offerFor(leftMs: number): void {
    const isOffering = [...this.#announced.keys()].some((ip) => isOffered(this.#placed.get(ip)));
    if (isOffering) this.#speaker.offerFor(leftMs);
  }

  async stop(leave: boolean): Promise<void> {
    this.#announced.clear();
    if (!leave) {
      await this.#inTurn(async () => {
        await this.#withdraw([...this.#placed.keys()]);
        await this.#removeLeftovers(new Set());
        this.#placed.clear();
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
      else if (!isSamePlaced(placed, this.#placed.get(ip))) wanted.set(ip, placed);
    }
    if (wanted.size === 0) return problems;
    await this.#readyUplinksOf([...wanted.values()]);
    await this.#nft.change(
      `place ${wanted.size} virtual addresses`,
      families.flatMap((family) => this.#setsOf(family, wanted)),
    );
    const lines = { "4": [] as string[], "6": [] as string[] };
    for (const [ip, placed] of wanted) {
      lines[familyDigit(ip)].push(...linesOf(ip, this.#placed.get(ip), placed));
      if (placed === undefined) this.#placed.delete(ip);
      else this.#placed.set(ip, placed);
    }
    const here = [...wanted].filter(([, placed]) => placed?.place.kind === "here");
    if (here.length === 0) {
      await Promise.all(families.map((n) => this.#batch(n, lines[n])));
      return problems;
    }
    const seenMs = this.#clock.nowMs();
    // In one process each: starting one costs more than all that it does.
    const ours = await this.#ours(
      families.filter((n) => lines[n].length > 0),
      lines,
    );
    const errors = ours.errors;
    const missing = new Set(
      this.#missing(
        here.map(([ip]) => ip),
        ours,
      ),
    );
    for (const [ip, placed] of here) {
      if (missing.has(ip)) {
        this.#placed.delete(ip);
        problems.set(ip, `its route or neighbour proxy is not there (ip: ${errors.slice(0, 300)})`);
      } else if (placed !== undefined) this.#placed.set(ip, { ...placed, seenMs });
    }
    return problems;
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
    switch (place.kind) {
      case "nowhere":
        return { place, route: "unreachable", uplinks: [] };
      case "there": {
        const nodeIp = place.nodeIps.find((each) => familyOf(each) === familyOf(ip));
        const toNode = nodeIp === undefined ? undefined : ways.get(nodeIp);
        if (toNode !== undefined && toNode.via === undefined) {
          return { place, route: `via ${nodeIp} dev ${toNode.dev}`, uplinks: [] };
        }
        // Nodes of other networks are reached like their pods: through the overlay, where there is one.
        const toPod = ways.get(place.podIp);
        const hop = toPod?.via === undefined ? "" : `via ${toPod.via} `;
        const route =
          toPod === undefined ? undefined : `${hop}dev ${toPod.dev}${hop === "" ? "" : " onlink"}`;
        return { place, route, uplinks: [] };
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
        return { place, route: `dev ${dev}`, uplinks };
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
    const ways = new Map<Ip, Way>();
    const answers = await Promise.all(
      families.map(async (n) => {
        const own = [...asked].filter((ip) => familyDigit(ip) === n);
        if (own.length === 0) return "";
        const lines = own.map((ip) => `route get ${ip}\n`).join("");
        const end = await this.#ip([`-${n}`, "-json", "-force", "-batch", "-"], lines);
        return end.stdout;
      }),
    );
    for (const line of answers.join("").split("\n")) {
      if (!line.startsWith("[")) continue;
      const [answer] = asList(JSON.parse(line) as unknown);
      const ip = parseIp(textAt(answer, "dst") ?? "");
      const dev = textAt(answer, "dev");
      if (ip === undefined || dev === undefined || dev === "lo") continue;
      ways.set(ip, { dev, via: parseIp(textAt(answer, "gateway") ?? "") });
    }
    return ways;
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

  /** Commands that change the sets from what they are to what is wanted. */
  #setsOf(family: "4" | "6", wanted: ReadonlyMap<Ip, Placed | undefined>): readonly string[] {
    const own = [...wanted].filter(([ip]) => familyDigit(ip) === family);
    const before = own.flatMap(([ip]) => {
      const placed = this.#placed.get(ip);
      return placed === undefined ? [] : [{ ip, placed }];
    });
    const now = own.flatMap(([ip, placed]) => (placed === undefined ? [] : [{ ip, placed }]));
    const change = (verb: "add" | "delete", list: typeof now) => {
      const ips = list.map(({ ip }) => ip);
      const here = list.filter(({ placed }) => placed.place.kind === "here").map(({ ip }) => ip);
      const ports = list.flatMap(({ ip, placed: { place } }) =>
        place.kind === "here" && place.ports !== undefined ? [{ ip, ports: place.ports }] : [],
      );
      return [
        ...elements(verb, turnSet("known", family), ips),
        ...elements(verb, wireSet("known", family), ips.map(wireKey)),
        ...elements(verb, turnSet("here", family), here),
        ...elements(
          verb,
          turnSet("limited", family),
          ports.map(({ ip }) => ip),
        ),
        ...elements(
          verb,
          turnSet("ports", family),
          ports.flatMap((each) =>
            each.ports.map(({ protocol, first, last }) =>
              first === last
                ? `${each.ip} . ${protocol} . ${first}`
                : `${each.ip} . ${protocol} . ${first}-${last}`,
            ),
          ),
        ),
      ];
    };
    return [...change("delete", before), ...change("add", now)];
  }

  /** Those whose route and proxies are not in the kernel as they should be. */
  #missing(ips: readonly Ip[], { routes, proxies }: Ours): readonly Ip[] {
    return ips.filter((ip) => {
      const placed = this.#placed.get(ip);
      const dev = placed?.route?.replace("dev ", "");
      const isRouted = routes.some((each) => each.ip === ip && each.dev === dev);
      const isProxied = placed?.uplinks.every(({ name }) =>
        proxies.some((each) => each.ip === ip && each.dev === name),
      );
      return !isRouted || isProxied !== true;
    });
  }

  /** Routes and neighbour proxies with our protocols, after these lines of `ip -batch` were carried out. */
  async #ours(
    asked: readonly ("4" | "6")[] = families,
    first: Readonly<Record<"4" | "6", readonly string[]>> = { "4": [], "6": [] },
  ): Promise<Ours> {
    const lines = `route show proto ${ownProtocol}\nroute show proto ${offeredProtocol}\nneigh show proxy\n`;
    const ends = await Promise.all(
      asked.map((n) => {
        const before = first[n].map((line) => `${line}\n`).join("");
        return this.#ip([`-${n}`, "-N", "-json", "-force", "-batch", "-"], before + lines);
      }),
    );
    const routes: { ip: Ip; dev: string }[] = [];
    const proxies: { ip: Ip; dev: string }[] = [];
    for (const { stdout } of ends) {
      for (const line of stdout.split("\n").filter((each) => each.startsWith("["))) {
        for (const item of asList(JSON.parse(line) as unknown)) {
          const ip = parseIp((textAt(item, "dst") ?? "").replace(/\/(?:32|128)$/, ""));
          const dev = textAt(item, "dev") ?? "";
          if (ip === undefined) continue;
          const isProxy = valueAt(item, "proxy") !== undefined;
          if (!isProxy) routes.push({ ip, dev });
          // A number or its text, by the version of iproute2.
          else if (JSON.stringify(valueAt(item, "protocol"))?.includes(`${ownProtocol}`)) {
            proxies.push({ ip, dev });
          }
        }
      }
    }
    return { routes, proxies, errors: ends.map(({ stderr }) => stderr).join("") };
  }

  /** Removes routes, proxies and elements of addresses that are not to be kept. @returns the proxies of those that are */
  async #removeLeftovers(kept: ReadonlySet<Ip>) {
    const { routes, proxies } = await this.#ours();
    for (const n of families) {
      const isStale = ({ ip }: { readonly ip: Ip }) => familyDigit(ip) === n && !kept.has(ip);
      await this.#batch(n, [
        ...routes.filter(isStale).map(({ ip }) => `route del ${ip}`),
        ...proxies.filter(isStale).map(({ ip, dev }) => `neigh del proxy ${ip} dev ${dev}`),
      ]);
      const stays = [...kept].filter((ip) => familyDigit(ip) === n);
      await this.#nft.change("forget virtual addresses", [
        ...(["known", "here", "limited", "ports"] as const).map(
          (set) => `flush set ${turnSet(set, n)}`,
        ),
        `flush set ${wireSet("known", n)}`,
        `flush set ${wireSet("watched", n)}`,
        ...elements("add", turnSet("known", n), stays),
        ...elements("add", turnSet("here", n), stays),
        // Nothing new gets through for a moment; whether anything more may is known when the address is placed.
        ...elements("add", turnSet("limited", n), stays),
        ...elements("add", wireSet("known", n), stays.map(wireKey)),
      ]);
    }
    return proxies.filter(({ ip }) => kept.has(ip));
  }

  /** Takes over what an earlier process placed here, so that placing it again changes what is different. */
  async #adopt(
    kept: readonly Ip[],
    proxies: readonly { readonly ip: Ip; readonly dev: string }[],
  ): Promise<void> {
    for (const ip of kept) {
      const names = proxies.filter((each) => each.ip === ip).map(({ dev }) => dev);
      this.#placed.set(ip, {
        place: { kind: "here", podIp: ip, way: { kind: "Route" }, sendsFromVip: false, ports: [] },
        route: "of the process before",
        uplinks: this.#uplinks.filter(({ name }) => names.includes(name)),
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
  }

  async #unwatch(ips: readonly Ip[]): Promise<void> {
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
    const offered = ips.filter((ip) => this.#announced.has(ip) && isOffered(this.#placed.get(ip)));
    await this.#protocolOf(offered, offeredProtocol);
    await this.#callHook("add", offered);
  }

  async #withdraw(ips: readonly Ip[]): Promise<void> {
    // One that is announced again was opened again meanwhile.
    const withdrawn = ips.filter(
      (ip) => isOffered(this.#placed.get(ip)) && !this.#announced.has(ip),
    );
    await this.#protocolOf(withdrawn, ownProtocol);
    await this.#callHook("del", withdrawn);
  }

  async #protocolOf(ips: readonly Ip[], protocol: number): Promise<void> {
    for (const n of families) {
      const own = ips.filter((ip) => familyDigit(ip) === n);
      await this.#batch(
        n,
        own.flatMap((ip) => routeLines(ip, this.#placed.get(ip)?.route, protocol)),
      );
    }
  }

  async #callHook(verb: "add" | "del", ips: readonly Ip[]): Promise<void> {
    if (this.#routeHook === undefined) return;
    for (const ip of ips) {
      await runProgram({ file: this.#routeHook, args: [verb, ip], limitMs });
    }
  }

  /** @returns what ip complained of; a line that fails does not keep the others from being done */
  async #batch(family: "4" | "6", lines: readonly string[]): Promise<string> {
    if (lines.length === 0) return "";
    const text = lines.map((line) => `${line}\n`).join("");
    const { stderr } = await this.#ip([`-${family}`, "-force", "-batch", "-"], text);
    return stderr;
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

/** What of ours the kernel has. `errors`: what ip complained of. */
type Ours = {
  readonly routes: readonly { readonly ip: Ip; readonly dev: string }[];
  readonly proxies: readonly { readonly ip: Ip; readonly dev: string }[];
  readonly errors: string;
};

/** Where the kernel sends packets to an address. */
type Way = { readonly dev: string; readonly via: Ip | undefined };

function only(ip: Ip, what: string): ForbiddenRange {
  const value = ipToNumber(ip);
  return { range: { first: value, last: value }, what };
}

function isOffered(placed: Placed | undefined): boolean {
  return placed?.place.kind === "here" && placed.place.way.kind === "Route";
}

function isSamePlaced(a: Placed | undefined, b: Placed | undefined): boolean {
  const text = (placed: Placed | undefined) =>
    JSON.stringify([
      placed?.place,
      placed?.route,
      placed?.uplinks.map(({ name, index, mac }) => [name, index, mac]),
    ]);
  return text(a) === text(b);
}

/** Lines for `ip -batch` that change route and proxies of an address. */
function linesOf(ip: Ip, before: Placed | undefined, now: Placed | undefined): readonly string[] {
  const names = (placed: Placed | undefined) => placed?.uplinks.map(({ name }) => name) ?? [];
  const old = names(before).filter((name) => !names(now).includes(name));
  return [
    ...old.map((name) => `neigh del proxy ${ip} dev ${name}`),
    ...(now?.route === undefined ? (before?.route === undefined ? [] : [`route del ${ip}`]) : []),
    ...(now === undefined ? [] : routeLines(ip, now.route, ownProtocol)),
    ...names(now).map((name) => `neigh replace proxy ${ip} dev ${name} protocol ${ownProtocol}`),
  ];
}

function routeLines(ip: Ip, route: string | undefined, protocol: number): readonly string[] {
  if (route === undefined) return [];
  return route === "unreachable"
    ? [`route replace unreachable ${ip} proto ${protocol}`]
    : [`route replace ${ip} ${route} proto ${protocol}`];
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
