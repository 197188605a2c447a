// The HostNetwork port on iproute2 (`ip -json`, `ip -batch`) and files below /proc/sys. One child program for reading a namespace and one
// for changing it; another namespace is entered with nsenter, and its sysctls are read with grep and written with tee.

import { readFile, writeFile } from "node:fs/promises";
import type { NamespaceFacts, NetStep } from "../../core/net-model.ts";
import { describeStep, emptyNamespace, placeOf } from "../../core/net-model.ts";
import type { HostNetwork, HostQuery, Namespaces } from "../../ports/host-network.ts";
import { WorldError } from "../../ports/world-error.ts";
import { runProgram } from "./child-program.ts";
import { readLinks, readNeighbours, readRoutes, readRules } from "./iproute-facts.ts";
import { isSameNamespace, namespaceAt } from "./namespace-path.ts";
import { sysctlFile } from "./sysctl-file.ts";

/** How long one call of a program may take: the kernel needs milliseconds, a starved machine seconds. */
const limitMs = 20_000;

/** What may stand in a line for `ip -batch`: no blanks, quotes, comments or line ends, so that nothing can become a second command. */
const word = /^[A-Za-z0-9_.:/@+,=-]+$/;

type Line = { readonly step: NetStep; readonly text: string };

/** The network of this process's namespace, or of the one at `hostNetns`. */
export class LinuxHostNetwork implements HostNetwork {
  readonly #hostNetns: string | undefined;

  /** @param options `hostNetns`: path of the namespace that counts as the host, when it is not that of this process */
  constructor(options: { readonly hostNetns?: string } = {}) {
    this.#hostNetns = options.hostNetns;
  }

