// The network of a host and of a pod as plain facts, and the steps that change it. Every step says what shall be, so that doing it twice
// is doing it once; whether it already is so is answered here. How it is done is the business of the HostNetwork port.

import type { Ip } from "./ip.ts";
import type { FunctionFacts } from "./virtual-function.ts";
import { hasSettings } from "./virtual-function.ts";

/** Which network namespace is meant. */
export type Place = "host" | "pod";

/** A network device. */
export type LinkFacts = {
  readonly name: string;
  readonly index: number;
  /** Kind as iproute2 names it (`veth`, `bridge`, `vlan`, `macvlan`, `ipvlan`), "" for hardware. */
  readonly kind: string;
  readonly isLoopback: boolean;
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly alias: string;
  /** Name of the bridge (or bond) that it belongs to; "" when none. */
  readonly master: string;
  /** Name of the device below, when that is in the same namespace; "" otherwise. */
  readonly parent: string;
  readonly vlanId: number | undefined;
  /** Name of the namespace-local peer or "" ; only for messages. */
  readonly mode: string;
};

/** An address of a device. */
export type AddressFacts = {
  readonly link: string;
  readonly ip: Ip;
  readonly prefix: number;
  /** `global`, `link` or `host`. */
  readonly scope: string;
};

/** The main routing table's number. */
export const mainTable = 254;

/** A route. `dst` is canonical: `ADDRESS/PREFIX`, with /32 or /128 for one address and /0 for the default. */
export type RouteFacts = {
  readonly dst: string;
  readonly link: string;
  readonly via: Ip | undefined;
  readonly src: Ip | undefined;
  readonly table: number;
  readonly metric: number | undefined;
  /** Who made it: `kernel` for those that come with an address. */
  readonly protocol: string;
  readonly scope: string;
};

/** A policy rule by source address. */
export type RuleFacts = {
  readonly from: Ip;
  readonly table: number;
  readonly priority: number;
};

/** A neighbour entry that somebody set: permanent, or a proxy entry (`mac` is undefined then). */
export type NeighbourFacts = {
  readonly link: string;
  readonly ip: Ip;
  readonly mac: string | undefined;
  readonly isProxy: boolean;
};

