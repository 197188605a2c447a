// The HostNetwork port on rtnetlink sockets and files below /proc/sys, without child programs. Beside host-network.ts, which does the same
// with iproute2 where there are no system calls.

import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import type { NamespaceFacts, NetStep } from "../../core/net-model.ts";
import { describeStep, emptyNamespace, mainTable, placeOf } from "../../core/net-model.ts";
import type { HostNetwork, HostQuery, Namespaces } from "../../ports/host-network.ts";
import { WorldError } from "../../ports/world-error.ts";
import { isSameNamespace, namespaceAt } from "./namespace-path.ts";
import {
  indexOfLink,
  inet,
  inet6,
  listRequests,
  namesOf,
  readAddressList,
  readLinkList,
  readNeighbourList,
  readRouteList,
  readRuleList,
  setNeighbours,
} from "./netlink-facts.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { aliasRequest, linkRequest, nameRequest, requestsOf } from "./netlink-steps.ts";
import { sysctlFile } from "./sysctl-file.ts";
import type { SystemCalls } from "./system-calls.ts";

/** The network of this process's namespace, or of the one at `hostNetns`. */
export class NetlinkHostNetwork implements HostNetwork {
  readonly #calls: SystemCalls;
  readonly #hostNetns: string | undefined;

  /** @param options `hostNetns`: path of the namespace that counts as the host, when it is not that of this process */
  constructor(calls: SystemCalls, options: { readonly hostNetns?: string } = {}) {
    this.#calls = calls;
    this.#hostNetns = options.hostNetns;
  }

  async readHost(query: HostQuery): Promise<NamespaceFacts> {
    return this.#reading("this host", async () => {
      using socket = NetlinkSocket.open(this.#calls, this.#hostNetns);
      const list = await socket.request(listRequests.links());
      const names = namesOf(list);
      const addresses = await socket.request(listRequests.addresses());
      const proxies = await socket.request(listRequests.neighbours("proxy"));
      const neighbours = setNeighbours(readNeighbourList(proxies, names), "proxy");
      for (const [index, name] of names) {
        if (query.neighboursOf?.includes(name) !== true) continue;
        const all = await socket.request(listRequests.neighbours("all", index));
        const own = readNeighbourList(all, names).filter(({ link }) => link === name);
        neighbours.push(...setNeighbours(own, "permanent"));
      }
      const routes = [];
      for (const [index, name] of names) {
        if (!query.routesOf.includes(name)) continue;
        for (const family of [inet, inet6]) {
          const some = await socket.request(listRequests.routes(family, { link: index }));
          routes.push(...readRouteList(some, names).filter(({ link }) => link === name));
        }
      }
      const wanted = new Set(query.routesTo);
      for (const family of [inet, inet6]) {
        if (!query.routesTo.some((dst) => dst.includes(":") === (family === inet6))) continue;
        const main = await socket.request(listRequests.routes(family, { table: mainTable }));
        routes.push(
          ...readRouteList(main, names).filter(
            ({ dst, table }) => wanted.has(dst) && table === mainTable,
          ),
        );
      }
      return {
        ...emptyNamespace,
        links: readLinkList(list, names),
        addresses: readAddressList(addresses, names),
        routes,
        neighbours,
      };
    });
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
    return this.#reading(netns, async () => {
      using socket = NetlinkSocket.open(this.#calls, netns);
      const list = await socket.request(listRequests.links());
      const names = namesOf(list);
      const addresses = readAddressList(await socket.request(listRequests.addresses()), names);
      const both = async (request: (family: number) => Buffer) => [
        ...(await socket.request(request(inet))),
        ...(await socket.request(request(inet6))),
      ];
      const routes = await both((family) => listRequests.routes(family));
      const neighbours = await socket.request(listRequests.neighbours("all"));
      const hasIpv6 = addresses.some(({ ip, scope }) => ip.includes(":") && scope === "global");
      const rules = hasIpv6
        ? await both(listRequests.rules)
        : await socket.request(listRequests.rules(inet));
      return {
        ...emptyNamespace,
        links: readLinkList(list, names),
        addresses,
        routes: readRouteList(routes, names),
        neighbours: setNeighbours(readNeighbourList(neighbours, names), "permanent"),
        rules: readRuleList(rules),
      };
    });
  }

  async readSysctls(
    netns: string | undefined,
    keys: readonly string[],
  ): Promise<Record<string, string>> {
    const values: Record<string, string> = {};
    if (keys.length === 0) return values;
    const read = () => {
      for (const key of keys) {
        try {
          values[key] = readFileSync(sysctlFile(key), "utf8").trim();
        } catch (error) {
          if (error instanceof TypeError) throw error;
          // Values that do not exist are left out.
        }
      }
    };
    const target = netns ?? this.#hostNetns;
    await this.#reading(target ?? "this host", async () => {
      if (target === undefined) read();
      else this.#calls.inNamespace(target, read);
    });
    return values;
  }

  async apply(steps: readonly NetStep[], { netns }: Namespaces): Promise<void> {
    if (steps.length === 0) return;
    using places = new Places(this.#calls, this.#hostNetns, netns);
    for (const step of steps) {
      // Half of a move must not get lost; every other removal may find its object gone.
      const isTolerant = step.do.startsWith("no ") && step.do !== "no address";
      if (isTolerant && placeOf(step) === "pod" && netns === undefined) continue;
      try {
        await places.take(step);
      } catch (error) {
        if (isTolerant) continue;
        throw new WorldError("NETWORK_CHANGE_FAILED", {
          tried: `make ${describeStep(step)}`,
          message: `${error instanceof Error ? error.message : String(error)}${step.do === "sysctl" ? "; the program needs CAP_NET_ADMIN and a writable /proc/sys" : ""}`,
          cause: error,
        });
      }
    }
  }

  async #reading<T>(where: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof WorldError || error instanceof TypeError) throw error;
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `read the network of ${where} over netlink`,
        message: `${error instanceof Error ? error.message : String(error)}; the program needs CAP_NET_ADMIN and CAP_SYS_ADMIN`,
        cause: error,
      });
    }
  }
}

