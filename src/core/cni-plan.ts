// From addresses, configuration and what host and pod look like to the devices, addresses, routes, rules, neighbours and sysctls that an
// attachment needs, and to what takes them away again. Pure; the order and the locks are the business of node/cni-add.ts.

import type { AddressGrant, CniInterface, CniRefusal, CniResult, CniRoute } from "./cni-result.ts";
import { cniCode } from "./cni-result.ts";
import type { Ip, IpFamily } from "./ip.ts";
import { familyOf, ipToNumber } from "./ip.ts";
import { formatCidr, parseCidr, rangeContains } from "./ip-range.ts";
import type { LinkFacts, NamespaceFacts, NetStep, NetworkFacts, Place } from "./net-model.ts";
import { mainTable } from "./net-model.ts";
import { macOf, shortHash } from "./short-hash.ts";

/** How pods reach the wire; docs/node.md has a picture of each. */
export type NetworkMode = "bridge" | "pure" | "macvlan" | "ipvlan" | "underlay-veth" | "sriov";

/** A route that the configuration adds: over the interface of the address at that position. */
export type ConfiguredRoute = {
  readonly dst: string;
  readonly gw: Ip | undefined;
  readonly address: number;
};

/** The configuration of a network, checked. */
export type NetworkConfig = {
  readonly mode: NetworkMode;
  readonly ipvlanMode: "l2" | "l3" | "l3s";
  /** Uplinks in order of preference; the first that exists is used. */
  readonly devices: readonly string[];
  /** Whether the bridge for VLAN 0 may be made by us. */
  readonly makesDefaultBridge: boolean;
  readonly defaultBridge: string;
  readonly bridgePrefix: string;
  readonly vlanPrefix: string;
  /** Undefined: that of the uplink. */
  readonly mtu: number | undefined;
  /** May addresses and routes of the node move from the uplink to the default bridge. */
  readonly mayMoveAddresses: boolean;
  readonly checksConflicts: boolean;
  /** A device on the host by which node and pods reach each other in macvlan and ipvlan modes. */
  readonly hasNodeAccess: boolean;
  /** Position of the address whose gateway is the default route of its family. */
  readonly defaultAddress: number;
  readonly routes: readonly ConfiguredRoute[];
  /** How many virtual functions of a card are used at most, and made when there are none. */
  readonly mostFunctions: number;
  /** For virtual functions; undefined: as they are. */
  readonly spoofCheck: boolean | undefined;
  readonly trust: boolean | undefined;
};

/** Which attachment: unique per container, network and interface. */
export type AttachmentId = {
  readonly containerId: string;
  readonly network: string;
  readonly ifName: string;
};

/** What is asked for. */
export type AttachmentRequest = {
  readonly id: AttachmentId;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly config: NetworkConfig;
  readonly addresses: readonly AddressGrant[];
};

/** Something that several attachments use: made with the first, removed with the last. */
export type SharedPart = {
  readonly key: string;
  readonly steps: readonly NetStep[];
  /** What the last one does. */
  readonly undo: readonly NetStep[];
  /** What is done when making it failed, where that is more than `undo`. */
  readonly rollback?: readonly NetStep[];
};

/** Neighbours are told about addresses: by the pod on its own device, or by the host in the pod's place with its uplink's MAC. */
export type Announcement = {
  readonly place: "host" | "pod";
  readonly link: string;
  readonly ips: readonly Ip[];
};

/** An address for which nobody may answer on that device of the host. */
export type Probe = { readonly link: string; readonly ip: Ip };

/** Everything an attachment needs and what takes it away. */
export type AttachmentPlan = {
  readonly shared: readonly SharedPart[];
  readonly steps: readonly NetStep[];
  readonly undo: readonly NetStep[];
  readonly announcements: readonly Announcement[];
  /** Only for addresses that are not in the pod yet. */
  readonly probes: readonly Probe[];
  readonly result: CniResult;
};

/** Who has a virtual function, from before the first effect until nothing of it is left. */
export type FunctionUse = {
  readonly pf: string;
  readonly index: number;
  /** Mark of the attachment, and the interface in its pod. */
  readonly mark: string;
  readonly name: string;
  /** What its device was called on the host. */
  readonly link: string;
  /** What gives it back. */
  readonly undo: readonly NetStep[];
};

/** A plan, or why there is none. */
export type PlanOutcome = { readonly kind: "plan"; readonly plan: AttachmentPlan } | CniRefusal;

/** The mark of our devices: who they are for. Shared devices are for everybody on the node. */
export function markOf(id: AttachmentId): string {
  return `galaxy:${id.containerId}:${id.network}:${id.ifName}`;
}

/** Mark of devices that attachments share. */
export const sharedMark = "galaxy:shared";

/** An interface of the pod: at most one address of each family, all of one VLAN. */
type PodInterface = {
  readonly name: string;
  readonly position: number;
  readonly vlan: number;
  readonly grants: AddressGrant[];
  readonly mac: string;
};

/**
 * The plan of an attachment.
 * @param facts host with routes of the configured devices and the sysctls of {@link sysctlsToRead}; the pod must exist
 * @param uses virtual functions that attachments have, this one's among them when it was made before
 * @param undoInForce undo of the shared parts that other attachments use, by key: what was there before the first of them came
 */
export function planAttachment(
  request: AttachmentRequest,
  facts: NetworkFacts,
  undoInForce: ReadonlyMap<string, readonly NetStep[]>,
  uses: readonly FunctionUse[] = [],
): PlanOutcome {
  const { pod } = facts;
  if (pod === undefined) {
    return refuse(
      cniCode.unknownContainer,
      `network namespace ${request.netns} does not exist; the container is gone`,
    );
  }
  if (request.addresses.length === 0) {
    return refuse(
      cniCode.noAddress,
      `attachment ${request.id.ifName} of network ${request.id.network} has no address; give ipinfos, runtimeConfig.ips or an ipam section`,
    );
  }
  const uplink = uplinkOf(request.config, facts.host);
  if (isRefusal(uplink)) return uplink;
  return new Planner(request, facts.host, pod, uplink, undoInForce, uses).plan();
}

