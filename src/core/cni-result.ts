// What a network attachment is answered with: the result of CNI 1.1, which every older form can be made from. The text forms are in wire/cni.ts.

import type { Ip } from "./ip.ts";

/** A network interface that an attachment made or used. */
export type CniInterface = {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Path of the network namespace; absent for an interface of the host. */
  readonly sandbox?: string;
};

/** An address with its prefix, and the position of its interface in the result. */
export type CniAddress = {
  /** `ADDRESS/PREFIX`. */
  readonly address: string;
  readonly gateway?: string;
  readonly interface?: number;
};

/** A route of the pod. */
export type CniRoute = { readonly dst: string; readonly gw?: string };

/** Name resolution as the configuration says it; passed on, never interpreted. */
export type CniDns = {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
};

/** The result of ADD. */
export type CniResult = {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns;
};

/**
 * Why a request is refused, with the code that the CNI specification gives it (section "Error"); codes from 100 on are ours and
 * stand in docs/node.md. `message` names the object, the value and the next step.
 */
export type CniRefusal = {
  readonly kind: "refused";
  readonly code: number;
  readonly message: string;
};

/** Codes of refusals. Up to 99 they are the specification's. */
export const cniCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  undecodable: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  noAddress: 100,
  deviceUnusable: 101,
  addressInUse: 102,
  nameTaken: 103,
  checkFailed: 104,
  untrusted: 105,
  pluginMissing: 106,
  general: 999,
} as const;

/** An address that is to be configured, checked. */
export type AddressGrant = {
  readonly ip: Ip;
  readonly prefix: number;
  /** 0 is untagged. */
  readonly vlan: number;
  readonly gateway: Ip | undefined;
};