/** What a namespace looks like. Sysctls by their path below /proc/sys, as far as they were asked for. */
export type NamespaceFacts = {
  readonly links: readonly LinkFacts[];
  readonly addresses: readonly AddressFacts[];
  readonly routes: readonly RouteFacts[];
  readonly rules: readonly RuleFacts[];
  readonly neighbours: readonly NeighbourFacts[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** Virtual functions of the cards that were asked for. */
  readonly functions?: readonly FunctionFacts[];
};

/** Host and pod together; the pod's namespace may be gone. */
export type NetworkFacts = {
  readonly host: NamespaceFacts;
  readonly pod: NamespaceFacts | undefined;
};

/** A namespace without anything in it. */
export const emptyNamespace: NamespaceFacts = {
  links: [],
  addresses: [],
  routes: [],
  rules: [],
  neighbours: [],
  sysctls: {},
};

/** A step towards a wanted state; idempotent, and for devices only towards what carries our mark. */
export type NetStep =
  /** A pair of devices, one end on the host, the other born inside the pod with its final name and MAC. */
  | {
      readonly do: "veth";
      readonly name: string;
      readonly mac: string;
      readonly mtu: number;
      readonly alias: string;
      readonly peer: { readonly name: string; readonly mac: string };
    }
  /**
   * A macvlan (bridge mode) or ipvlan on a device of the host, made where it belongs: moving one from the host takes the kernel 20 ms in which no
   * other device can be made. `bornAs`: the name that it has in the pod for a moment, because kernels before 6.14 refuse to make a device in a pod
   * with the name of a device of the host, and both often have an eth0.
   */
  | {
      readonly do: "macvlan";
      readonly place: Place;
      readonly parent: string;
      readonly name: string;
      readonly bornAs?: string;
      readonly mac: string;
      readonly mtu: number;
      readonly alias: string;
    }
  | {
      readonly do: "ipvlan";
      readonly place: Place;
      readonly parent: string;
      readonly name: string;
      readonly bornAs?: string;
      readonly mode: "l2" | "l3" | "l3s";
      readonly mtu: number;
      readonly alias: string;
    }
  | {
      readonly do: "vlan";
      readonly parent: string;
      readonly name: string;
      readonly id: number;
      readonly alias: string;
    }
  | {
      readonly do: "bridge";
      readonly name: string;
      readonly mac: string;
      readonly mtu: number;
      readonly alias: string;
    }
  | { readonly do: "master"; readonly link: string; readonly bridge: string }
  | { readonly do: "no master"; readonly link: string; readonly bridge: string }
  | { readonly do: "up"; readonly place: Place; readonly link: string }
  | {
      readonly do: "address" | "no address";
      readonly place: Place;
      readonly link: string;
      readonly ip: Ip;
      readonly prefix: number;
    }
  | {
      readonly do: "route";
      readonly place: Place;
      readonly dst: string;
      readonly link: string;
      readonly table: number;
      readonly via?: Ip;
      /** The next hop is reachable on the device although no address says so. */
      readonly onlink?: true;
      readonly src?: Ip;
      readonly metric?: number;
    }
  | {
      readonly do: "no route";
      readonly place: Place;
      readonly dst: string;
      readonly link: string;
      readonly table: number;
    }
  | {
      readonly do: "rule" | "no rule";
      readonly place: Place;
      readonly from: Ip;
      readonly table: number;
      readonly priority: number;
    }
  /** A permanent neighbour. */
  | {
      readonly do: "neighbour";
      readonly place: Place;
      readonly link: string;
      readonly ip: Ip;
      readonly mac: string;
    }
  | { readonly do: "no neighbour"; readonly place: Place; readonly link: string; readonly ip: Ip }
  /** The host answers for the address on the device. */
  | { readonly do: "proxy" | "no proxy"; readonly link: string; readonly ip: Ip }
  /** An SR-IOV card has virtual functions: some, when it had none. */
  | { readonly do: "functions"; readonly pf: string; readonly count: number }
  /** Settings of a function; `no function` gives it back its old ones, as far as they were known. */
  | {
      readonly do: "function" | "no function";
      readonly pf: string;
      readonly index: number;
      readonly vlan: number;
      readonly mac?: string;
      readonly spoofCheck?: boolean;
      readonly trust?: boolean;
    }
  /** A function's device is in the pod, with its name and MAC there, marked. */
  | {
      readonly do: "moved link";
      readonly place: "pod";
      readonly link: string;
      readonly name: string;
      readonly mac: string;
      readonly mtu: number;
      readonly alias: string;
    }
  /** It is on the host again, without our mark, and under its old name when that is free. */
  | {
      readonly do: "no moved link";
      readonly pf: string;
      readonly index: number;
      readonly link: string;
      readonly name: string;
      readonly mac: string;
      readonly mtu: number;
      readonly alias: string;
    }
  /** A value below /proc/sys; left alone while `unless` holds on the host. */
  | {
      readonly do: "sysctl";
      readonly place: Place;
      readonly key: string;
      readonly value: string;
      readonly unless?: { readonly key: string; readonly value: string };
    }
  /**
   * No device of this name that carries this mark. A device gets its mark a moment after it was made: `evenUnmarked` for names that
   * nobody else would choose.
   */
  | {
      readonly do: "no link";
      readonly place: Place;
      readonly name: string;
      readonly alias: string;
      readonly evenUnmarked?: true;
    };

/** The namespace that a step changes. */
export function placeOf(step: NetStep): Place {
  return "place" in step ? step.place : "host";
}

/** The sysctls of a place that {@link isInEffect} needs for these steps. */
export function sysctlsOf(steps: readonly NetStep[], place: Place): string[] {
  const keys = new Set<string>();
  for (const step of steps) {
    if (step.do !== "sysctl") continue;
    if (step.place === place) keys.add(step.key);
    if (step.unless !== undefined && place === "host") keys.add(step.unless.key);
  }
  return [...keys];
}

/**
 * Whether the step has nothing to do. In a pod that is gone nothing is in effect but what is to be absent.
 * A device of the right name that is not what the step would make counts as not in effect.
 */
export function isInEffect(step: NetStep, facts: NetworkFacts): boolean {
  const place = placeOf(step) === "host" ? facts.host : facts.pod;
  if (place === undefined) return step.do.startsWith("no ");
  const link = (name: string) => place.links.find((candidate) => candidate.name === name);
  switch (step.do) {
    case "veth": {
      const made = link(step.name);
      const isThere = made?.kind === "veth" && made.alias === step.alias && made.mtu === step.mtu;
      const peer = facts.pod?.links.find(({ name }) => name === step.peer.name);
      return isThere && peer?.kind === "veth" && peer.mac === step.peer.mac;
    }
    case "macvlan":
    case "ipvlan": {
      const made = link(step.name);
      const hasMac = step.do === "ipvlan" || made?.mac === step.mac;
      return made?.kind === step.do && made.alias === step.alias && hasMac;
    }
    case "functions":
      return place.functions?.some(({ pf }) => pf === step.pf) === true;
    case "function":
    case "no function": {
      const found = place.functions?.find(
        ({ pf, index }) => pf === step.pf && index === step.index,
      );
      // A card that is gone has nothing to give back.
      return found === undefined ? step.do === "no function" : hasSettings(found, step);
    }
    case "moved link": {
      const moved = link(step.name);
      return moved?.alias === step.alias && moved.mac === step.mac;
    }
    case "no moved link": {
      const inPod = facts.pod?.links.find(({ name }) => name === step.name);
      const found = place.functions?.find(
        ({ pf, index }) => pf === step.pf && index === step.index,
      );
      return inPod?.alias !== step.alias && link(found?.link ?? "")?.alias !== step.alias;
    }
    case "vlan":
      return link(step.name)?.vlanId === step.id && link(step.name)?.parent === step.parent;
    case "bridge":
      return link(step.name)?.kind === "bridge";
    case "master":
      return link(step.link)?.master === step.bridge;
    case "no master":
      return link(step.link)?.master !== step.bridge;
    case "up":
      return link(step.link)?.isUp === true;
    case "address":
    case "no address": {
      const isThere = place.addresses.some(
        ({ link: name, ip, prefix }) =>
          name === step.link && ip === step.ip && prefix === step.prefix,
      );
      return isThere === (step.do === "address");
    }
    case "route":
      return place.routes.some(
        (route) =>
          route.dst === step.dst &&
          route.link === step.link &&
          route.table === step.table &&
          route.via === step.via &&
          (step.src === undefined || route.src === step.src),
      );
    case "no route":
      return !place.routes.some(
        ({ dst, link: name, table }) =>
          dst === step.dst && name === step.link && table === step.table,
      );
    case "rule":
    case "no rule": {
      const isThere = place.rules.some(
        ({ from, table, priority }) =>
          from === step.from && table === step.table && priority === step.priority,
      );
      return isThere === (step.do === "rule");
    }
    case "neighbour":
      return place.neighbours.some(
        ({ link: name, ip, mac }) => name === step.link && ip === step.ip && mac === step.mac,
      );
    case "no neighbour":
      return !place.neighbours.some(
        ({ link: name, ip, mac }) => name === step.link && ip === step.ip && mac !== undefined,
      );
    case "proxy":
    case "no proxy": {
      const isThere = place.neighbours.some(
        ({ link: name, ip, isProxy }) => name === step.link && ip === step.ip && isProxy,
      );
      return isThere === (step.do === "proxy");
    }
    case "sysctl": {
      const { unless } = step;
      if (unless !== undefined && facts.host.sysctls[unless.key] === unless.value) return true;
      return place.sysctls[step.key] === step.value;
    }
    case "no link": {
      const alias = link(step.name)?.alias;
      return alias !== step.alias && !(alias === "" && step.evenUnmarked === true);
    }
  }
}

/** The steps that still have something to do, in their order. */
export function missingSteps(steps: readonly NetStep[], facts: NetworkFacts): NetStep[] {
  return steps.filter((step) => !isInEffect(step, facts));
}

/** A step in words, for messages. */
export function describeStep(step: NetStep): string {
  const where = placeOf(step) === "host" ? "on the host" : "in the pod";
  switch (step.do) {
    case "veth":
      return `veth pair ${step.name} with ${step.peer.name} in the pod`;
    case "macvlan":
    case "ipvlan":
      return `${step.do} ${step.name} ${where} on ${step.parent}`;
    case "functions":
      return `virtual functions of ${step.pf}`;
    case "function":
    case "no function":
      return `virtual function ${step.index} of ${step.pf} with VLAN ${step.vlan}${step.mac === undefined ? "" : ` and MAC ${step.mac}`}`;
    case "moved link":
      return `${step.link} in the pod as ${step.name}`;
    case "no moved link":
      return `virtual function ${step.index} of ${step.pf} on the host as ${step.link}`;
    case "vlan":
      return `VLAN device ${step.name} for VLAN ${step.id} on ${step.parent}`;
    case "bridge":
      return `bridge ${step.name}`;
    case "master":
      return `${step.link} as a port of bridge ${step.bridge}`;
    case "no master":
      return `${step.link} no port of bridge ${step.bridge}`;
    case "up":
      return `${step.link} up ${where}`;
    case "address":
    case "no address":
      return `${step.do} ${step.ip}/${step.prefix} at ${step.link} ${where}`;
    case "route":
    case "no route":
      return `${step.do} to ${step.dst} over ${step.link} ${where}${step.table === mainTable ? "" : ` in table ${step.table}`}`;
    case "rule":
    case "no rule":
      return `${step.do} from ${step.from} to table ${step.table} ${where}`;
    case "neighbour":
      return `permanent neighbour ${step.ip} at ${step.link} ${where}`;
    case "no neighbour":
      return `no permanent neighbour ${step.ip} at ${step.link} ${where}`;
    case "proxy":
    case "no proxy":
      return `${step.do} neighbour ${step.ip} at ${step.link}`;
    case "sysctl":
      return `${step.key} = ${step.value} ${where}`;
    case "no link":
      return `no device ${step.name} ${where}`;
  }
}