/** The sysctls of the host that {@link planAttachment} looks at; those of devices that do not exist yet are not among them. */
export function sysctlsToRead(request: AttachmentRequest, host: NamespaceFacts): string[] {
  const uplink = uplinkOf(request.config, host);
  if (isRefusal(uplink)) return [];
  const names = new Set([uplink.name]);
  for (const { vlan } of request.addresses) {
    const device = vlan === 0 ? undefined : findVlan(host, uplink.name, vlan);
    if (device !== undefined) names.add(device.name);
  }
  return [...names].flatMap((name) => Object.values(uplinkSysctls(name)));
}

function refuse(code: number, message: string): CniRefusal {
  return { kind: "refused", code, message };
}

function isRefusal(value: object): value is CniRefusal {
  return "kind" in value && value.kind === "refused";
}

/** A device that leads to a VLAN, as it is or as it will be. */
type Wire = Pick<LinkFacts, "name" | "mac" | "mtu" | "master" | "vlanId">;

function uplinkOf(config: NetworkConfig, host: NamespaceFacts): LinkFacts | CniRefusal {
  for (const name of config.devices) {
    const link = host.links.find((candidate) => candidate.name === name);
    if (link !== undefined) return link;
  }
  return config.devices.length === 0
    ? refuse(
        cniCode.invalidConfig,
        "the configuration names no device; set `device` to the network card that pods use",
      )
    : refuse(
        cniCode.deviceUnusable,
        `the node has no device ${config.devices.join(" or ")}; correct \`device\` or \`devices\` of the network's configuration`,
      );
}

/** The device below a VLAN device, when that is on the host: VLANs of pods stand beside it, not on top of it. */
function parentOf(uplink: LinkFacts): string {
  return uplink.kind === "vlan" && uplink.parent !== "" ? uplink.parent : uplink.name;
}

function findVlan(host: NamespaceFacts, uplinkName: string, id: number): LinkFacts | undefined {
  const uplink = host.links.find(({ name }) => name === uplinkName);
  const parent = uplink === undefined ? uplinkName : parentOf(uplink);
  return host.links.find(({ vlanId, parent: below }) => vlanId === id && below === parent);
}

/** The sysctls of a device by which pods are reached through the host. */
function uplinkSysctls(name: string) {
  return {
    forwarding: `net/ipv4/conf/${name}/forwarding`,
    proxyDelay: `net/ipv4/neigh/${name}/proxy_delay`,
    proxyNdp: `net/ipv6/conf/${name}/proxy_ndp`,
    proxyDelay6: `net/ipv6/neigh/${name}/proxy_delay`,
    acceptRa: `net/ipv6/conf/${name}/accept_ra`,
  };
}

/** While the whole host forwards, the switch of one device is not ours to turn off. */
const whileHostForwards = { key: "net/ipv4/ip_forward", value: "1" } as const;

/** The default route of a family. */
function defaultOf(family: IpFamily): string {
  return family === "IPv4" ? "0.0.0.0/0" : "::/0";
}

/**
 * The kernel's mode for ours. In its l3 the pod's device takes the ARP requests for the pod and cannot answer them, so that nobody on the
 * wire ever finds it; l3s routes likewise and leaves them to the node.
 */
function kernelModeOf(mode: NetworkConfig["ipvlanMode"]): "l2" | "l3s" {
  return mode === "l2" ? "l2" : "l3s";
}

function alone(ip: Ip): string {
  return `${ip}/${familyOf(ip) === "IPv4" ? 32 : 128}`;
}

/** The next hop of IPv6 pods that are routed by the host: the same on every host end, so that it needs no neighbour discovery to know. */
const routedGateway6 = "fe80::1" as Ip;

class Planner {
  readonly #request: AttachmentRequest;
  readonly #host: NamespaceFacts;
  readonly #pod: NamespaceFacts;
  readonly #uplink: LinkFacts;
  readonly #undoInForce: ReadonlyMap<string, readonly NetStep[]>;
  readonly #uses: readonly FunctionUse[];
  readonly #mark: string;
  readonly #shared = new Map<string, SharedPart>();
  readonly #steps: NetStep[] = [];
  readonly #undo: NetStep[] = [];
  readonly #announcements: Announcement[] = [];
  readonly #probes: Probe[] = [];
  readonly #interfaces: CniInterface[] = [];
  readonly #ips: { address: string; gateway?: string; interface: number }[] = [];
  readonly #routes: CniRoute[] = [];

  constructor(
    request: AttachmentRequest,
    host: NamespaceFacts,
    pod: NamespaceFacts,
    uplink: LinkFacts,
    undoInForce: ReadonlyMap<string, readonly NetStep[]>,
    uses: readonly FunctionUse[],
  ) {
    this.#uses = uses;
    this.#request = request;
    this.#host = host;
    this.#pod = pod;
    this.#uplink = uplink;
    this.#undoInForce = undoInForce;
    this.#mark = markOf(request.id);
  }

  plan(): PlanOutcome {
    const interfaces = this.#podInterfaces();
    for (const podInterface of interfaces) {
      const refusal = this.#attach(podInterface);
      if (refusal !== undefined) return refusal;
    }
    const refusal = this.#podRouting(interfaces);
    if (refusal !== undefined) return refusal;
    return {
      kind: "plan",
      plan: {
        shared: [...this.#shared.values()],
        steps: this.#steps,
        undo: this.#undo,
        announcements: this.#announcements,
        probes: this.#probes,
        result: {
          interfaces: this.#interfaces,
          ips: this.#ips,
          routes: this.#routes,
          dns: {},
        },
      },
    };
  }

  /**
   * Addresses share an interface when they differ in family and agree in VLAN, so that a dual-stack pod has one interface. The first
   * interface has the name that was asked for; the others count eth0, eth1, … past it, as the Go plugins do, and past names that
   * other networks of the pod have.
   */
  #podInterfaces(): PodInterface[] {
    const { ifName } = this.#request.id;
    const taken = new Set(
      this.#pod.links.filter(({ alias }) => alias !== this.#mark).map(({ name }) => name),
    );
    const groups: { vlan: number; grants: AddressGrant[] }[] = [];
    for (const grant of this.#request.addresses) {
      const family = familyOf(grant.ip);
      const group = groups.find(
        ({ vlan, grants }) =>
          vlan === grant.vlan && grants.every(({ ip }) => familyOf(ip) !== family),
      );
      if (group === undefined) groups.push({ vlan: grant.vlan, grants: [grant] });
      else group.grants.push(grant);
    }
    let counter = 0;
    return groups.map(({ vlan, grants }, position) => {
      let name = ifName;
      if (position > 0) {
        do {
          counter += 1;
          name = `eth${counter}`;
        } while (name === ifName || taken.has(name));
      }
      return { name, position, vlan, grants, mac: macOfGrants(grants) };
    });
  }