  async readHost(query: HostQuery): Promise<NamespaceFacts> {
    const exact = (family: "4" | "6") =>
      query.routesTo
        .filter((dst) => dst.includes(":") === (family === "6"))
        .map((dst) => `route show to exact ${checked(dst)}`);
    const lines = [
      "address show",
      "neigh show proxy",
      ...query.routesOf.map((name) => `route show table all dev ${checked(name)}`),
      ...exact("4"),
    ];
    const neighboursOf = query.neighboursOf ?? [];
    const exact6 = exact("6");
    const [lists, lists6] = await Promise.all([
      // -force: a device that does not exist has no routes, which is no reason to know nothing.
      this.#show(
        this.#hostNetns,
        ["-force"],
        [...lines, ...neighboursOf.map((name) => `neigh show nud permanent dev ${checked(name)}`)],
      ),
      exact6.length === 0 ? [] : this.#show(this.#hostNetns, ["-6"], exact6),
    ]);
    const { links, addresses } = readLinks(lists[0]);
    const existing = (names: readonly string[]) =>
      names.filter((name) => links.some((link) => link.name === name));
    const routesOf = existing(query.routesOf);
    const permanent = existing(neighboursOf);
    const [before, after] = [lists.length - permanent.length, lists.slice(2)];
    const routes = after
      .slice(0, before - 2)
      .flatMap((list, index) => readRoutes(list, routesOf[index]))
      .concat(lists6.flatMap((list) => readRoutes(list, undefined)));
    const neighbours = [
      ...readNeighbours(lists[1]),
      ...permanent.flatMap((name, index) => readNeighbours(lists[before + index], name)),
    ];
    return { ...emptyNamespace, links, addresses, routes, neighbours };
  }

  async readPod(netns: string): Promise<NamespaceFacts | undefined> {
    if (namespaceAt(netns) === "gone") return undefined;
    if (isSameNamespace(netns, this.#hostNetns ?? "/proc/self/ns/net")) {
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `look at the pod's network namespace ${netns}`,
        message:
          "it is the node's own; correct CNI_NETNS, or do not ask for networks with hostNetwork",
      });
    }
    const [shown, routes, neighbours, rules] = await this.#show(
      netns,
      [],
      ["address show", "route show table all", "neigh show nud permanent", "rule show"],
    );
    const { links, addresses } = readLinks(shown);
    const hasIpv6 = addresses.some(({ ip, scope }) => ip.includes(":") && scope === "global");
    const [rules6] = hasIpv6 ? await this.#show(netns, ["-6"], ["rule show"]) : [[]];
    return {
      ...emptyNamespace,
      links,
      addresses,
      routes: readRoutes(routes, undefined),
      neighbours: readNeighbours(neighbours),
      rules: [...readRules(rules), ...readRules(rules6)],
    };
  }

  async readSysctls(
    netns: string | undefined,
    keys: readonly string[],
  ): Promise<Record<string, string>> {
    if (keys.length === 0) return {};
    const target = netns ?? this.#hostNetns;
    const values: Record<string, string> = {};
    if (target === undefined) {
      await Promise.all(
        keys.map(async (key) => {
          const value = await readFile(sysctlFile(key), "utf8").catch(() => undefined);
          if (value !== undefined) values[key] = value.trim();
        }),
      );
      return values;
    }
    // Exit code 2 says that some files do not exist, which the caller learns from the values that are missing.
    const end = await this.#run(target, "grep", ["-sH", "", ...keys.map(sysctlFile)], "");
    for (const line of end.stdout.split("\n")) {
      const [, file, value] = /^\/proc\/sys\/([^:]+):(.*)$/.exec(line) ?? [];
      if (file !== undefined && value !== undefined) values[file] = value;
    }
    return values;
  }

  async apply(steps: readonly NetStep[], namespaces: Namespaces): Promise<void> {
    const { netns } = namespaces;
    for (const [isRemoval, group] of groupedByRemoval(steps)) {
      const host = group.filter((step) => placeOf(step) === "host");
      const pod = group.filter((step) => placeOf(step) === "pod");
      if (isRemoval) {
        // What is inside a pod goes first, as long as there is a way into it.
        if (netns !== undefined) await this.#batch(netns, pod.flatMap(linesOf(netns)), true);
        await this.#batch(this.#hostNetns, host.flatMap(linesOf(netns)), true);
        continue;
      }
      const inPod = pod[0] ?? host.find((step) => step.do === "veth");
      if (inPod !== undefined && netns === undefined) {
        throw new WorldError("NETWORK_CHANGE_FAILED", {
          tried: `make ${describeStep(inPod)}`,
          message: "the pod has no network namespace",
        });
      }
      // Devices of pods are born from the host; everything inside comes after them.
      const born = pod.filter((step) => step.do === "macvlan" || step.do === "ipvlan");
      await this.#batch(this.#hostNetns, [...host, ...born].flatMap(linesOf(netns)), false);
      await this.#writeSysctls(this.#hostNetns, host);
      if (inPod === undefined) continue;
      await this.#writeSysctls(netns, pod);
      const inside = group.flatMap((step) => podLinesOf(step));
      await this.#batch(netns, inside, false);
    }
  }

  /** Runs `ip` with show commands and returns one list for each. */
  async #show(
    netns: string | undefined,
    options: readonly string[],
    lines: readonly string[],
  ): Promise<unknown[]> {
    const args = [...options, "-N", "-json", "-d", "-batch", "-"];
    const end = await this.#run(netns, "ip", args, `${lines.join("\n")}\n`);
    // With -force a line may fail, but a program that says nothing at all was not there or not allowed to look.
    const isComplete =
      end.exitCode === 0 || (options.includes("-force") && end.stdout.startsWith("["));
    try {
      if (!isComplete) throw new Error(end.stderr.trim());
      return end.stdout
        .split("\n")
        .filter((line) => line.startsWith("["))
        .map((line) => JSON.parse(line) as unknown);
    } catch (error) {
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `read the network of ${netns ?? "this host"} with ip`,
        message: `${error instanceof Error ? error.message : String(error)}; run ip ${args.join(" ")} by hand`,
        cause: error,
      });
    }
  }

  /** Runs lines one after the other; `isTolerant`: a line may fail, because what it removes may be gone. */
  async #batch(
    netns: string | undefined,
    lines: readonly Line[],
    isTolerant: boolean,
  ): Promise<void> {
    for (const part of consecutive(lines, needsIpv6Option)) {
      const options = [
        ...(needsIpv6Option(part[0] as Line) ? ["-6"] : []),
        ...(isTolerant ? ["-force"] : []),
      ];
      const input = `${part.map(({ text }) => text).join("\n")}\n`;
      const end = await this.#run(netns, "ip", [...options, "-batch", "-"], input);
      if (end.exitCode === 0 || isTolerant) continue;
      const number = Number(/Command failed -:([0-9]+)/.exec(end.stderr)?.[1] ?? "1");
      const line = part[number - 1] ?? part[0];
      const reason = end.stderr.replace(/\s*Command failed -:[0-9]+\s*/, "").trim();
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried: `make ${line === undefined ? "a change" : describeStep(line.step)}`,
        message: `ip ${line?.text}: ${reason}`,
      });
    }
  }

  async #writeSysctls(netns: string | undefined, steps: readonly NetStep[]): Promise<void> {
    const sysctls = steps.filter((step) => step.do === "sysctl");
    for (const part of consecutive(sysctls, ({ value }) => value)) {
      const first = part[0] as (typeof part)[number];
      const files = part.map(({ key }) => sysctlFile(key));
      try {
        if (netns === undefined) {
          for (const file of files) await writeFile(file, first.value);
        } else {
          const end = await this.#run(netns, "tee", files, first.value);
          if (end.exitCode !== 0) throw new Error(end.stderr.trim());
        }
      } catch (error) {
        throw new WorldError("NETWORK_CHANGE_FAILED", {
          tried: `set ${part.map(describeStep).join(", ")}`,
          message: `${error instanceof Error ? error.message : String(error)}; the program needs CAP_NET_ADMIN and a writable /proc/sys`,
          cause: error,
        });
      }
    }
  }

  #run(netns: string | undefined, file: string, args: readonly string[], input: string) {
    return netns === undefined
      ? runProgram({ file, args, input, limitMs })
      : runProgram({
          file: "nsenter",
          args: [`--net=${netns}`, "--", file, ...args],
          input,
          limitMs,
        });
  }
}

