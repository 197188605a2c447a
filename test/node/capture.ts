// What is seen on a wire of the lab: tcpdump on a device, and its lines. Judges nothing.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { waitUntil } from "../control-plane/api.ts";
import { locateProgramWithLibraries } from "../control-plane/binaries.ts";
import type { LabNamespace } from "./network-lab.ts";

/** A frame that says that an address lives at a MAC. */
export type Claim = {
  /** Who sent the frame, by its Ethernet header. */
  readonly from: string;
  readonly ip: string;
  /** Undefined for an untagged frame. */
  readonly vlan: number | undefined;
  /** Of ARP: `request` or `reply`; of neighbour discovery: the MAC that it advertises for the address. */
  readonly says: string;
};

/** tcpdump as a file, or why there is none. */
export function locateTcpdump(): Promise<Awaited<ReturnType<typeof locateProgramWithLibraries>>> {
  return locateProgramWithLibraries(
    "tcpdump",
    ["tcpdump", "libpcap0.8", "libdbus-1-3"],
    "usr/bin/tcpdump",
  );
}

/** Listens for gratuitous ARP and unsolicited neighbour advertisements until it is disposed of. */
export class Capture implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #lines: string[] = [];

  private constructor(child: ReturnType<typeof spawn>) {
    this.#child = child;
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (line) => {
        // With -v, what belongs to a frame follows on lines that begin with a blank.
        if (/^\s/.test(line)) this.#lines.push(`${this.#lines.pop() ?? ""} ${line.trim()}`);
        else this.#lines.push(line);
      });
    }
  }

  /** Resolves when it listens. */
  static async on(namespace: LabNamespace, device: string): Promise<Capture> {
    const tcpdump = await locateTcpdump();
    if (tcpdump.kind === "missing") throw new Error(tcpdump.because);
    // Both also behind a VLAN tag. 136 is a neighbour advertisement.
    const wanted = "arp or (icmp6 and ip6[40] = 136)";
    // Debian's build becomes a user that a package makes when it is installed.
    const args = ["-Z", "root", "-i", device, "-e", "-n", "-v", "-t", "-l", "--immediate-mode"];
    const child = spawn(
      "nsenter",
      [
        `--net=${namespace.path}`,
        "--",
        tcpdump.file,
        ...args,
        `${wanted} or (vlan and (${wanted}))`,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let heard = "";
    child.stderr?.on("data", (data: Buffer) => {
      heard += data.toString();
    });
    const capture = new Capture(child);
    let hasEnded = false;
    child.once("close", () => {
      hasEnded = true;
    });
    await waitUntil(
      `tcpdump on ${device}`,
      () => heard,
      (text) => hasEnded || text.includes("listening on"),
    );
    if (hasEnded) throw new Error(`tcpdump does not listen on ${device}: ${heard}`);
    return capture;
  }

  /** What was claimed until now. */
  claims(): readonly Claim[] {
    return this.#lines.flatMap((line) => {
      const from = /^(\S+) > /.exec(line)?.[1] ?? "";
      const tag = /\bvlan (\d+),/.exec(line)?.[1];
      const vlan = tag === undefined ? undefined : Number(tag);
      const request = /who-has (\S+?)(?: \(\S+\))? tell (\S+?),/.exec(line);
      // Others ask for somebody else.
      if (request?.[1] !== undefined && request[1] === request[2]) {
        return [{ from, ip: request[1], vlan, says: "request" }];
      }
      const reply = /Reply (\S+) is-at (\S+?),/.exec(line);
      if (reply?.[1] !== undefined && reply[2] !== undefined) {
        return [{ from, ip: reply[1], vlan, says: reply[2] }];
      }
      const advertised = /neighbor advertisement, .*tgt is ([0-9a-f:]+),/.exec(line);
      // Answers go to who asked; what nobody asked for goes to all nodes.
      if (advertised?.[1] === undefined || !line.includes("> ff02::1:")) return [];
      const mac = /destination link-address option.*?: ([0-9a-f:]{17})/.exec(line)?.[1] ?? "";
      return [{ from, ip: advertised[1], vlan, says: mac }];
    });
  }

  /** Waits for claims. @returns all of them */
  async until(isEnough: (claims: readonly Claim[]) => boolean): Promise<readonly Claim[]> {
    return waitUntil("announcements on the wire", () => this.claims(), isEnough);
  }

  /** Everything that was seen, for messages. */
  text(): string {
    return this.#lines.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
