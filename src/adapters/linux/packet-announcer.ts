// The Announcer port without child programs: announcements are frames out of packet sockets in the namespace of the device, and the wire is
// asked by the kernel, with the node's own address as sender (`NTF_USE`, what `ip neigh … use` does). Beside announcer.ts, which does the
// same with programs where there are no system calls.

import { setTimeout as pause } from "node:timers/promises";
import type { Announcement, Probe } from "../../core/cni-plan.ts";
import type { Ip } from "../../core/ip.ts";
import type { Announcer, Conflict } from "../../ports/announcer.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { NeighbourEntry } from "./netlink-facts.ts";
import { listRequests, namesOf, readLinkList, readNeighbourList } from "./netlink-facts.ts";
import { attribute, flag, message, rt } from "./netlink-message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { ipBytes, linkRequest, neighbourHead } from "./netlink-steps.ts";
import type { SystemCalls } from "./system-calls.ts";
import { socketNumbers } from "./system-calls.ts";
import { claimFrames } from "./vip-frames.ts";

/** A probe can be lost; it is sent this often within its time. */
const probeRounds = 2;
const pollMs = 20;

/** States of linux/neighbour.h: somebody answered (reachable, stale, delay, probe), or somebody set it (noarp, permanent). */
const answered = 0x02 | 0x04 | 0x08 | 0x10;
const wasSet = 0x40 | 0x80;

/** Speaks for the host's namespace: that of this process, or the one at `hostNetns`. */
export class PacketAnnouncer implements Announcer {
  readonly #calls: SystemCalls;
  readonly #hostNetns: string | undefined;

  constructor(calls: SystemCalls, options: { readonly hostNetns?: string } = {}) {
    this.#calls = calls;
    this.#hostNetns = options.hostNetns;
  }

  async announce(announcements: readonly Announcement[], netns: string): Promise<void> {
    for (const { place, link, ips } of announcements) {
      try {
        await this.#announceFrom(place === "pod" ? netns : this.#hostNetns, link, ips);
      } catch (error) {
        throw new WorldError("ANNOUNCEMENT_FAILED", {
          tried: `announce ${ips.join(", ")} on ${link} of the ${place}`,
          message: error instanceof Error ? error.message : String(error),
          cause: error,
        });
      }
    }
  }

  async probe(probes: readonly Probe[], limitMs: number): Promise<readonly Conflict[]> {
    if (probes.length === 0) return [];
    using socket = NetlinkSocket.open(this.#calls, this.#hostNetns);
    const wire = await Wire.look(socket, probes);
    const deadlineMs = performance.now() + limitMs;
    try {
      for (let round = 1; round <= probeRounds; round += 1) {
        // An entry from before is no answer, and one that failed is not asked again.
        await wire.forget();
        await wire.ask();
        const roundEndsMs = deadlineMs - (limitMs * (probeRounds - round)) / probeRounds;
        do {
          const found = await wire.answers();
          if (found.length > 0) return found;
          await pause(pollMs);
        } while (performance.now() < roundEndsMs);
      }
      return [];
    } finally {
      await wire.forget();
    }
  }

  async #announceFrom(netns: string | undefined, link: string, ips: readonly Ip[]): Promise<void> {
    using socket = NetlinkSocket.open(this.#calls, netns);
    const list = await socket.request(linkRequest(link));
    const [device] = readLinkList(list, namesOf(list));
    if (device === undefined || device.mac === "") throw new Error(`${link} has no MAC address`);
    const { mac, index } = device;
    // Without a protocol it hears nothing.
    const open = () => this.#calls.openSocket(socketNumbers.packet, socketNumbers.raw, 0);
    const packets = netns === undefined ? open() : this.#calls.inNamespace(netns, open);
    try {
      for (const ip of ips) {
        for (const frame of claimFrames(ip, { mac, ip4: undefined, ip6: undefined })) {
          this.#calls.sendFrame(packets, Buffer.from(frame, "hex"), index);
        }
      }
    } finally {
      this.#calls.closeSlowly(packets);
    }
  }
}

/** Neighbours of the addresses that are asked for. */
class Wire {
  readonly #socket: NetlinkSocket;
  readonly #probes: readonly (Probe & { readonly index: number })[];

  private constructor(
    socket: NetlinkSocket,
    probes: readonly (Probe & { readonly index: number })[],
  ) {
    this.#socket = socket;
    this.#probes = probes;
  }

  static async look(socket: NetlinkSocket, probes: readonly Probe[]): Promise<Wire> {
    const links = namesOf(await socket.request(listRequests.links()));
    const found = probes.map((probe) => {
      const [index] = [...links].find(([, name]) => name === probe.link) ?? [];
      if (index !== undefined) return { ...probe, index };
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `ask for ${probe.ip} on ${probe.link}`,
        message: `the node has no device ${probe.link}`,
      });
    });
    return new Wire(socket, found);
  }

  async ask(): Promise<void> {
    for (const { ip, index } of this.#probes) {
      const head = neighbourHead(ip, index, 1);
      const flags = flag.ack | flag.create | flag.replace;
      await this.#socket.request(
        message(rt.newNeighbour, flags, head, [attribute(1, ipBytes(ip))]),
      );
    }
  }

  async answers(): Promise<Conflict[]> {
    const entries = await this.#entries();
    return this.#probes.flatMap(({ ip, link }) => {
      const entry = entries.find((some) => some.ip === ip && some.link === link);
      const isAnswer = entry?.mac !== undefined && (entry.state & answered) !== 0;
      return isAnswer ? [{ ip, link, mac: entry.mac }] : [];
    });
  }

  /** Entries that somebody set stay. */
  async forget(): Promise<void> {
    const entries = await this.#entries();
    for (const { ip, link, index } of this.#probes) {
      const entry = entries.find((some) => some.ip === ip && some.link === link);
      if (entry === undefined || (entry.state & wasSet) !== 0) continue;
      const head = neighbourHead(ip, index, 0);
      const request = message(rt.delNeighbour, flag.ack, head, [attribute(1, ipBytes(ip))]);
      // It may have gone by itself.
      await this.#socket.request(request).catch(() => {});
    }
  }

  async #entries(): Promise<NeighbourEntry[]> {
    const links = new Map(this.#probes.map(({ index, link }) => [index, link]));
    const found: NeighbourEntry[] = [];
    for (const index of links.keys()) {
      const list = await this.#socket.request(listRequests.neighbours("all", index));
      found.push(...readNeighbourList(list, links));
    }
    return found.filter(({ isProxy }) => !isProxy);
  }
}