  /** The device of the host that leads to the VLAN; VLAN 0 is the uplink itself. Makes it when the mode does that. */
  #wireOf(vlan: number): Wire | CniRefusal {
    const { config } = this.#request;
    if (vlan === 0) return this.#uplink;
    const parent = parentOf(this.#uplink);
    const existing = findVlan(this.#host, this.#uplink.name, vlan);
    if (existing !== undefined) {
      // Left over from us, or somebody else's; ours goes with the last pod.
      if (existing.alias === sharedMark) this.#shareVlan(existing.name, parent, vlan);
      else this.#steps.push({ do: "up", place: "host", link: existing.name });
      return existing;
    }
    if (config.mode === "underlay-veth") {
      const others = this.#host.links.filter(({ vlanId }) => vlanId === vlan);
      const [only] = others;
      if (only === undefined || others.length > 1) {
        return refuse(
          cniCode.deviceUnusable,
          others.length > 1
            ? `VLAN ${vlan} has several devices (${others.map(({ name }) => name).join(", ")}) and none on ${parent}; name the right uplink in \`device\``
            : `no vlan device with vlanID ${vlan} on ${parent}; make one on the node: galaxy-underlay-veth uses existing VLAN devices`,
        );
      }
      this.#steps.push({ do: "up", place: "host", link: only.name });
      return only;
    }
    const name = this.#freeName(`${config.vlanPrefix}${vlan}`, `${parent}.${vlan}`);
    if (typeof name !== "string") return name;
    this.#shareVlan(name, parent, vlan);
    const below = this.#host.links.find((link) => link.name === parent) ?? this.#uplink;
    return { name, mac: below.mac, mtu: below.mtu, master: "", vlanId: vlan };
  }

  #shareVlan(name: string, parent: string, id: number): void {
    this.#share({
      key: `link ${name}`,
      steps: [
        { do: "vlan", parent, name, id, alias: sharedMark },
        { do: "up", place: "host", link: parent },
        { do: "up", place: "host", link: name },
      ],
      undo: [{ do: "no link", place: "host", name, alias: sharedMark }],
    });
  }

  /** The wanted name, or the other one when a device that is not ours has it. */
  #freeName(wanted: string, other: string): string | CniRefusal {
    for (const name of [wanted, other.slice(0, 15)]) {
      if (name.length > 15) continue;
      const link = this.#host.links.find((candidate) => candidate.name === name);
      if (link === undefined || link.alias === sharedMark) return name;
    }
    return refuse(
      cniCode.nameTaken,
      `the device name ${wanted} is used by another device of the node; set another vlan_name_prefix or bridge_name_prefix`,
    );
  }

  #share(part: SharedPart): void {
    if (this.#shared.has(part.key)) return;
    const undo = this.#undoInForce.get(part.key) ?? part.undo;
    this.#shared.set(part.key, { ...part, undo });
  }

  /** A sysctl that all pods of a device need; its old value comes back with the last of them. */
  #shareSysctl(
    key: string,
    value: string,
    unless?: { readonly key: string; readonly value: string },
  ): void {
    const old = this.#host.sysctls[key];
    const inForce = this.#undoInForce.has(`sysctl ${key}`);
    if (old === value && !inForce) return;
    const back: NetStep = { do: "sysctl", place: "host", key, value: old ?? "0" };
    this.#share({
      key: `sysctl ${key}`,
      steps: [{ do: "sysctl", place: "host", key, value }],
      undo: old === undefined ? [] : [unless === undefined ? back : { ...back, unless }],
    });
  }

  #attach(podInterface: PodInterface): CniRefusal | undefined {
    const { mode } = this.#request.config;
    const existing = this.#pod.links.find(({ name }) => name === podInterface.name);
    if (existing !== undefined && existing.alias !== this.#mark) {
      return refuse(
        cniCode.nameTaken,
        `the pod has an interface ${podInterface.name} already that this attachment did not make (${existing.kind || "hardware"}); ask for another name, or remove it`,
      );
    }
    if (mode === "sriov") return this.#attachFunction(podInterface);
    const wire = this.#wireOf(podInterface.vlan);
    if (isRefusal(wire)) return wire;
    this.#steps.push({ do: "up", place: "host", link: this.#uplink.name });
    switch (mode) {
      case "bridge":
        return this.#attachToBridge(podInterface, wire);
      case "pure":
        return podInterface.vlan === 0
          ? this.#attachRouted(podInterface, wire)
          : this.#attachToBridge(podInterface, wire);
      case "underlay-veth":
        return this.#attachRouted(podInterface, wire);
      case "macvlan":
      case "ipvlan":
        return this.#attachSlave(podInterface, wire, mode);
    }
  }

  #mtu(wire: { readonly mtu: number }): number {
    return this.#request.config.mtu ?? wire.mtu;
  }

  /** The veth pair of an interface; the name is made from everything that tells attachments apart. */
  #veth(podInterface: PodInterface, mtu: number): { name: string; mac: string } | CniRefusal {
    const { position } = podInterface;
    const suffix = this.#request.config.mode === "underlay-veth" ? "u" : "l";
    const name = `v-h${shortHash(this.#mark, 8)}-${suffix}${position}`;
    const other = this.#host.links.find((link) => link.name === name);
    if (other !== undefined && other.alias !== this.#mark && other.alias !== "") {
      return refuse(
        cniCode.nameTaken,
        `the device name ${name} is used by another device of the node (${other.alias}); remove that device`,
      );
    }
    const mac = macOf(`${this.#mark} ${position}`);
    const gone: NetStep = {
      do: "no link",
      place: "host",
      name,
      alias: this.#mark,
      evenUnmarked: true,
    };
    const peer = this.#pod.links.find((link) => link.name === podInterface.name);
    const isWhole = other?.alias === this.#mark && peer?.mac === podInterface.mac;
    // What an interrupted ADD left is of no use: its other end may be anywhere.
    if (other !== undefined && !isWhole) this.#steps.push(gone);
    this.#steps.push({
      do: "veth",
      name,
      mac,
      mtu,
      alias: this.#mark,
      peer: { name: podInterface.name, mac: podInterface.mac },
    });
    this.#undo.push(gone);
    this.#interfaces.push({ name, mac, mtu });
    return { name, mac };
  }

  #podEnd(podInterface: PodInterface, mtu: number): number {
    this.#steps.push({ do: "up", place: "pod", link: podInterface.name });
    const { netns } = this.#request;
    const { name, mac } = podInterface;
    // An ipvlan has the MAC of its parent, which is not ours to say.
    const isOwnMac = this.#request.config.mode !== "ipvlan";
    this.#interfaces.push({ name, ...(isOwnMac ? { mac } : {}), mtu, sandbox: netns });
    return this.#interfaces.length - 1;
  }

  #probe(podInterface: PodInterface, link: string): void {
    if (!this.#request.config.checksConflicts) return;
    for (const { ip } of podInterface.grants) {
      const isOurs = this.#pod.addresses.some((address) => address.ip === ip);
      if (!isOurs) this.#probes.push({ link, ip });
    }
  }

  #attachToBridge(podInterface: PodInterface, wire: Wire): CniRefusal | undefined {
    const bridge = podInterface.vlan === 0 ? this.#defaultBridge() : this.#vlanBridge(wire);
    if (typeof bridge !== "string") return bridge;
    this.#probe(podInterface, podInterface.vlan === 0 ? bridge : wire.name);
    const mtu = this.#mtu(wire);
    const veth = this.#veth(podInterface, mtu);
    if (isRefusal(veth)) return veth;
    this.#steps.push({ do: "master", link: veth.name, bridge });
    this.#steps.push({ do: "up", place: "host", link: veth.name });
    const index = this.#podEnd(podInterface, mtu);
    for (const grant of podInterface.grants) this.#podAddress(podInterface, grant, index);
    this.#announceFromPod(podInterface);
    return undefined;
  }

  /**
   * The bridge for untagged pods. The uplink's own bridge is used when it has one; otherwise one is made, and the node's addresses move
   * to it only when the configuration says so.
   */
  #defaultBridge(): string | CniRefusal {
    const { config } = this.#request;
    const uplink = this.#uplink;
    if (uplink.kind === "bridge") return uplink.name;
    const master = this.#host.links.find(({ name }) => name === uplink.master);
    if (master?.kind === "bridge") {
      if (master.alias === sharedMark) this.#shareDefaultBridge(master.name, []);
      return master.name;
    }
    if (master !== undefined) {
      return refuse(
        cniCode.deviceUnusable,
        `${uplink.name} belongs to ${master.name} (${master.kind}); name ${master.name} as \`device\` instead`,
      );
    }
    if (!config.makesDefaultBridge) {
      return refuse(
        cniCode.deviceUnusable,
        `${uplink.name} is no port of a bridge and disable_default_bridge forbids to make one; let the node's network configuration put ${uplink.name} into bridge ${config.defaultBridge}`,
      );
    }
    const addresses = this.#host.addresses.filter(
      ({ link, scope }) => link === uplink.name && scope === "global",
    );
    if (addresses.length > 0 && !config.mayMoveAddresses) {
      return refuse(
        cniCode.deviceUnusable,
        `${uplink.name} carries the node's address ${addresses[0]?.ip}, which would have to move to bridge ${config.defaultBridge}; let the node's network configuration put ${uplink.name} into a bridge, use \`"switch": "macvlan"\` or "pure", or set allow_address_move`,
      );
    }
    const name = this.#freeName(config.defaultBridge, `br-${uplink.name}`);
    if (typeof name !== "string") return name;
    this.#shareDefaultBridge(name, addresses);
    return name;
  }

  #shareDefaultBridge(name: string, addresses: NamespaceFacts["addresses"]): void {
    const uplink = this.#uplink;
    const routes = this.#host.routes.filter(
      ({ link, protocol }) => link === uplink.name && protocol !== "kernel",
    );
    const isNear = (via: Ip) =>
      addresses.some(({ ip, prefix }) =>
        isInSubnet({ ip, prefix, vlan: 0, gateway: undefined }, via),
      );
    const move = (from: string, to: string): NetStep[] => {
      if (addresses.length === 0) return [];
      return [
        // New before old, so that the node is never without. The last goes first: with the first address of a subnet the kernel would
        // take away the others.
        ...addresses.map(
          ({ ip, prefix }): NetStep => ({ do: "address", place: "host", link: to, ip, prefix }),
        ),
        ...addresses
          .map(
            ({ ip, prefix }): NetStep => ({
              do: "no address",
              place: "host",
              link: from,
              ip,
              prefix,
            }),
          )
          .toReversed(),
        ...routes.map((route): NetStep => {
          const { dst, table, via, src, metric } = route;
          return {
            do: "route",
            place: "host",
            dst,
            link: to,
            table,
            ...(via === undefined ? {} : { via }),
            ...(via === undefined || isNear(via) ? {} : { onlink: true }),
            ...(src === undefined ? {} : { src }),
            ...(metric === undefined ? {} : { metric }),
          };
        }),
      ];
    };
    const gone: NetStep = { do: "no link", place: "host", name, alias: sharedMark };
    const noMaster: NetStep = { do: "no master", link: uplink.name, bridge: name };
    this.#share({
      key: `link ${name}`,
      steps: [
        { do: "bridge", name, mac: uplink.mac, mtu: uplink.mtu, alias: sharedMark },
        { do: "up", place: "host", link: name },
        { do: "master", link: uplink.name, bridge: name },
        ...move(uplink.name, name),
      ],
      // A node whose address moved keeps its bridge: moving back and forth with pods would interrupt the node again and again.
      undo: this.#bridgeHasAddress(name) || addresses.length > 0 ? [] : [noMaster, gone],
      rollback: [...move(name, uplink.name), noMaster, gone],
    });
  }

  #bridgeHasAddress(name: string): boolean {
    return this.#host.addresses.some(({ link, scope }) => link === name && scope === "global");
  }

  /** The bridge of a VLAN device: the one it is a port of, else one of ours. A VLAN device that the node itself uses is left alone. */
  #vlanBridge(wire: Wire): string | CniRefusal {
    const { config } = this.#request;
    const master = this.#host.links.find(({ name }) => name === wire.master);
    if (master !== undefined && master.alias !== sharedMark) {
      if (master.kind === "bridge") return master.name;
      return refuse(
        cniCode.deviceUnusable,
        `${wire.name} belongs to ${master.name} (${master.kind}), which is no bridge; use another uplink`,
      );
    }
    const own = this.#host.addresses.find(
      ({ link, scope }) => link === wire.name && scope === "global",
    );
    if (own !== undefined) {
      return refuse(
        cniCode.deviceUnusable,
        `VLAN device ${wire.name} carries the node's address ${own.ip} and is not put into a bridge; use \`"switch": "macvlan"\`, or let the node's network configuration make the bridge`,
      );
    }
    const wanted = `${config.bridgePrefix}${wire.vlanId ?? 0}`;
    const name = master?.name ?? this.#freeName(wanted, `br-${wire.name}`);
    if (typeof name !== "string") return name;
    this.#share({
      key: `link ${name}`,
      steps: [
        {
          do: "bridge",
          name,
          mac: macOf(`${sharedMark} ${name} ${this.#uplink.mac}`),
          mtu: wire.mtu,
          alias: sharedMark,
        },
        { do: "master", link: wire.name, bridge: name },
        { do: "up", place: "host", link: name },
      ],
      undo: [
        { do: "no master", link: wire.name, bridge: name },
        { do: "no link", place: "host", name, alias: sharedMark },
      ],
    });
    return name;
  }

  /** The host routes and answers for the pod: no bridge, and no proxy_arp on the uplink that would answer for other addresses too. */
  #attachRouted(podInterface: PodInterface, wire: Wire): CniRefusal | undefined {
    this.#probe(podInterface, wire.name);
    const mtu = this.#mtu(wire);
    const veth = this.#veth(podInterface, mtu);
    if (isRefusal(veth)) return veth;
    const { name } = veth;
    const up = uplinkSysctls(wire.name);
    const hostEnd = (key: string, value: string): NetStep => ({
      do: "sysctl",
      place: "host",
      key,
      value,
    });
    this.#steps.push({ do: "up", place: "host", link: name });
    const index = this.#podEnd(podInterface, mtu);
    for (const grant of podInterface.grants) {
      const { ip } = grant;
      const family = familyOf(ip);
      const src = this.#nodeAddress(wire.name, family);
      if (family === "IPv4") {
        this.#steps.push(hostEnd(`net/ipv4/conf/${name}/proxy_arp`, "1"));
        this.#steps.push(hostEnd(`net/ipv4/conf/${name}/arp_ignore`, "0"));
        this.#steps.push(hostEnd(`net/ipv4/conf/${name}/forwarding`, "1"));
        this.#steps.push(hostEnd(`net/ipv4/neigh/${name}/proxy_delay`, "0"));
        this.#shareSysctl(up.forwarding, "1", whileHostForwards);
        this.#shareSysctl(up.proxyDelay, "0");
      } else {
        this.#answerForIpv6(wire.name);
        this.#steps.push({
          do: "address",
          place: "host",
          link: name,
          ip: routedGateway6,
          prefix: 64,
        });
      }
      this.#hostRoute(ip, name, src);
      this.#steps.push({ do: "proxy", link: wire.name, ip });
      this.#undo.unshift({ do: "no proxy", link: wire.name, ip });
      this.#podAddress(podInterface, grant, index);
      this.#knowNode(podInterface, family, veth.mac, false);
    }
    this.#announcements.push({
      place: "host",
      link: wire.name,
      ips: podInterface.grants.map(({ ip }) => ip),
    });
    return undefined;
  }

  /** Neighbour discovery is answered for others by devices that forward only. */
  #answerForIpv6(wire: string): void {
    const up = uplinkSysctls(wire);
    const host = (key: string, value: string): NetStep => ({
      do: "sysctl",
      place: "host",
      key,
      value,
    });
    // Forwarding turns router advertisements off; a node that lives by them keeps them with 2.
    if (this.#host.sysctls[up.acceptRa] === "1") this.#steps.push(host(up.acceptRa, "2"));
    this.#steps.push(host("net/ipv6/conf/all/forwarding", "1"));
    this.#shareSysctl(up.proxyNdp, "1");
    this.#shareSysctl(up.proxyDelay6, "0");
  }

  #hostRoute(ip: Ip, link: string, src: Ip | undefined): void {
    const dst = alone(ip);
    this.#steps.push({
      do: "route",
      place: "host",
      dst,
      link,
      table: mainTable,
      ...(src === undefined ? {} : { src }),
    });
    this.#undo.unshift({ do: "no route", place: "host", dst, link, table: mainTable });
  }

  /** A macvlan or ipvlan of the wire inside the pod. */
  #attachSlave(
    podInterface: PodInterface,
    wire: Wire,
    mode: "macvlan" | "ipvlan",
  ): CniRefusal | undefined {
    const { config } = this.#request;
    this.#probe(podInterface, wire.name);
    const mtu = this.#mtu(wire);
    const { name, mac } = podInterface;
    const isRouted = mode === "ipvlan" && config.ipvlanMode !== "l2";
    const kernelMode = kernelModeOf(config.ipvlanMode);
    // The kernel would change the mode of all of them.
    const other = this.#host.links.find(
      (link) => link.kind === "ipvlan" && link.parent === wire.name && link.mode !== kernelMode,
    );
    if (mode === "ipvlan" && other !== undefined) {
      return refuse(
        cniCode.deviceUnusable,
        `${wire.name} has the ipvlan ${other.name} of mode ${other.mode}, and a device has one mode only; set \`ipvlan_mode\` of the network to that of the others, or use another device`,
      );
    }
    const bornAs = `gxm-${shortHash(this.#mark, 8)}${podInterface.position}`;
    const unborn = (place: Place): NetStep => ({
      do: "no link",
      place,
      name: bornAs,
      alias: this.#mark,
      evenUnmarked: true,
    });
    // An ADD that was cut off left it; on the host, one of an older release.
    const has = (facts: NamespaceFacts) => facts.links.some((link) => link.name === bornAs);
    if (has(this.#host)) this.#steps.push(unborn("host"));
    if (has(this.#pod)) this.#steps.push(unborn("pod"));
    const device = {
      place: "pod",
      parent: wire.name,
      mtu,
      name,
      bornAs,
      alias: this.#mark,
    } as const;
    this.#steps.push(
      mode === "macvlan"
        ? { do: "macvlan", ...device, mac }
        : { do: "ipvlan", ...device, mode: kernelMode },
    );
    this.#undo.push(
      { do: "no link", place: "pod", name, alias: this.#mark, evenUnmarked: true },
      unborn("pod"),
      unborn("host"),
    );
    const index = this.#podEnd(podInterface, mtu);
    const shim = config.hasNodeAccess || isRouted ? this.#shim(wire, mode) : undefined;
    for (const grant of podInterface.grants) {
      const { ip } = grant;
      const family = familyOf(ip);
      const src = this.#nodeAddress(wire.name, family);
      this.#podAddress(podInterface, grant, index);
      if (shim !== undefined) {
        this.#hostRoute(ip, shim.name, src);
        if (mode === "macvlan" && family === "IPv6" && src !== undefined) {
          // Neighbour discovery answers only on the device that has the address, unlike ARP.
          this.#steps.push({ do: "address", place: "host", link: shim.name, ip: src, prefix: 128 });
        }
        if (mode === "ipvlan" && !isRouted) {
          // Answers find their way by the address that they are for, and the node's must stay where it is: an ipvlan that had it
          // would take everything that the wire sends to the node. So nobody asks; all of them have the MAC of the device below.
          const neighbour = { place: "host", link: shim.name, ip } as const;
          this.#steps.push({ do: "neighbour", ...neighbour, mac: wire.mac });
          this.#undo.unshift({ do: "no neighbour", ...neighbour });
        }
        if (!isRouted) this.#knowNode(podInterface, family, shim.mac ?? wire.mac, true);
      }
      if (isRouted) {
        const up = uplinkSysctls(wire.name);
        if (family === "IPv4") {
          this.#shareSysctl(up.forwarding, "1", whileHostForwards);
          this.#shareSysctl(up.proxyDelay, "0");
        } else {
          this.#answerForIpv6(wire.name);
        }
        this.#steps.push({ do: "proxy", link: wire.name, ip });
        this.#undo.unshift({ do: "no proxy", link: wire.name, ip });
      }
    }
    if (mode === "ipvlan") {
      // It has the MAC of the device below, which therefore can speak for it.
      const ips = podInterface.grants.map(({ ip }) => ip);
      this.#announcements.push({ place: "host", link: wire.name, ips });
    } else {
      this.#announceFromPod(podInterface);
    }
    return undefined;
  }

  /** A virtual function of the card for each interface: free, or that which this attachment has already. */
  #attachFunction(podInterface: PodInterface): CniRefusal | undefined {
    const { mtu, mostFunctions, spoofCheck, trust } = this.#request.config;
    const { name, mac, vlan } = podInterface;
    const pf = this.#uplink.name;
    const functions = (this.#host.functions ?? []).filter((one) => one.pf === pf);
    const isTaken = (index: number) =>
      this.#uses.some((use) => use.pf === pf && use.index === index) ||
      this.#steps.some((step) => step.do === "function" && step.index === index);
    const own = this.#uses.find((use) => use.mark === this.#mark && use.name === name);
    const chosen =
      own === undefined
        ? functions.find(
            ({ index, link }) =>
              index < mostFunctions &&
              !isTaken(index) &&
              this.#host.links.some((device) => device.name === link),
          )
        : functions.find(({ index }) => index === own.index);
    if (chosen === undefined) {
      const some = `${pf} has ${functions.length} virtual functions`;
      return refuse(
        cniCode.deviceUnusable,
        functions.length === 0
          ? `${pf} has no virtual functions; use a card with SR-IOV, and write their number to /sys/class/net/${pf}/device/sriov_numvfs`
          : `${some} and none is free for ${podInterface.grants[0]?.ip}; end pods that have one, raise vf_num (${mostFunctions}) or sriov_numvfs`,
      );
    }
    const { index } = chosen;
    const device = this.#host.links.find((link) => link.name === chosen.link);
    const link = own?.link ?? chosen.link;
    const before = this.#undoOf(pf, index);
    const size = mtu ?? device?.mtu ?? this.#uplink.mtu;
    const wish = {
      ...(spoofCheck === undefined ? {} : { spoofCheck }),
      ...(trust === undefined ? {} : { trust }),
    };
    // The wire of a VLAN is inside the card; it can be asked where the node has a device for it.
    const wire = vlan === 0 ? this.#uplink : findVlan(this.#host, pf, vlan);
    if (wire?.isUp === true) this.#probe(podInterface, wire.name);
    this.#steps.push({ do: "up", place: "host", link: pf });
    this.#steps.push({ do: "function", pf, index, vlan, mac, ...wish });
    this.#steps.push({
      do: "moved link",
      place: "pod",
      link,
      name,
      mac,
      mtu: size,
      alias: this.#mark,
    });
    this.#undo.push(
      ...(before ?? [
        {
          do: "no moved link",
          pf,
          index,
          link,
          name,
          mac: device?.mac ?? "",
          mtu: device?.mtu ?? size,
          alias: this.#mark,
        } as const,
        {
          do: "no function",
          pf,
          index,
          vlan: chosen.vlan,
          ...(chosen.mac === "" ? {} : { mac: chosen.mac }),
          // Only what was changed.
          ...(spoofCheck === undefined || chosen.spoofCheck === undefined
            ? {}
            : { spoofCheck: chosen.spoofCheck }),
          ...(trust === undefined || chosen.trust === undefined ? {} : { trust: chosen.trust }),
        } as const,
      ]),
    );
    const position = this.#podEnd(podInterface, size);
    for (const grant of podInterface.grants) this.#podAddress(podInterface, grant, position);
    this.#announceFromPod(podInterface);
    return undefined;
  }

  /** What gives a function back, when this attachment has it already: what was there before is known from then. */
  #undoOf(pf: string, index: number): readonly NetStep[] | undefined {
    return this.#uses.find((use) => use.mark === this.#mark && use.pf === pf && use.index === index)
      ?.undo;
  }

  /** A macvlan or ipvlan does not talk to the device below it; another one on the host stands in for it. */
  #shim(wire: Wire, mode: "macvlan" | "ipvlan"): { name: string; mac: string | undefined } {
    const { config } = this.#request;
    const name = `gxs-${shortHash(`${mode} ${wire.name}`, 8)}`;
    const mac = mode === "macvlan" ? macOf(`${wire.name} ${this.#uplink.mac} shim`) : undefined;
    const device = {
      place: "host",
      parent: wire.name,
      name,
      mtu: wire.mtu,
      alias: sharedMark,
    } as const;
    this.#share({
      key: `link ${name}`,
      steps: [
        mac === undefined
          ? { do: "ipvlan", mode: kernelModeOf(config.ipvlanMode), ...device }
          : { do: "macvlan", mac, ...device },
        { do: "up", place: "host", link: name },
        { do: "sysctl", place: "host", key: `net/ipv4/conf/${name}/arp_ignore`, value: "0" },
      ],
      undo: [{ do: "no link", place: "host", name, alias: sharedMark }],
    });
    return { name, mac };
  }

  /**
   * The pod knows the node's own address without asking, because a node with arp_ignore set would not answer on another device than
   * the one that has the address.
   * @param isDirect the node is on the wire of the pod, also when its address is not in the pod's subnet
   */
  #knowNode(podInterface: PodInterface, family: IpFamily, mac: string, isDirect: boolean): void {
    const grant = podInterface.grants.find(({ ip }) => familyOf(ip) === family);
    const address = this.#nodeAddress(this.#uplink.name, family);
    if (grant === undefined || address === undefined) return;
    const isInside = isInSubnet(grant, address);
    // Routed IPv6 pods have an address of their own only, and everything else behind the host.
    if (family === "IPv6" && !isDirect) return;
    if (!isInside && !isDirect) return;
    const link = podInterface.name;
    if (!isInside) {
      const dst = alone(address);
      const to = (table: number): NetStep => ({ do: "route", place: "pod", dst, link, table });
      // The first interface leads there; what is sent from another one's address leaves by that one.
      const isFirst = !this.#steps.some((step) => step.do === "route" && step.dst === dst);
      if (isFirst) this.#steps.push(to(mainTable));
      const { addresses } = this.#request;
      const isAlone = addresses.filter(({ ip }) => familyOf(ip) === family).length === 1;
      if (!isFirst || !isAlone) this.#steps.push(to(tableOf(link)));
    }
    this.#steps.push({ do: "neighbour", place: "pod", link, ip: address, mac });
  }

  /** The node's address on the wire, else on the uplink, else its first one: where traffic from the node to a pod comes from. */
  #nodeAddress(wire: string, family: IpFamily): Ip | undefined {
    const all = this.#host.addresses.filter(
      ({ ip, scope, link }) => scope === "global" && familyOf(ip) === family && !this.#isOurs(link),
    );
    const on = (name: string) => all.find(({ link }) => link === name)?.ip;
    return on(wire) ?? on(this.#uplink.name) ?? on(this.#uplink.master) ?? all[0]?.ip;
  }

  #isOurs(link: string): boolean {
    const alias = this.#host.links.find(({ name }) => name === link)?.alias ?? "";
    return alias.startsWith("galaxy:") && !this.#isDefaultBridge(link);
  }

  /** The bridge that the node's address moved to is ours, and its address still the node's. */
  #isDefaultBridge(link: string): boolean {
    return this.#uplink.master === link;
  }

  #announceFromPod(podInterface: PodInterface): void {
    const ips = podInterface.grants.map(({ ip }) => ip);
    this.#announcements.push({ place: "pod", link: podInterface.name, ips });
  }

  #isRoutedIpv6(grant: AddressGrant, vlan: number): boolean {
    const { mode } = this.#request.config;
    const isRouted = mode === "underlay-veth" || (mode === "pure" && vlan === 0);
    return isRouted && familyOf(grant.ip) === "IPv6";
  }

  #podAddress(podInterface: PodInterface, grant: AddressGrant, index: number): void {
    const isRouted6 = this.#isRoutedIpv6(grant, podInterface.vlan);
    const prefix = isRouted6 ? 128 : grant.prefix;
    if (familyOf(grant.ip) === "IPv6") {
      // Runtimes make pods without IPv6 unless told otherwise; and an address from galaxy-ipam is the only one wanted.
      const conf = `net/ipv6/conf/${podInterface.name}`;
      this.#steps.push(
        { do: "sysctl", place: "pod", key: `${conf}/disable_ipv6`, value: "0" },
        { do: "sysctl", place: "pod", key: `${conf}/accept_ra`, value: "0" },
      );
    }
    this.#steps.push({
      do: "address",
      place: "pod",
      link: podInterface.name,
      ip: grant.ip,
      prefix,
    });
    const gateway = this.#gatewayOf(podInterface, grant);
    this.#ips.push({
      address: `${grant.ip}/${prefix}`,
      ...(gateway === undefined ? {} : { gateway }),
      interface: index,
    });
  }

  #gatewayOf(podInterface: PodInterface, grant: AddressGrant): Ip | undefined {
    return this.#isRoutedIpv6(grant, podInterface.vlan) ? routedGateway6 : grant.gateway;
  }

  /** Routes and rules inside the pod: one default route a family, and for several addresses one table each, chosen by source. */
  #podRouting(interfaces: readonly PodInterface[]): CniRefusal | undefined {
    const { config, addresses } = this.#request;
    const isL3 = config.mode === "ipvlan" && config.ipvlanMode !== "l2";
    const ownNames = new Set(interfaces.map(({ name }) => name));
    const interfaceOf = (grant: AddressGrant) =>
      interfaces.find(({ grants }) => grants.includes(grant)) as PodInterface;
    const hop = (grant: AddressGrant) => {
      const via = this.#gatewayOf(interfaceOf(grant), grant);
      // Inside an l3 ipvlan there are no neighbours: everything goes out of the device.
      if (isL3) return {};
      if (via === undefined) return undefined;
      return isInSubnet(grant, via) || via === routedGateway6
        ? { via }
        : { via, onlink: true as const };
    };
    for (const family of ["IPv4", "IPv6"] as const) {
      const grants = addresses.filter(({ ip }) => familyOf(ip) === family);
      const wanted = addresses[config.defaultAddress];
      const chosen = wanted !== undefined && grants.includes(wanted) ? wanted : grants[0];
      if (chosen === undefined) continue;
      const dst = defaultOf(family);
      const other = this.#pod.routes.some(
        (route) => route.dst === dst && route.table === mainTable && !ownNames.has(route.link),
      );
      const next = hop(chosen);
      if (!other && next !== undefined) {
        const link = interfaceOf(chosen).name;
        this.#steps.push({ do: "route", place: "pod", dst, link, table: mainTable, ...next });
        this.#routes.push({ dst, ...("via" in next ? { gw: next.via } : {}) });
      }
      if (grants.length > 1 || other) {
        for (const grant of grants) this.#sourceRouting(interfaceOf(grant), grant, hop(grant));
      }
    }
    if (interfaces.length > 1) {
      // Each interface speaks for its own address only; Linux would answer for all of them everywhere.
      for (const { name } of interfaces) {
        const pod = (key: string, value: string): NetStep => ({
          do: "sysctl",
          place: "pod",
          key: `net/ipv4/conf/${name}/${key}`,
          value,
        });
        this.#steps.push(pod("arp_ignore", "1"), pod("arp_announce", "2"), pod("rp_filter", "2"));
      }
    }
    for (const { dst, gw, address } of config.routes) {
      const grant = addresses[address];
      // A pod with fewer addresses than the network has routes for is no mistake.
      if (grant === undefined) continue;
      const family = dst.includes(":") ? "IPv6" : "IPv4";
      const via = gw ?? this.#gatewayOf(interfaceOf(grant), grant);
      if (familyOf(grant.ip) !== family || (via !== undefined && familyOf(via) !== family)) {
        return refuse(
          cniCode.invalidConfig,
          `route ${dst} of the configuration is for address ${address}, which is ${grant.ip}: families differ; correct \`routes\``,
        );
      }
      const next = isL3 || via === undefined ? {} : { via, onlink: true as const };
      this.#steps.push({
        do: "route",
        place: "pod",
        dst,
        link: interfaceOf(grant).name,
        table: mainTable,
        ...next,
      });
      this.#routes.push({ dst, ...(via === undefined ? {} : { gw: via }) });
    }
    return undefined;
  }

  #sourceRouting(
    podInterface: PodInterface,
    grant: AddressGrant,
    next: { readonly via?: Ip; readonly onlink?: true } | undefined,
  ): void {
    const { ip, prefix } = grant;
    const link = podInterface.name;
    const table = tableOf(link);
    const subnet = parseCidr(`${ip}/${prefix}`);
    if (subnet !== undefined && !this.#isRoutedIpv6(grant, podInterface.vlan)) {
      const dst = cidrText(ip, prefix);
      this.#steps.push({ do: "route", place: "pod", dst, link, table, src: ip });
    }
    if (next !== undefined) {
      const dst = defaultOf(familyOf(ip));
      this.#steps.push({ do: "route", place: "pod", dst, link, table, ...next });
    }
    const rule = { place: "pod", from: ip, table, priority: 1536 } as const;
    this.#steps.push({ do: "rule", ...rule });
    this.#undo.push({ do: "no rule", ...rule });
  }
}

