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

/** Numbers of states in {@link OwnerGroups.states}; 0 is a group that is not in use. */
export const stateNumbers: Readonly<Record<AllocationState, number>> = {
  Bound: 1,
  Reserved: 2,
  Admin: 3,
  Draining: 4,
};

/** Texts as numbers, as long as somebody uses them; a number is used again afterwards. */
class TextNumbers {
  readonly #ids = new Map<string, number>();
  readonly #texts: string[] = [];
  readonly #counts: number[] = [];
  readonly #freeIds: number[] = [];
  #inOrder: readonly number[] | undefined;

  /** One more than the largest number given so far. */
  get size(): number {
    return this.#texts.length;
  }

  idOf(text: string): number | undefined {
    return this.#ids.get(text);
  }

  enter(text: string): number {
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.#freeIds.pop() ?? this.#texts.length;
      this.#ids.set(text, id);
      this.#texts[id] = text;
      this.#counts[id] = 0;
      this.#inOrder = undefined;
    }
    this.#counts[id] = (this.#counts[id] as number) + 1;
    return id;
  }

  leave(id: number): void {
    const count = (this.#counts[id] as number) - 1;
    this.#counts[id] = count;
    if (count > 0) return;
    this.#ids.delete(this.#texts[id] as string);
    this.#freeIds.push(id);
    this.#inOrder = undefined;
  }

  /** Numbers in the order of their texts. */
  inOrder(): readonly number[] {
    this.#inOrder ??= [...this.#ids].sort(([a], [b]) => compareTexts(a, b)).map(([, id]) => id);
    return this.#inOrder;
  }
}

/** Numbers for groups, and what groups have in common in columns, so that a filter is a comparison of numbers. */
export class OwnerGroups {
  /** Numbers of what groups have in common, by the number of the group. */
  readonly namespaces: number[] = [];
  readonly appNames: number[] = [];
  readonly appTypes: number[] = [];
  readonly poolNames: number[] = [];
  readonly policyRanks: number[] = [];
  /** {@link stateNumbers}; 0: the group is not in use. */
  readonly states: number[] = [];
  /** 1: its addresses are pods', by name. */
  readonly isPods: number[] = [];
  /** How many addresses a group has. */
  readonly counts: number[] = [];
  readonly namespaceTexts = new TextNumbers();
  readonly appNameTexts = new TextNumbers();
  readonly appTypeTexts = new TextNumbers();
  readonly poolNameTexts = new TextNumbers();
  readonly #idByText = new Map<string, number>();
  readonly #texts: string[] = [];
  readonly #owners: Owner[] = [];
  readonly #freeIds: number[] = [];
  readonly #prefixes: (string | undefined)[] = [];

  /** One more than the largest number in use. */
  get size(): number {
    return this.states.length;
  }

  /** An owner of the group. */
  ownerOf(id: number): Owner {
    return this.#owners[id] as Owner;
  }

  /** The key of the group's owners without the name of a pod, made once. */
  prefixOf(id: number, format: (owner: Owner) => string): string {
    const known = this.#prefixes[id];
    if (known !== undefined) return known;
    const prefix = format(this.ownerOf(id));
    this.#prefixes[id] = prefix;
    return prefix;
  }

  /** The number of an allocation's group; undefined when no address is in it. */
  idOf(allocation: Allocation): number | undefined {
    return this.#idByText.get(groupText(allocation));
  }

  /** Counts an address in. @returns the number of its group */
  enter(allocation: Allocation): number {
    const text = groupText(allocation);
    let id = this.#idByText.get(text);
    if (id === undefined) {
      id = this.#freeIds.pop() ?? this.size;
      const { namespace, appName, appType, poolName } = commonOf(allocation.owner);
      this.#idByText.set(text, id);
      this.#texts[id] = text;
      this.#owners[id] = allocation.owner;
      this.#prefixes[id] = undefined;
      this.counts[id] = 0;
      this.states[id] = stateNumbers[stateOf(allocation)];
      this.isPods[id] = allocation.owner.kind === "pod" ? 1 : 0;
      this.policyRanks[id] = policyRanks[allocation.policy];
      this.namespaces[id] = this.namespaceTexts.enter(namespace);
      this.appNames[id] = this.appNameTexts.enter(appName);
      this.appTypes[id] = this.appTypeTexts.enter(appType);
      this.poolNames[id] = this.poolNameTexts.enter(poolName);
    }
    this.counts[id] = (this.counts[id] as number) + 1;
    return id;
  }

  /** Counts an address of the group out. */
  leave(id: number): void {
    const count = (this.counts[id] as number) - 1;
    this.counts[id] = count;
    if (count > 0) return;
    this.#idByText.delete(this.#texts[id] as string);
    this.states[id] = 0;
    this.namespaceTexts.leave(this.namespaces[id] as number);
    this.appNameTexts.leave(this.appNames[id] as number);
    this.appTypeTexts.leave(this.appTypes[id] as number);
    this.poolNameTexts.leave(this.poolNames[id] as number);
    this.#freeIds.push(id);
  }
}

/** Order of texts by code unit, the same on every machine. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What the addresses of a group have in common; "" where there is nothing. */
type Common = {
  readonly namespace: string;
  readonly appName: string;
  /** Lower-case kind of the workload. */
  readonly appType: string;
  readonly poolName: string;
};

function commonOf(owner: Owner): Common {
  const nobody = { namespace: "", appName: "", appType: "", poolName: "" };
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

function groupText(allocation: Allocation): string {
  return `${policyRanks[allocation.policy]} ${stateOf(allocation)} ${textOf(allocation.owner)}`;
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
