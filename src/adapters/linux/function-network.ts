// The HostNetwork port with virtual functions of SR-IOV cards added to another one: their devices are moved between host and pod with ip, their
// settings are the business of the VirtualFunctions port. Everything else is the other's.

import type { NamespaceFacts, NetStep } from "../../core/net-model.ts";
import { describeStep } from "../../core/net-model.ts";
import type { HostNetwork, HostQuery, Namespaces } from "../../ports/host-network.ts";
import type { VirtualFunctions } from "../../ports/virtual-functions.ts";
import { WorldError } from "../../ports/world-error.ts";
import { runProgram } from "./child-program.ts";

const limitMs = 20_000;

type Step<T extends NetStep["do"]> = Extract<NetStep, { readonly do: T }>;

/** Steps that the other one does not know. */
type FunctionStep = Step<"functions" | "function" | "no function" | "moved link" | "no moved link">;

function isFunctionStep(step: NetStep): step is FunctionStep {
  return "pf" in step || step.do === "moved link";
}

/** A host with SR-IOV cards. */
export class FunctionNetwork implements HostNetwork {
  readonly #network: HostNetwork;
  readonly #functions: VirtualFunctions;
  readonly #hostNetns: string | undefined;

  /** @param options `hostNetns`: path of the namespace that counts as the host, when it is not that of this process */
  constructor(
    network: HostNetwork,
    functions: VirtualFunctions,
    options: { readonly hostNetns?: string } = {},
  ) {
    this.#network = network;
    this.#functions = functions;
    this.#hostNetns = options.hostNetns;
  }

  async readHost(query: HostQuery): Promise<NamespaceFacts> {
    const host = await this.#network.readHost(query);
    if (query.functionsOf === undefined || query.functionsOf.length === 0) return host;
    const lists = await Promise.all(query.functionsOf.map((pf) => this.#functions.list(pf)));
    const isHere = (link: string) => host.links.some(({ name }) => name === link);
    // What sysfs names may have gone into a pod meanwhile.
    const functions = lists.flat().map((one) => (isHere(one.link) ? one : { ...one, link: "" }));
    return { ...host, functions };
  }

  readPod(netns: string): Promise<NamespaceFacts | undefined> {
    return this.#network.readPod(netns);
  }

  readSysctls(netns: string | undefined, keys: readonly string[]): Promise<Record<string, string>> {
    return this.#network.readSysctls(netns, keys);
  }

  async apply(steps: readonly NetStep[], namespaces: Namespaces): Promise<void> {
    let others: NetStep[] = [];
    for (const step of steps) {
      if (!isFunctionStep(step)) {
        others.push(step);
        continue;
      }
      if (others.length > 0) await this.#network.apply(others, namespaces);
      others = [];
      await this.#take(step, namespaces.netns);
    }
    if (others.length > 0) await this.#network.apply(others, namespaces);
  }

  async #take(step: FunctionStep, netns: string | undefined): Promise<void> {
    switch (step.do) {
      case "functions":
        return this.#functions.ensure(step.pf, step.count);
      case "function":
        return this.#functions.set(step.pf, step.index, settingsOf(step));
      case "no function":
        // As every removal: who needs to know looks afterwards.
        return this.#functions.set(step.pf, step.index, settingsOf(step)).catch(() => {});
      case "moved link":
        return this.#move(step, netns);
      case "no moved link":
        return this.#moveBack(step, netns);
    }
  }

  async #move(step: Step<"moved link">, netns: string | undefined): Promise<void> {
    const { link, name, mac, mtu, alias } = step;
    const tried = `make ${describeStep(step)}`;
    if (netns === undefined) {
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried,
        message: "the pod has no network namespace",
      });
    }
    // Marked before it goes, so that it is known wherever this ends.
    for (const change of [
      ["alias", alias],
      ["down", "address", mac, "mtu", String(mtu)],
      ["netns", netns, "name", name],
    ]) {
      const end = await this.#ip(undefined, ["link", "set", "dev", link, ...change]);
      if (end.exitCode === 0) continue;
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried,
        message: `ip link set dev ${link} ${change.join(" ")}: ${end.stderr.trim()}`,
      });
    }
  }

  async #moveBack(step: Step<"no moved link">, netns: string | undefined): Promise<void> {
    const { pf, index, link, name, mac, mtu, alias } = step;
    const pod = netns === undefined ? undefined : await this.#network.readPod(netns);
    const inPod = pod?.links.find((device) => device.name === name);
    if (netns !== undefined && inPod?.alias === alias) {
      const host = this.#hostNetns ?? `/proc/${process.pid}/ns/net`;
      await this.#ip(netns, ["link", "set", "dev", name, "down"]);
      // Its name comes with it: another device on the host may have that of the pod's.
      await this.#ip(netns, ["link", "set", "dev", name, "netns", host, "name", link]);
    }
    // The kernel brings devices of a namespace that ended back under any name that is free.
    const { functions = [], links } = await this.readHost({
      routesOf: [],
      routesTo: [],
      functionsOf: [pf],
    });
    const now = functions.find((one) => one.pf === pf && one.index === index)?.link ?? "";
    const device = links.find((candidate) => candidate.name === now);
    if (device === undefined) return;
    await this.#ip(undefined, ["link", "set", "dev", now, "down"]);
    if (now !== link) await this.#ip(undefined, ["link", "set", "dev", now, "name", link]);
    const isRenamed = (await this.#ip(undefined, ["link", "show", "dev", link])).exitCode === 0;
    const last = isRenamed ? link : now;
    if (mac !== "") await this.#ip(undefined, ["link", "set", "dev", last, "address", mac]);
    await this.#ip(undefined, ["link", "set", "dev", last, "mtu", String(mtu)]);
    await this.#ip(undefined, ["link", "set", "dev", last, "alias", ""]);
  }

  #ip(netns: string | undefined, args: readonly string[]) {
    const target = netns ?? this.#hostNetns;
    return target === undefined
      ? runProgram({ file: "ip", args, limitMs })
      : runProgram({ file: "nsenter", args: [`--net=${target}`, "--", "ip", ...args], limitMs });
  }
}

function settingsOf(step: Step<"function" | "no function">) {
  const { vlan, mac, spoofCheck, trust } = step;
  return {
    vlan,
    ...(mac === undefined ? {} : { mac }),
    ...(spoofCheck === undefined ? {} : { spoofCheck }),
    ...(trust === undefined ? {} : { trust }),
  };
}
