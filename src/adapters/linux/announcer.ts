// The Announcer port with what the kernel sends by itself, so that neither arping nor a raw socket is needed, and IPv6 works like IPv4:
// - a device with arp_notify and ndisc_notify announces its addresses whenever its MAC is set, also to the same one;
// - what the host announces for pods comes from a short-lived namespace whose frames leave by the uplink (tc redirect), with its MAC;
// - `ip neigh … use` makes the kernel ask for a neighbour, with the node's own address as sender.

import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { Announcement, Probe } from "../../core/cni-plan.ts";
import type { Announcer, Conflict } from "../../ports/announcer.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, textAt, valueAt } from "../../wire/json-value.ts";
import { runProgram } from "./child-program.ts";

const limitMs = 10_000;
/** A probe can be lost; it is sent this often within its time. */
const probeRounds = 2;
const pollMs = 20;

let countOfPairs = 0;

/** Speaks for the host's namespace: that of this process, or the one at `hostNetns`. */
export class KernelAnnouncer implements Announcer {
  readonly #hostNetns: string | undefined;

  constructor(options: { readonly hostNetns?: string } = {}) {
    this.#hostNetns = options.hostNetns;
  }

  async announce(announcements: readonly Announcement[], netns: string): Promise<void> {
    for (const announcement of announcements) {
      const { place, link, ips } = announcement;
      try {
        if (place === "pod") await announceFrom(netns, link, ips);
        else await this.#announceForPod(link, ips);
      } catch (error) {
        throw new WorldError("ANNOUNCEMENT_FAILED", {
          tried: `announce ${ips.join(", ")} on ${link} of the ${place}`,
          message: error instanceof Error ? error.message : String(error),
          cause: error,
        });
      }
    }
  }

  async probe(probes: readonly Probe[], probeLimitMs: number): Promise<readonly Conflict[]> {
    if (probes.length === 0) return [];
    const each = (line: (probe: Probe) => string) => `${probes.map(line).join("\n")}\n`;
    const forget = each(({ ip, link }) => `neigh flush to ${ip} dev ${link}`);
    const links = [...new Set(probes.map(({ link }) => link))];
    const deadlineMs = performance.now() + probeLimitMs;
    try {
      for (let round = 1; round <= probeRounds; round += 1) {
        // An entry from before is no answer, and one that failed is not asked again.
        await this.#ip(
          ["-batch", "-"],
          forget + each(({ ip, link }) => `neigh replace ${ip} dev ${link} use`),
        );
        const roundEndsMs = deadlineMs - (probeLimitMs * (probeRounds - round)) / probeRounds;
        do {
          const answers = await this.#neighbours(links);
          const found = probes.flatMap(({ ip, link }) => {
            const mac = answers.get(`${link} ${ip}`);
            return mac === undefined ? [] : [{ ip, link, mac }];
          });
          if (found.length > 0) return found;
          await pause(pollMs);
        } while (performance.now() < roundEndsMs);
      }
      return [];
    } finally {
      await this.#ip(["-batch", "-"], forget);
    }
  }

  /** MACs of neighbours that answered, by "device address". */
  async #neighbours(links: readonly string[]): Promise<Map<string, string>> {
    const lines = links.map((link) => `neigh show dev ${link}\n`).join("");
    const { stdout } = await this.#ip(["-json", "-batch", "-"], lines);
    const answers = new Map<string, string>();
    const lists = stdout.split("\n").filter((line) => line.startsWith("["));
    for (const [index, line] of lists.entries()) {
      for (const item of asList(JSON.parse(line) as unknown)) {
        const [ip, mac] = [textAt(item, "dst"), textAt(item, "lladdr")];
        const isAnswer = asList(valueAt(item, "state")).some((state) =>
          ["REACHABLE", "DELAY", "STALE", "PROBE"].includes(asText(state) ?? ""),
        );
        if (ip !== undefined && mac !== undefined && isAnswer) {
          answers.set(`${links[index]} ${ip}`, mac);
        }
      }
    }
    return answers;
  }

  /** Frames of a short-lived namespace that look as if the uplink had sent them. */
  async #announceForPod(uplink: string, ips: readonly string[]): Promise<void> {
    const shown = await this.#ip(["-json", "link", "show", "dev", uplink], "");
    const mac = textAt(asList(JSON.parse(shown.stdout) as unknown)[0], "address");
    if (mac === undefined) throw new Error(`${uplink} has no MAC address`);
    await using holder = await NamespaceHolder.open(this.#hostNetns);
    countOfPairs += 1;
    const pair = `gxa${process.pid % 100_000}x${countOfPairs % 100_000}`;
    const inside = "gxb0";
    await this.#ip(
      ["-batch", "-"],
      `link add dev ${pair} type veth peer name ${inside} netns ${holder.path} address ${mac}\n` +
        `link set dev ${pair} up\n`,
    );
    const hasIpv6 = ips.some((ip) => ip.includes(":"));
    const redirect =
      `qdisc add dev ${pair} clsact\n` +
      `filter add dev ${pair} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev ${uplink}\n`;
    await Promise.all([
      this.#run("tc", ["-batch", "-"], redirect),
      // Without its own link-local address nothing but the announcements comes out.
      writeIn(holder.path, hasIpv6 ? [`ipv6/conf/${inside}/addr_gen_mode`] : [], "1"),
      writeIn(holder.path, hasIpv6 ? [] : [`ipv6/conf/${inside}/disable_ipv6`], "1"),
    ]);
    await runIn(
      holder.path,
      `${ips.map((ip) => `address add ${ip}/${ip.includes(":") ? "128 nodad" : "32"} dev ${inside}`).join("\n")}\nlink set dev ${inside} up\n`,
    );
    await announceFrom(holder.path, inside, ips);
    await this.#ip(["link", "del", "dev", pair], "");
  }

  #ip(args: readonly string[], input: string) {
    return this.#run("ip", args, input);
  }

  async #run(file: string, args: readonly string[], input: string) {
    const end = await (this.#hostNetns === undefined
      ? runProgram({ file, args, input, limitMs })
      : runProgram({
          file: "nsenter",
          args: [`--net=${this.#hostNetns}`, "--", file, ...args],
          input,
          limitMs,
        }));
    if (end.exitCode !== 0) {
      throw new Error(`${file} ${args.join(" ")}: ${end.stderr.trim()}`);
    }
    return end;
  }
}