/** Beside those that make devices of pods. */
const slowSteps = new Set<NetStep["do"]>(["bridge", "vlan", "master", "no master", "no link"]);

/** Host and pod for one series of steps; sockets are opened when a step needs them. */
class Places implements Disposable {
  readonly #calls: SystemCalls;
  readonly #hostNetns: string | undefined;
  readonly #netns: string | undefined;
  readonly #sockets = new Map<"host" | "pod", NetlinkSocket>();
  readonly #indexes = new Map<string, number>();
  #podFile: number | undefined;

  constructor(calls: SystemCalls, hostNetns: string | undefined, netns: string | undefined) {
    this.#calls = calls;
    this.#hostNetns = hostNetns;
    this.#netns = netns;
  }

  async take(step: NetStep): Promise<void> {
    const place = placeOf(step);
    if (step.do === "sysctl") {
      this.#write(place === "host" ? this.#hostNetns : this.#pod(), step.key, step.value);
      return;
    }
    // Devices of pods are born from the host.
    const isBorn = step.do === "veth" || step.do === "macvlan" || step.do === "ipvlan";
    const goesToPod = step.do === "veth" || (isBorn && place === "pod");
    const where = isBorn ? "host" : place;
    const requests = requestsOf(
      step,
      (link) => this.#indexOf(where, link),
      goesToPod ? this.#openPod() : undefined,
    );
    const pace = isBorn || slowSteps.has(step.do) ? "slow" : "quick";
    for await (const request of requests) await this.#socket(where).request(request, pace);
    if (step.do === "veth") {
      await this.#socket("pod").request(aliasRequest(step.peer.name, step.alias));
    }
    if ((step.do === "macvlan" || step.do === "ipvlan") && place === "pod") {
      const index = await this.#indexOf("pod", step.bornAs ?? step.name);
      await this.#socket("pod").request(nameRequest(index, step.name, step.alias), pace);
    }
    // A device that is made anew has another index.
    if (isBorn || step.do === "no link") this.#indexes.clear();
  }

  #pod(): string {
    if (this.#netns === undefined) throw new Error("the pod has no network namespace");
    return this.#netns;
  }

  #openPod(): number {
    this.#podFile ??= openSync(this.#pod(), "r");
    return this.#podFile;
  }

  #socket(place: "host" | "pod"): NetlinkSocket {
    const known = this.#sockets.get(place);
    if (known !== undefined) return known;
    const netns = place === "host" ? this.#hostNetns : this.#pod();
    const socket = NetlinkSocket.open(this.#calls, netns);
    this.#sockets.set(place, socket);
    return socket;
  }

  async #indexOf(place: "host" | "pod", link: string): Promise<number> {
    const key = `${place} ${link}`;
    const known = this.#indexes.get(key);
    if (known !== undefined) return known;
    const [body] = await this.#socket(place).request(linkRequest(link));
    if (body === undefined) throw new Error(`the kernel says nothing of device ${link}`);
    const index = indexOfLink(body);
    this.#indexes.set(key, index);
    return index;
  }

  #write(netns: string | undefined, key: string, value: string): void {
    const write = () => writeFileSync(sysctlFile(key), value);
    if (netns === undefined) write();
    else this.#calls.inNamespace(netns, write);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets.values()) socket[Symbol.dispose]();
    if (this.#podFile !== undefined) closeSync(this.#podFile);
  }
}
