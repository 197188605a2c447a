// The HostNetwork port as a model: namespaces with devices, addresses, routes, rules, neighbours and values. For tests of the use cases
// without root; what Linux does beyond the contract it does not know.

import type {
  LinkFacts,
  NamespaceFacts,
  NeighbourFacts,
  NetStep,
  RouteFacts,
} from "../../core/net-model.ts";
import { describeStep, emptyNamespace, isInEffect, placeOf } from "../../core/net-model.ts";
import type { HostNetwork, HostQuery, Namespaces } from "../../ports/host-network.ts";
import { WorldError } from "../../ports/world-error.ts";

/** A host and any number of pods. */
export class MemoryHostNetwork implements HostNetwork {
  #host: NamespaceFacts;
  readonly #pods = new Map<string, NamespaceFacts>();
  #lastIndex = 100;
  /** Virtual functions by the index of their device. */
  readonly #functionIndexes = new Map<number, number>();

  /** @param host devices, addresses and routes of the node */
  constructor(host: NamespaceFacts) {
    this.#host = host;
  }

  /** Makes the namespace of a pod. */
  addPod(netns: string): void {
    this.#pods.set(netns, emptyNamespace);
  }

  /** The pod dies: its devices go, and the other ends of its veth pairs. */
  removePod(netns: string): void {
    for (const link of this.#pods.get(netns)?.links ?? []) {
      // Hardware outlives a namespace, under any name.
      if (link.kind === "" && !link.isLoopback) {
        this.#returnFunction(link, `dev${link.index}`);
      }
    }
    for (const { alias, kind } of this.#pods.get(netns)?.links ?? []) {
      if (kind === "veth") this.#removeLinks(undefined, (link) => link.alias === alias);
    }
    this.#pods.delete(netns);
  }

  /** The host as it is, sysctls included. */
  get host(): NamespaceFacts {
    return this.#host;
  }

