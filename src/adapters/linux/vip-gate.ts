// The kernel's gate on nftables: an address is answered for while it is an element of sets whose elements run out by themselves. Routes,
// neighbour proxies and announcements are another file's affair (vip-network.ts).

import type { Ip } from "../../core/ip.ts";
import { parseIp } from "../../core/ip.ts";
import type { GateEntry, GateOutcome, GatePermit, VipGate } from "../../ports/vip-gate.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, valueAt } from "../../wire/json-value.ts";
import type { NftSession } from "./nft-session.ts";
import {
  elements,
  familyDigit,
  noTables,
  tablesText,
  turnSet,
  turnTable,
  wireKey,
  wireSet,
} from "./vip-rules.ts";

const families = ["4", "6"] as const;

/** One node's gate. */
export class NftVipGate implements VipGate {
  readonly #nft: NftSession;
  readonly #speaksAsAddress: (ip: Ip) => boolean;
  /** What is in the maps that turn traffic to pods. */
  readonly #turned = new Map<Ip, GateEntry>();
  /** What was opened and not closed; it may have run out. */
  readonly #opened = new Set<Ip>();
  /** The address as which new flows of a pod leave, by the pod's. */
  readonly #speaking = new Map<Ip, Ip>();
  #serial = 1 + Math.floor(Math.random() * 2 ** 30);
  #hasTables = false;
  /** What is said to the kernel follows from what it was told before: one call after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param options `speaksAsAddress`: whether new flows of the pod leave with this address (annotation `egress`); asked when it is opened
   */
  constructor(nft: NftSession, options: { readonly speaksAsAddress?: (ip: Ip) => boolean } = {}) {
    this.#nft = nft;
    this.#speaksAsAddress = options.speaksAsAddress ?? (() => false);
  }