/** `ip rule` alone does not guess the family from the address. */
function needsIpv6Option({ step }: Line): boolean {
  return (step.do === "rule" || step.do === "no rule") && step.from.includes(":");
}

/** Neighbouring items with one answer together, in their order. */
function consecutive<T>(items: readonly T[], key: (item: T) => unknown): T[][] {
  const parts: T[][] = [];
  for (const item of items) {
    const last = parts.at(-1);
    if (last?.[0] !== undefined && key(last[0]) === key(item)) last.push(item);
    else parts.push([item]);
  }
  return parts;
}

/** Removals and additions apart, in their order, so that what is in the way goes first. */
function groupedByRemoval(steps: readonly NetStep[]): [isRemoval: boolean, NetStep[]][] {
  // Moving an address is one thing: taking it from one device and giving it to the other in one batch.
  const isRemoval = (step: NetStep) => step.do.startsWith("no ") && step.do !== "no address";
  return consecutive(steps, isRemoval).map((part) => [isRemoval(part[0] as NetStep), part]);
}

function checked(text: string | number): string {
  const value = String(text);
  if (!word.test(value)) throw new TypeError(`"${value}" may not stand in a command for ip`);
  return value;
}

/** The lines of a step that are run on the host; none for what happens inside the pod. */
function linesOf(netns: string | undefined): (step: NetStep) => Line[] {
  const inPod = () => checked(netns ?? "");
  return (step) => {
    const line = (...parts: (string | number)[]): Line => ({
      step,
      text: parts.map(checked).join(" "),
    });
    const isPod = placeOf(step) === "pod";
    switch (step.do) {
      case "veth": {
        const { name, mac, mtu, alias, peer } = step;
        const pair = ["link", "add", "dev", name, "address", mac, "mtu", mtu, "type", "veth"];
        const end = ["peer", "name", peer.name, "netns", inPod(), "address", peer.mac, "mtu", mtu];
        return [line(...pair, ...end), line("link", "set", "dev", name, "alias", alias)];
      }
      case "macvlan":
      case "ipvlan": {
        const { parent, mtu, alias } = step;
        const name = step.bornAs ?? step.name;
        const mac = step.do === "macvlan" ? ["address", step.mac] : [];
        const mode = step.do === "macvlan" ? "bridge" : step.mode;
        const where = isPod ? ["netns", inPod()] : [];
        const head = ["link", "add", "link", parent, "name", name, ...where, ...mac, "mtu", mtu];
        const made = line(...head, "type", step.do, "mode", mode);
        return isPod ? [made] : [made, line("link", "set", "dev", name, "alias", alias)];
      }
      case "vlan": {
        const { name, parent, id, alias } = step;
        return [
          line("link", "add", "link", parent, "name", name, "type", "vlan", "id", id),
          line("link", "set", "dev", name, "alias", alias),
        ];
      }
      case "bridge": {
        const { name, mac, mtu, alias } = step;
        const head = ["link", "add", "name", name, "address", mac, "mtu", mtu, "type", "bridge"];
        // No spanning tree and no waiting: the bridge has one way out. Without a querier, snooping would lose neighbour discovery.
        return [
          line(...head, "stp_state", 0, "forward_delay", 0, "mcast_snooping", 0),
          line("link", "set", "dev", name, "alias", alias),
        ];
      }
      case "master":
        return [line("link", "set", "dev", step.link, "master", step.bridge)];
      case "no master":
        return [line("link", "set", "dev", step.link, "nomaster")];
      case "no link":
        return [line("link", "del", "dev", step.name)];
      case "sysctl":
        return [];
      case "functions":
      case "function":
      case "no function":
      case "moved link":
      case "no moved link":
        throw new TypeError(`${step.do} is the business of function-network.ts`);
      case "up":
      case "address":
      case "no address":
      case "route":
      case "no route":
      case "rule":
      case "no rule":
      case "neighbour":
      case "no neighbour":
      case "proxy":
      case "no proxy":
        return inPlace(step);
    }
  };
}