/** Sets a device's MAC to what it is; with these sysctls the kernel announces every address of it then. */
async function announceFrom(netns: string, link: string, ips: readonly string[]): Promise<void> {
  const hasIpv6 = ips.some((ip) => ip.includes(":"));
  await writeIn(
    netns,
    [`ipv4/conf/${link}/arp_notify`, ...(hasIpv6 ? [`ipv6/conf/${link}/ndisc_notify`] : [])],
    "1",
  );
  const shown = await runProgram({
    file: "nsenter",
    args: [`--net=${netns}`, "--", "ip", "-json", "link", "show", "dev", link],
    limitMs,
  });
  if (shown.exitCode !== 0) throw new Error(shown.stderr.trim());
  const mac = textAt(asList(JSON.parse(shown.stdout) as unknown)[0], "address");
  if (mac === undefined) throw new Error(`${link} has no MAC address`);
  await runIn(netns, `link set dev ${link} address ${mac}\n`);
}

async function writeIn(netns: string, keys: readonly string[], value: string): Promise<void> {
  if (keys.length === 0) return;
  const files = keys.map((key) => `/proc/sys/net/${key}`);
  const args = [`--net=${netns}`, "--", "tee", ...files];
  const end = await runProgram({ file: "nsenter", args, input: value, limitMs });
  // A kernel without IPv6 has nothing to switch off.
  if (end.exitCode !== 0 && !files.every((file) => file.includes("disable_ipv6"))) {
    throw new Error(end.stderr.trim());
  }
}

async function runIn(netns: string, lines: string): Promise<void> {
  const args = [`--net=${netns}`, "--", "ip", "-batch", "-"];
  const end = await runProgram({ file: "nsenter", args, input: lines, limitMs });
  if (end.exitCode !== 0) throw new Error(`${lines.trim()}: ${end.stderr.trim()}`);
}

/** A process that holds a network namespace open and ends with its standard input: nothing is left however this process ends. */
class NamespaceHolder {
  readonly path: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.path = `/proc/${child.pid}/ns/net`;
  }

  static async open(hostNetns: string | undefined): Promise<NamespaceHolder> {
    const unshare = ["--net", "--", "cat"];
    const child = spawn(
      hostNetns === undefined ? "unshare" : "nsenter",
      hostNetns === undefined ? unshare : [`--net=${hostNetns}`, "--", "unshare", ...unshare],
      { stdio: ["pipe", "pipe", "ignore"] },
    );
    child.stdin.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => reject(new Error("unshare --net ended at once")));
      // What comes back was copied by the program that runs in the new namespace.
      child.stdout.once("data", () => resolve());
      child.stdin.write("ready\n");
    });
    return new NamespaceHolder(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.stdin.end();
    await closed;
  }
}