  async readHost(query: HostQuery): Promise<NamespaceFacts> {
    const routes = this.#host.routes.filter(
      ({ link, dst }) => query.routesOf.includes(link) || query.routesTo.includes(dst),
    );
    const neighbours = this.#host.neighbours.filter(
      ({ link, isProxy }) => isProxy || query.neighboursOf?.includes(link) === true,
    );
    return { ...this.#host, routes, neighbours, sysctls: {} };
  }

  async readPod(netns: string): Promise<NamespaceFacts | undefined> {
    const pod = this.#pods.get(netns);
    return pod === undefined ? undefined : { ...pod, sysctls: {} };
  }

  async readSysctls(
    netns: string | undefined,
    keys: readonly string[],
  ): Promise<Record<string, string>> {
    const { sysctls } = this.#namespace(netns);
    return Object.fromEntries(
      keys.flatMap((key) => {
        const value = sysctls[key];
        return value === undefined ? [] : [[key, value]];
      }),
    );
  }

  async apply(steps: readonly NetStep[], namespaces: Namespaces): Promise<void> {
    for (const step of steps) this.#take(step, namespaces.netns);
  }

  #namespace(netns: string | undefined): NamespaceFacts {
    return netns === undefined ? this.#host : (this.#pods.get(netns) ?? emptyNamespace);
  }

  #set(netns: string | undefined, change: Partial<NamespaceFacts>): void {
    if (netns === undefined) this.#host = { ...this.#host, ...change };
    else this.#pods.set(netns, { ...this.#namespace(netns), ...change });
  }

  #take(step: NetStep, netns: string | undefined): void {
    const fail = (message: string): never => {
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried: `make ${describeStep(step)}`,
        message,
      });
    };
    const needsPod = placeOf(step) === "pod" || step.do === "veth";
    const isRemoval = step.do.startsWith("no ");
    if (needsPod && (netns === undefined || !this.#pods.has(netns))) {
      if (isRemoval) return;
      fail("the pod has no network namespace");
    }
    const where = placeOf(step) === "pod" ? netns : undefined;
    const place = this.#namespace(where);
    const need = (name: string, at = place) =>
      at.links.some((link) => link.name === name) ? name : fail(`Cannot find device "${name}"`);
    const facts = {
      host: this.#host,
      pod: netns === undefined ? undefined : this.#pods.get(netns),
    };
    switch (step.do) {
      case "veth": {
        const { name, mac, mtu, alias, peer } = step;
        this.#add(undefined, { name, mac, mtu, alias, kind: "veth" }, fail);
        this.#add(netns, { name: peer.name, mac: peer.mac, mtu, alias, kind: "veth" }, fail);
        return;
      }
      case "macvlan":
      case "ipvlan": {
        need(step.parent, this.#host);
        const { name, mtu, alias } = step;
        const parent = where === undefined ? step.parent : "";
        const mac = step.do === "macvlan" ? step.mac : "";
        const mode = step.do === "macvlan" ? "bridge" : step.mode;
        this.#add(where, { name, mac, mtu, alias, parent, mode, kind: step.do }, fail);
        return;
      }
      case "vlan": {
        const { name, parent, id, alias } = step;
        need(parent);
        const { mac = "", mtu = 1500 } = place.links.find((link) => link.name === parent) ?? {};
        this.#add(undefined, { name, mac, mtu, alias, parent, vlanId: id, kind: "vlan" }, fail);
        return;
      }
      case "functions": {
        const { pf, count } = step;
        // As many as this card has.
        for (let index = 0; index < Math.min(count, 4); index += 1) {
          const link = `${pf}v${index}`;
          const mac = `52:54:00:00:01:0${index}`;
          this.#add(undefined, { name: link, mac }, fail);
          const settings = { vlan: 0, mac, spoofCheck: true, trust: false };
          this.#functionIndexes.set(this.#lastIndex, index);
          const { functions = [] } = this.#host;
          this.#set(undefined, { functions: [...functions, { pf, index, link, ...settings }] });
        }
        return;
      }
      case "function":
      case "no function": {
        const { do: _do, pf, index, ...settings } = step;
        this.#set(undefined, {
          functions: (this.#host.functions ?? []).map((one) =>
            one.pf === pf && one.index === index ? { ...one, ...settings } : one,
          ),
        });
        return;
      }
      case "moved link": {
        const { link, name, mac, mtu, alias } = step;
        const device = this.#host.links.find(
          (candidate) => candidate.name === need(link, this.#host),
        );
        this.#removeLinks(undefined, (candidate) => candidate === device);
        this.#add(netns, { name, mac, mtu, alias, index: device?.index ?? 0 }, fail);
        this.#renameFunction(device?.index ?? 0, "");
        return;
      }
      case "no moved link": {
        for (const [pod, facts] of this.#pods) {
          const device = facts.links.find(
            (candidate) => candidate.alias === step.alias && candidate.name === step.name,
          );
          if (device === undefined || pod !== netns) continue;
          this.#removeLinks(pod, (candidate) => candidate === device);
          this.#returnFunction(device, step.link);
        }
        const now = this.#host.functions?.find(({ index }) => index === step.index)?.link ?? "";
        const { link, mac, mtu } = step;
        this.#change(undefined, now, { name: link, mac, mtu, alias: "", isUp: false });
        const renamed = this.#host.links.find((candidate) => candidate.name === link);
        this.#renameFunction(renamed?.index ?? 0, link);
        return;
      }
      case "bridge": {
        const { name, mac, mtu, alias } = step;
        this.#add(undefined, { name, mac, mtu, alias, kind: "bridge" }, fail);
        return;
      }
      case "master":
        need(step.bridge);
        this.#change(undefined, need(step.link), { master: step.bridge });
        return;
      case "no master":
        this.#change(undefined, step.link, { master: "" });
        return;
      case "up":
        this.#change(where, need(step.link), { isUp: true });
        return;
      case "address": {
        const { link, ip, prefix } = step;
        need(link);
        if (isInEffect(step, facts)) return;
        const added = { link, ip, prefix, scope: ip.startsWith("fe80:") ? "link" : "global" };
        this.#set(where, { addresses: [...place.addresses, added] });
        return;
      }
      case "no address":
        need(step.link);
        this.#set(where, {
          addresses: place.addresses.filter(({ link, ip }) => link !== step.link || ip !== step.ip),
        });
        return;
      case "route": {
        const { dst, link, table, via, src, metric } = step;
        need(link);
        const route: RouteFacts = { dst, link, via, src, table, metric, protocol: "3", scope: "" };
        const others = place.routes.filter(
          (other) => other.dst !== dst || other.table !== table || other.metric !== metric,
        );
        this.#set(where, { routes: [...others, route] });
        return;
      }
      case "no route":
        this.#set(where, {
          routes: place.routes.filter(
            ({ dst, link, table }) =>
              dst !== step.dst || link !== step.link || table !== step.table,
          ),
        });
        return;
      case "rule": {
        const { from, table, priority } = step;
        if (isInEffect(step, facts)) fail("RTNETLINK answers: File exists");
        this.#set(where, { rules: [...place.rules, { from, table, priority }] });
        return;
      }
      case "no rule":
        this.#set(where, {
          rules: place.rules.filter(
            ({ from, table }) => from !== step.from || table !== step.table,
          ),
        });
        return;
      case "neighbour":
      case "proxy": {
        const isProxy = step.do === "proxy";
        const { link, ip } = step;
        need(link);
        const mac = step.do === "neighbour" ? step.mac : undefined;
        const added: NeighbourFacts = { link, ip, mac, isProxy };
        const others = place.neighbours.filter(
          (other) => other.link !== link || other.ip !== ip || other.isProxy !== isProxy,
        );
        this.#set(where, { neighbours: [...others, added] });
        return;
      }
      case "no neighbour":
        this.#set(where, {
          neighbours: place.neighbours.filter(
            ({ isProxy, link, ip }) => isProxy || link !== step.link || ip !== step.ip,
          ),
        });
        return;
      case "no proxy":
        this.#set(where, {
          neighbours: place.neighbours.filter(
            ({ link, ip, isProxy }) => !isProxy || link !== step.link || ip !== step.ip,
          ),
        });
        return;
      case "sysctl":
        if (!isInEffect(step, facts)) {
          this.#set(where, { sysctls: { ...place.sysctls, [step.key]: step.value } });
        }
        return;
      case "no link": {
        const gone = place.links.find(({ name }) => name === step.name);
        if (gone === undefined || isInEffect(step, facts)) return;
        this.#removeLinks(where, ({ name }) => name === gone.name);
        if (gone.kind !== "veth") return;
        for (const pod of this.#pods.keys()) {
          this.#removeLinks(pod, ({ kind, alias }) => kind === "veth" && alias === gone.alias);
        }
      }
    }
  }

  #add(
    netns: string | undefined,
    wish: Partial<LinkFacts> & { readonly name: string },
    fail: (message: string) => never,
  ): void {
    const place = this.#namespace(netns);
    if (place.links.some(({ name }) => name === wish.name)) fail("RTNETLINK answers: File exists");
    this.#lastIndex += 1;
    const link: LinkFacts = {
      index: this.#lastIndex,
      kind: "",
      isLoopback: false,
      mac: "",
      mtu: 1500,
      isUp: false,
      alias: "",
      master: "",
      parent: "",
      vlanId: undefined,
      mode: "",
      ...wish,
    };
    this.#set(netns, { links: [...place.links, link] });
  }

  #renameFunction(linkIndex: number, link: string): void {
    const index = this.#functionIndexes.get(linkIndex);
    this.#set(undefined, {
      functions: (this.#host.functions ?? []).map((one) =>
        one.index === index ? { ...one, link } : one,
      ),
    });
  }

  #returnFunction(device: LinkFacts, name: string): void {
    this.#set(undefined, { links: [...this.#host.links, { ...device, name }] });
    this.#renameFunction(device.index, name);
  }

  #change(netns: string | undefined, name: string, change: Partial<LinkFacts>): void {
    const { links } = this.#namespace(netns);
    this.#set(netns, {
      links: links.map((link) => (link.name === name ? { ...link, ...change } : link)),
    });
  }

  /** Devices with everything that hangs on them. */
  #removeLinks(netns: string | undefined, isGone: (link: LinkFacts) => boolean): void {
    const place = this.#namespace(netns);
    const gone = new Set(place.links.filter(isGone).map(({ name }) => name));
    const stays = ({ link }: { readonly link: string }) => !gone.has(link);
    this.#set(netns, {
      links: place.links
        .filter(({ name }) => !gone.has(name))
        .map((link) => (gone.has(link.master) ? { ...link, master: "" } : link)),
      addresses: place.addresses.filter(stays),
      routes: place.routes.filter(stays),
      neighbours: place.neighbours.filter(stays),
      sysctls: Object.fromEntries(
        Object.entries(place.sysctls).filter(
          ([key]) => ![...gone].some((name) => key.split("/").includes(name)),
        ),
      ),
    });
  }
}