/** The routing table for what leaves from an address of this interface: by the number in its name, so that it stays the same. */
function tableOf(link: string): number {
  const digits = /([0-9]{1,3})$/.exec(link)?.[1];
  if (digits !== undefined) return 100 + Number(digits);
  return 2000 + Number.parseInt(macOf(link).slice(-5).replace(":", ""), 16);
}

/** `02:42:` and the four bytes of the first IPv4 address, as the Go plugins do, so that an address keeps its MAC when it floats. */
function macOfGrants(grants: readonly AddressGrant[]): string {
  const first = grants.find(({ ip }) => familyOf(ip) === "IPv4") ?? grants[0];
  const number = first === undefined ? 0 : ipToNumber(first.ip);
  const low = Number(BigInt(number) & 0xffffffffn);
  const octets = [24, 16, 8, 0].map((shift) => (low >>> shift) & 255);
  return ["02", "42", ...octets.map((octet) => octet.toString(16).padStart(2, "0"))].join(":");
}

function isInSubnet(grant: AddressGrant, ip: Ip): boolean {
  const subnet = parseCidr(`${grant.ip}/${grant.prefix}`);
  return subnet !== undefined && rangeContains(subnet.range, ipToNumber(ip));
}

/** The canonical text of the subnet of an address. */
function cidrText(ip: Ip, prefix: number): string {
  const subnet = parseCidr(`${ip}/${prefix}`);
  return subnet === undefined ? `${ip}/${prefix}` : formatCidr(subnet);
}
