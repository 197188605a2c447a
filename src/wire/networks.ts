// The pod annotations `k8s.v1.cni.cncf.io/networks` (asked for, in both forms) and `k8s.v1.cni.cncf.io/network-status` (reported), as the
// Network Plumbing Working Group's specification has them.

import type { CniResult } from "../core/cni-result.ts";
import type { NetworkWish } from "../core/decide-networks.ts";
import { ifNameProblem } from "./cni.ts";
import { asObject, asText, quoteValue } from "./json-value.ts";

/** Pod annotation: which networks the pod wants. */
export const networksAnnotation = "k8s.v1.cni.cncf.io/networks";

/** Pod annotation: which networks the pod has. */
export const networkStatusAnnotation = "k8s.v1.cni.cncf.io/network-status";

/** More networks than any pod has. */
const mostNetworks = 16;

const labelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The wishes, or what is wrong with the annotation, in words that name value and remedy. */
export type NetworksParse =
  | { readonly kind: "wishes"; readonly wishes: readonly NetworkWish[] }
  | { readonly kind: "problem"; readonly problem: string };

/** Reads the annotation; "" is an absent one. `[ns/]name[@ifname]` with commas, or a JSON list of `{name,interface}`. */
export function parseNetworks(text: string): NetworksParse {
  if (text.trim() === "") return { kind: "wishes", wishes: [] };
  const problem = (what: string): NetworksParse => ({
    kind: "problem",
    problem: `annotation ${networksAnnotation}: ${what}`,
  });
  const items = /[[{"]/.test(text) ? parseJsonForm(text) : parseCommaForm(text);
  if (typeof items === "string") return problem(items);
  if (items.length > mostNetworks) {
    return problem(`${items.length} networks are too many; at most ${mostNetworks}`);
  }
  for (const { name, ifName } of items) {
    if (!namePattern.test(name)) {
      return problem(
        `${quoteValue(text)} has an empty or impossible network name ${quoteValue(name)}; write names with commas between them, and none at the end`,
      );
    }
    const wrong = ifName === undefined ? undefined : ifNameProblem(ifName);
    if (wrong !== undefined) return problem(`interface ${wrong}`);
  }
  return { kind: "wishes", wishes: items };
}

function parseCommaForm(text: string): NetworkWish[] | string {
  const wishes: NetworkWish[] = [];
  for (const part of text.split(",")) {
    const match = /^(?:([^/@]*)\/)?([^/@]*)(?:@([^/@]*))?$/.exec(part.trim());
    if (match === null) {
      return `${quoteValue(part)} is not of the form [namespace/]name[@interface]; correct it`;
    }
    const [, namespace, name = "", ifName] = match;
    if (namespace !== undefined && !labelPattern.test(namespace)) {
      return `${quoteValue(part)} has an impossible namespace; write a lower-case name, or none`;
    }
    wishes.push({ name, ifName });
  }
  return wishes;
}

function parseJsonForm(text: string): NetworkWish[] | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return `${quoteValue(text)} is no JSON; write [{"name":"…"}], or names with commas`;
  }
  if (!Array.isArray(json)) return `${quoteValue(text)} is no JSON list; write [{"name":"…"}]`;
  const wishes: NetworkWish[] = [];
  for (const item of json) {
    const object = asObject(item);
    const name = asText(object?.["name"]);
    const ifName = asText(object?.["interface"]);
    if (object === undefined || name === undefined) {
      return `${quoteValue(item)} has no name; write {"name":"…"}`;
    }
    for (const field of ["ips", "mac"]) {
      // Doing without what was asked for would be worse than refusing: the pod would run with other addresses than it expects.
      if (field in object) {
        return `${quoteValue(item)} asks for ${field}, which the pod cannot choose; use the annotations of float IPs`;
      }
    }
    wishes.push({ name, ifName: ifName === "" ? undefined : ifName });
  }
  return wishes;
}

/** A network that a pod has. */
export type NetworkStatus = {
  readonly name: string;
  readonly ifName: string;
  readonly result: CniResult;
  readonly isDefault: boolean;
};

/** The text of the status annotation. */
export function formatNetworkStatus(statuses: readonly NetworkStatus[]): string {
  return JSON.stringify(
    statuses.map(({ name, ifName, result, isDefault }) => {
      const mac = result.interfaces.find(
        (link) => link.sandbox !== undefined && link.name === ifName,
      )?.mac;
      return {
        name,
        interface: ifName,
        ips: result.ips.map(({ address }) => address.split("/")[0]),
        ...(mac === undefined ? {} : { mac }),
        default: isDefault,
        dns: result.dns,
      };
    }),
  );
}
