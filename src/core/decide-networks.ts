// Which networks a pod gets, and whether the addresses that its annotation names are its own. Decisions of the node side; no I/O.

import type { Allocation } from "./allocation.ts";
import type { AddressGrant, CniRefusal } from "./cni-result.ts";
import { cniCode } from "./cni-result.ts";

/** A network that a pod asks for in `k8s.v1.cni.cncf.io/networks`. */
export type NetworkWish = {
  readonly name: string;
  /** Name of the interface; undefined: ours to choose. */
  readonly ifName: string | undefined;
};

/** The part of the daemon's configuration that chooses networks. */
export type NetworkDefaults = {
  /** `ENIIPNetwork`: for pods that want a float IP; "" when there is none. */
  readonly floatIpNetwork: string;
  readonly defaultNetworks: readonly string[];
};

/** A network of a pod, with its interface. */
export type PodNetwork = { readonly name: string; readonly ifName: string };

/** Name of the client plugin, which no pod may name: the daemon would call itself. */
export const clientPlugin = "galaxy-sdn";

/**
 * The networks of a pod in order: those that it names, else the one for float IPs when it wants one, else the defaults. The first has
 * the interface that the runtime asked for, whatever the pod says; the others `eth<position>` unless they name one.
 */
export function decideNetworks(
  pod: { readonly wishes: readonly NetworkWish[]; readonly wantsAddress: boolean },
  defaults: NetworkDefaults,
  ifName: string,
): { readonly kind: "networks"; readonly networks: readonly PodNetwork[] } | CniRefusal {
  const no = (message: string): CniRefusal => ({
    kind: "refused",
    code: cniCode.invalidConfig,
    message,
  });
  const named = (names: readonly string[]) =>
    names.map((name): NetworkWish => ({ name, ifName: undefined }));
  const wishes =
    pod.wishes.length > 0
      ? pod.wishes
      : pod.wantsAddress && defaults.floatIpNetwork !== ""
        ? named([defaults.floatIpNetwork])
        : named(defaults.defaultNetworks);
  if (wishes.length === 0) {
    return no(
      "no network for this pod: it names none and there is no default; set DefaultNetworks (and ENIIPNetwork) in the daemon's configuration",
    );
  }
  const networks = wishes.map(
    (wish, position): PodNetwork => ({
      name: wish.name,
      ifName: position === 0 ? ifName : (wish.ifName ?? `eth${position}`),
    }),
  );
  for (const [position, network] of networks.entries()) {
    if (network.name === clientPlugin) {
      return no(
        `network ${clientPlugin} is the daemon itself; name a network of its configuration`,
      );
    }
    const other = networks.findIndex((candidate) => candidate.ifName === network.ifName);
    if (other < position) {
      return no(
        `networks ${networks[other]?.name} and ${network.name} both want interface ${network.ifName}; name another one with ${network.name}@NAME`,
      );
    }
  }
  return { kind: "networks", networks };
}

/**
 * Whether the addresses of a pod's annotation are those that galaxy-ipam gave it: anybody who may write the pod's annotations could have
 * written others.
 * @param record of an address; undefined when there is none
 * @returns undefined when all is well
 */
export function refuseForeignAddresses(
  pod: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly nodeName: string;
  },
  grants: readonly AddressGrant[],
  record: (ip: string) => Allocation | undefined,
): CniRefusal | undefined {
  const who = `pod ${pod.namespace}/${pod.name}`;
  for (const { ip } of grants) {
    const because = problemOf(pod, record(ip));
    if (because === undefined) continue;
    return {
      kind: "refused",
      code: cniCode.untrusted,
      message: `${who} may not use address ${ip} of its annotation: ${because}; remove common.ipinfos from the pod, galaxy-ipam writes it`,
    };
  }
  return undefined;
}

function problemOf(
  pod: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly nodeName: string;
  },
  record: Allocation | undefined,
): string | undefined {
  if (record === undefined) return "there is no FloatingIP of that address";
  const { owner } = record;
  if (owner.kind !== "pod") return `it is reserved for ${owner.kind}, not for a pod`;
  // Records of the Go program have no uid; their pod is known by its name.
  if (record.podUid === "") {
    if (owner.pod.namespace !== pod.namespace || owner.pod.name !== pod.name) {
      return `it belongs to pod ${owner.pod.namespace}/${owner.pod.name}`;
    }
  } else if (record.podUid !== pod.uid) {
    return `it belongs to the pod with uid ${record.podUid}, this one has ${pod.uid}`;
  }
  return record.nodeName !== "" && record.nodeName !== pod.nodeName
    ? `it is bound on node ${record.nodeName}, the pod is on ${pod.nodeName}`
    : undefined;
}