  /** Makes the tables where they are missing, and learns what another process left in them; nothing that is open is closed. */
  ensureTables(): Promise<void> {
    return this.#inTurn(() => this.#ensureTables());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #ensureTables(): Promise<void> {
    const made = await this.#nft.transact(tablesText());
    if (made.kind === "refused") {
      // Sets of another version may have the same names and other types.
      await this.#nft.change("make the tables of virtual addresses", [
        ...noTables(),
        ...tablesText(),
      ]);
    }
    this.#hasTables = true;
    // What pods speak as comes with the next opening; whose it was is not written there.
    await this.#nft.change(
      "forget as what pods speak",
      families.map((family) => `flush map ${turnSet("egress", family)}`),
    );
    this.#turned.clear();
    this.#opened.clear();
    this.#speaking.clear();
    for (const { ip } of await this.#answeringNow()) this.#opened.add(ip);
    for (const entry of await this.#listTurned()) this.#turned.set(entry.ip, entry);
    // Turned and not open: its time ran out when nobody was there, or its closing failed.
    const over = [...this.#turned.keys()].filter((ip) => !this.#opened.has(ip));
    if (over.length > 0) await this.#close(over);
    const turned = [...this.#turned.values()];
    await this.#nft.change(
      "note which address a pod called that calls itself",
      families.flatMap((family) => {
        const set = turnSet("hairpin", family);
        const own = turned.filter(({ ip }) => familyDigit(ip) === family);
        return [`flush map ${set}`, ...elements("add", set, own.map(hairpinOf))];
      }),
    );
  }

  arm(withinMs: number): Promise<GatePermit> {
    return this.#inTurn(() => this.#arm(withinMs));
  }

  async #arm(withinMs: number): Promise<GatePermit> {
    if (!this.#hasTables) await this.#ensureTables();
    this.#serial += 1;
    const serial = this.#serial;
    await this.#nft.change("permit an opening", [
      `flush set ${turnTable} armed`,
      `add element ${turnTable} armed { ${serial} timeout ${wholeMs(withinMs)} }`,
    ]);
    return { serial };
  }

  open(permit: GatePermit, entries: readonly GateEntry[], leftMs: number): Promise<GateOutcome> {
    return this.#inTurn(() => this.#open(permit, entries, leftMs));
  }

  async #open(
    permit: GatePermit,
    entries: readonly GateEntry[],
    leftMs: number,
  ): Promise<GateOutcome> {
    const timeout = `timeout ${wholeMs(leftMs)}`;
    const outcome = await this.#nft.transact([
      // The kernel looks at its own clock here: where the permit has run out, nothing of this takes effect.
      ...elements("delete", `${turnTable} armed`, [String(permit.serial)]),
      ...families.flatMap((family) => {
        const own = entries.filter(({ ip }) => familyDigit(ip) === family);
        if (own.length === 0) return [];
        return [
          ...this.#turnTo(family, own),
          ...this.#renew(family, own, timeout),
          ...this.#speakAs(family, own, timeout),
        ];
      }),
    ]);
    if (outcome.kind === "refused") {
      if (/Could not process rule: No such file/.test(outcome.errors)) return { kind: "late" };
      this.#hasTables = false;
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried: `answer for ${entries.length} virtual addresses`,
        message: `nft refused it: ${outcome.errors.slice(0, 300)}`,
      });
    }
    for (const entry of entries) {
      this.#turned.set(entry.ip, entry);
      this.#opened.add(entry.ip);
    }
    for (const [podIp, ip] of this.#speakersOf(entries)) this.#speaking.set(podIp, ip);
    return { kind: "open" };
  }

  async close(ips: readonly Ip[]): Promise<void> {
    if (ips.length > 0) await this.#inTurn(() => this.#close(ips));
  }

  async #close(ips: readonly Ip[]): Promise<void> {
    if (!this.#hasTables) await this.#ensureTables();
    let outcome = await this.#nft.transact(this.#closing(ips));
    if (outcome.kind === "refused") {
      // What the kernel has is not what was thought, as after a transaction whose end nobody saw: it is read again.
      await this.#ensureTables();
      outcome = await this.#nft.transact(this.#closing(ips));
    }
    if (outcome.kind === "refused") {
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried: `answer no more for ${ips.join(", ")}`,
        message: `nft refused it: ${outcome.errors.slice(0, 300)}`,
      });
    }
    for (const ip of ips) {
      this.#turned.delete(ip);
      this.#opened.delete(ip);
    }
    for (const [podIp, ip] of this.#speaking) if (ips.includes(ip)) this.#speaking.delete(podIp);
  }

  #closing(ips: readonly Ip[]): readonly string[] {
    return families.flatMap((family) => {
      const own = ips.filter((ip) => familyDigit(ip) === family);
      const speakers = [...this.#speaking].flatMap(([podIp, ip]) =>
        own.includes(ip) ? [podIp] : [],
      );
      return [
        ...remove(turnSet("open", family), own),
        ...remove(wireSet("open", family), own.map(wireKey)),
        ...this.#turnBack(family, own),
        ...this.#speakNoMore(family, speakers),
      ];
    });
  }

  clear(): Promise<void> {
    return this.#inTurn(() => this.#clear());
  }

  async #clear(): Promise<void> {
    if (!this.#hasTables) await this.#ensureTables();
    await this.#nft.change("answer for no virtual address", [
      `flush set ${turnTable} armed`,
      ...families.flatMap((family) => [
        `flush set ${turnSet("open", family)}`,
        `flush set ${wireSet("open", family)}`,
        `flush map ${turnSet("to", family)}`,
        `flush map ${turnSet("hairpin", family)}`,
        `flush map ${turnSet("egress", family)}`,
      ]),
    ]);
    this.#turned.clear();
    this.#opened.clear();
    this.#speaking.clear();
  }

  answering(): Promise<readonly GateEntry[]> {
    return this.#inTurn(() => this.#answering());
  }

  async #answering(): Promise<readonly GateEntry[]> {
    if (!this.#hasTables) await this.#ensureTables();
    return this.#answeringNow();
  }

  async #answeringNow(): Promise<readonly GateEntry[]> {
    const lists = await Promise.all(
      families.map((family) => this.#nft.list(`set ${turnSet("open", family)}`)),
    );
    const open = new Set(lists.flatMap((list) => elementsOf(list).map(keyOf)));
    return (await this.#listTurned()).filter(({ ip }) => open.has(ip));
  }

  async #listTurned(): Promise<readonly GateEntry[]> {
    const lists = await Promise.all(
      families.map((family) => this.#nft.list(`map ${turnSet("to", family)}`)),
    );
    return lists.flatMap((list) =>
      elementsOf(list).flatMap((element): readonly GateEntry[] => {
        const [key, value] = asList(element);
        const ip = parseIp(keyOf(key));
        const podIp = parseIp(asText(value) ?? "");
        const epoch = Number(asText(valueAt(key, "elem", "comment")) ?? "0");
        return ip === undefined || podIp === undefined ? [] : [{ ip, epoch, podIp }];
      }),
    );
  }

  /** Turns traffic to these pods; what is right already stays. */
  #turnTo(family: "4" | "6", entries: readonly GateEntry[]): readonly string[] {
    const changed = entries.filter(({ ip, podIp, epoch }) => {
      const present = this.#turned.get(ip);
      return present?.podIp !== podIp || present.epoch !== epoch;
    });
    return [
      ...this.#turnBack(
        family,
        changed.map(({ ip }) => ip),
      ),
      ...elements(
        "add",
        turnSet("to", family),
        changed.map(({ ip, podIp, epoch }) => `${ip} comment "${epoch}" : ${podIp}`),
      ),
      ...elements("add", turnSet("hairpin", family), changed.map(hairpinOf)),
    ];
  }

  #turnBack(family: "4" | "6", ips: readonly Ip[]): readonly string[] {
    const present = ips.flatMap((ip) => this.#turned.get(ip) ?? []);
    const own = present.filter(({ ip }) => familyDigit(ip) === family);
    return [
      ...elements(
        "delete",
        turnSet("to", family),
        own.map(({ ip }) => ip),
      ),
      ...elements(
        "delete",
        turnSet("hairpin", family),
        own.map(({ ip, podIp }) => `${podIp} . ${ip}`),
      ),
    ];
  }

  /** For each pod that speaks as an address the first of these entries that it may speak as. */
  #speakersOf(entries: readonly GateEntry[]): ReadonlyMap<Ip, Ip> {
    const speakers = new Map<Ip, Ip>();
    for (const { ip, podIp } of entries) {
      const present = this.#speaking.get(podIp);
      const isOther = present !== undefined && present !== ip && this.#opened.has(present);
      if (!isOther && !speakers.has(podIp) && this.#speaksAsAddress(ip)) speakers.set(podIp, ip);
    }
    return speakers;
  }

  #speakAs(family: "4" | "6", entries: readonly GateEntry[], timeout: string): readonly string[] {
    const speakers = [...this.#speakersOf(entries)];
    return [
      ...this.#speakNoMore(
        family,
        speakers.map(([podIp]) => podIp),
      ),
      ...elements(
        "add",
        turnSet("egress", family),
        speakers.map(([podIp, ip]) => `${podIp} ${timeout} : ${ip}`),
      ),
    ];
  }

  /** An element of a map that is there can be added again with what it has only, and one that has run out cannot be deleted. */
  #speakNoMore(family: "4" | "6", podIps: readonly Ip[]): readonly string[] {
    const present = podIps.flatMap((podIp) => {
      const ip = this.#speaking.get(podIp);
      return ip === undefined ? [] : [{ podIp, ip }];
    });
    const set = turnSet("egress", family);
    return [
      ...elements(
        "add",
        set,
        present.map(({ podIp, ip }) => `${podIp} timeout 1s : ${ip}`),
      ),
      ...elements(
        "delete",
        set,
        present.map(({ podIp }) => podIp),
      ),
    ];
  }

  /** Adding an element that is there does not restart its time, and deleting one that has run out fails: both are done in one transaction. */
  #renew(family: "4" | "6", entries: readonly GateEntry[], timeout: string): readonly string[] {
    const named = new Set(entries.map(({ ip }) => ip));
    const others = [...this.#opened].some((ip) => familyDigit(ip) === family && !named.has(ip));
    const ips = [...named];
    return [
      { set: turnSet("open", family), keys: ips },
      { set: wireSet("open", family), keys: ips.map(wireKey) },
    ].flatMap(({ set, keys }) => [
      ...(others ? remove(set, keys) : [`flush set ${set}`]),
      ...elements(
        "add",
        set,
        keys.map((key) => `${key} ${timeout}`),
      ),
    ]);
  }
}

function hairpinOf({ ip, podIp }: GateEntry): string {
  return `${podIp} . ${ip} : ${ip}`;
}

/** Removes elements that may have run out. */
function remove(set: string, keys: readonly string[]): readonly string[] {
  return [
    ...elements(
      "add",
      set,
      keys.map((key) => `${key} timeout 1s`),
    ),
    ...elements("delete", set, keys),
  ];
}

function wholeMs(ms: number): string {
  return `${Math.max(1, Math.floor(ms))}ms`;
}

/** The elements of the one set or map of a `nft -j list`. */
function elementsOf(list: unknown): readonly unknown[] {
  return asList(valueAt(list, "nftables")).flatMap((item) =>
    asList(valueAt(item, "set", "elem") ?? valueAt(item, "map", "elem")),
  );
}

/** The key of an element, with or without a time or a comment. */
function keyOf(element: unknown): string {
  return asText(element) ?? asText(valueAt(element, "elem", "val")) ?? "";
}