/** The lines of a step that are run inside the pod. */
function podLinesOf(step: NetStep): Line[] {
  const alias = (name: string, mark: string): Line => ({
    step,
    text: ["link", "set", "dev", name, "alias", mark].map(checked).join(" "),
  });
  if (step.do === "veth") return [alias(step.peer.name, step.alias)];
  if (placeOf(step) !== "pod" || step.do === "sysctl") return [];
  if (step.do === "macvlan" || step.do === "ipvlan") {
    const name = ["link", "set", "dev", step.bornAs ?? step.name, "name", step.name];
    return [{ step, text: name.map(checked).join(" ") }, alias(step.name, step.alias)];
  }
  return inPlace(step);
}

/** Lines that read the same wherever they are run. */
function inPlace(step: NetStep): Line[] {
  const line = (...parts: (string | number)[]): Line[] => [
    { step, text: parts.map(checked).join(" ") },
  ];
  switch (step.do) {
    case "up":
      return line("link", "set", "dev", step.link, "up");
    case "address": {
      const isIpv6 = step.ip.includes(":");
      // Whether anybody else has the address was asked before; waiting for the kernel to ask again would delay the pod by a second.
      const options = isIpv6 ? ["nodad"] : step.prefix < 31 ? ["broadcast", "+"] : [];
      return line("address", "replace", `${step.ip}/${step.prefix}`, "dev", step.link, ...options);
    }
    case "no address":
      return line("address", "del", `${step.ip}/${step.prefix}`, "dev", step.link);
    case "route": {
      const { dst, via, link, table, src, metric } = step;
      const hop = via === undefined ? [] : ["via", via];
      const flags = step.onlink === true ? ["onlink"] : [];
      const from = src === undefined ? [] : ["src", src];
      const order = metric === undefined ? [] : ["metric", metric];
      const head = ["route", "replace", dst, ...hop, "dev", link, ...from];
      return line(...head, "table", table, ...order, ...flags);
    }
    case "no route":
      return line("route", "del", step.dst, "dev", step.link, "table", step.table);
    case "rule":
    case "no rule": {
      const { from, table, priority } = step;
      const verb = step.do === "rule" ? "add" : "del";
      return line("rule", verb, "from", from, "lookup", table, "priority", priority);
    }
    case "neighbour":
      return line(
        ...["neigh", "replace", step.ip, "lladdr", step.mac, "dev", step.link],
        ...["nud", "permanent"],
      );
    case "no neighbour":
      return line("neigh", "del", step.ip, "dev", step.link);
    case "proxy":
      return line("neigh", "replace", "proxy", step.ip, "dev", step.link);
    case "no proxy":
      return line("neigh", "del", "proxy", step.ip, "dev", step.link);
    case "no link":
      return line("link", "del", "dev", step.name);
    case "no master":
      return line("link", "set", "dev", step.link, "nomaster");
    case "veth":
    case "macvlan":
    case "ipvlan":
    case "vlan":
    case "bridge":
    case "master":
    case "sysctl":
    case "functions":
    case "function":
    case "no function":
    case "moved link":
    case "no moved link":
      throw new TypeError(`${step.do} is no step that is the same in every place`);
  }
}
