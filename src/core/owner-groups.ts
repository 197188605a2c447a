// What addresses have in common, as small numbers: all pods of one workload in one pool with one policy are one group, so that a filter is
// decided once for each group and not once for each address. Not an index of addresses; allocation-listing.ts keeps those.

import type { Allocation, AllocationState } from "./allocation.ts";
import { stateOf } from "./allocation.ts";
import type { Owner } from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";

/** Policies in the order in which lists sort them. */
const policyRanks: Readonly<Record<ReleasePolicy, number>> = {
  "pod-delete": 0,
  immutable: 1,
  never: 2,
};

/** How many policies there are. */
export const policyCount = 3;

/** What the addresses of a group have in common; "" where there is nothing. */
export type OwnerGroup = {
  readonly namespace: string;
  readonly appName: string;
  /** Lower-case kind of the workload. */
  readonly appType: string;
  readonly poolName: string;
  readonly state: AllocationState;
  /** 0 pod-delete, 1 immutable, 2 never. */
  readonly policyRank: number;
  /** An owner of the group. */
  readonly owner: Owner;
};

/** Numbers for groups and namespaces. A group's number is used again when its last address left; those of namespaces are kept. */
export class OwnerGroups {
  readonly #idByText = new Map<string, number>();
  readonly #texts: string[] = [];
  readonly #groups: (OwnerGroup | undefined)[] = [];
  readonly #counts: number[] = [];
  readonly #freeIds: number[] = [];
  readonly #namespaceOf: number[] = [];
  readonly #policyRankOf: number[] = [];
  readonly #namespaceIds = new Map<string, number>();
  readonly #namespaces: string[] = [];
  #namespacesInOrder: readonly number[] | undefined;

  /** One more than the largest number in use. */
  get size(): number {
    return this.#groups.length;
  }

  /** The group with a number; undefined when it is not in use. */
  at(id: number): OwnerGroup | undefined {
    return this.#groups[id];
  }

  /** The number of a group's namespace. */
  namespaceOf(id: number): number {
    return this.#namespaceOf[id] as number;
  }

  /** The policy of a group: 0 pod-delete, 1 immutable, 2 never. */
  policyRankOf(id: number): number {
    return this.#policyRankOf[id] as number;
  }

  /** How many addresses a group has. */
  countOf(id: number): number {
    return this.#counts[id] as number;
  }

  /** The number of a namespace; undefined when no address ever belonged there. */
  namespaceId(namespace: string): number | undefined {
    return this.#namespaceIds.get(namespace);
  }

  /** How many namespaces have numbers. */
  get namespaceCount(): number {
    return this.#namespaces.length;
  }

  /** Numbers of namespaces in the order of their names. */
  namespacesInOrder(): readonly number[] {
    this.#namespacesInOrder ??= this.#namespaces
      .map((_, id) => id)
      .sort((a, b) => compareTexts(this.#namespaces[a] as string, this.#namespaces[b] as string));
    return this.#namespacesInOrder;
  }

  /** Counts an address in. @returns the number of its group */
  enter(allocation: Allocation): number {
    const policyRank = policyRanks[allocation.policy];
    const state = stateOf(allocation);
    const text = `${policyRank} ${state} ${textOf(allocation.owner)}`;
    let id = this.#idByText.get(text);
    if (id === undefined) {
      id = this.#freeIds.pop() ?? this.#groups.length;
      const group = { ...groupOf(allocation.owner), state, policyRank };
      this.#idByText.set(text, id);
      this.#texts[id] = text;
      this.#groups[id] = group;
      this.#counts[id] = 0;
      this.#policyRankOf[id] = policyRank;
      this.#namespaceOf[id] = this.#enterNamespace(group.namespace);
    }
    this.#counts[id] = (this.#counts[id] as number) + 1;
    return id;
  }

  /** Counts an address of the group out. */
  leave(id: number): void {
    const count = (this.#counts[id] as number) - 1;
    this.#counts[id] = count;
    if (count > 0) return;
    this.#idByText.delete(this.#texts[id] as string);
    this.#groups[id] = undefined;
    this.#freeIds.push(id);
  }

  #enterNamespace(namespace: string): number {
    let id = this.#namespaceIds.get(namespace);
    if (id === undefined) {
      id = this.#namespaces.length;
      this.#namespaces.push(namespace);
      this.#namespaceIds.set(namespace, id);
      this.#namespacesInOrder = undefined;
    }
    return id;
  }
}

/** Order of texts by code unit, the same on every machine. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function groupOf(owner: Owner): Omit<OwnerGroup, "state" | "policyRank"> {
  const nobody = { namespace: "", appName: "", appType: "", poolName: "", owner };
  switch (owner.kind) {
    case "pod":
      return {
        ...nobody,
        namespace: owner.pod.namespace,
        appName: owner.workload?.name ?? "",
        appType: owner.workload?.kind ?? "",
        poolName: owner.pool ?? "",
      };
    case "workload":
      return {
        ...nobody,
        namespace: owner.workload.namespace,
        appName: owner.workload.name,
        appType: owner.workload.kind,
      };
    case "pool":
      return { ...nobody, poolName: owner.pool };
    case "admin":
    case "foreign":
      return nobody;
    default:
      return owner satisfies never;
  }
}

/** Names of Kubernetes contain no blank. */
function textOf(owner: Owner): string {
  switch (owner.kind) {
    case "pod": {
      const { workload, pool, pod } = owner;
      return `p ${pod.namespace} ${workload?.type ?? ""} ${workload?.kind ?? ""} ${workload?.name ?? ""} ${pool ?? ""}`;
    }
    case "workload":
      return `w ${owner.workload.namespace} ${owner.workload.type} ${owner.workload.kind} ${owner.workload.name}`;
    case "pool":
      return `l ${owner.pool}`;
    case "admin":
    case "foreign":
      return `${owner.kind} ${owner.key}`;
    default:
      return owner satisfies never;
  }
}
