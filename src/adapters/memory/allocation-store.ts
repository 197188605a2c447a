// The AllocationStore on a map. Two of them on one MemoryCluster are two processes; nothing survives the cluster object.

import type { Allocation } from "../../core/allocation.ts";
import type { Ip } from "../../core/ip.ts";
import type {
  AllocationEvent,
  AllocationStore,
  CreateOutcome,
  RemoveOutcome,
  UpdateOutcome,
} from "../../ports/allocation-store.ts";
import type { MemoryCluster } from "./cluster.ts";

/** Records in a MemoryCluster. Calls take effect after they return, as over a network, so that others may come in between. */
export class MemoryAllocationStore implements AllocationStore {
  readonly #cluster: MemoryCluster;

  constructor(cluster: MemoryCluster) {
    this.#cluster = cluster;
  }

  async list(): Promise<readonly Allocation[]> {
    await Promise.resolve();
    return [...this.#cluster.records.values()];
  }

  async read(ip: Ip): Promise<Allocation | undefined> {
    await Promise.resolve();
    return this.#cluster.records.get(ip);
  }

  async create(allocation: Allocation): Promise<CreateOutcome> {
    await Promise.resolve();
    if (this.#cluster.records.has(allocation.ip)) return { kind: "exists" };
    return { kind: "created", allocation: this.#write(allocation) };
  }

  async update(allocation: Allocation): Promise<UpdateOutcome> {
    await Promise.resolve();
    const present = this.#cluster.records.get(allocation.ip);
    if (present === undefined) return { kind: "missing" };
    if (present.version !== allocation.version) return { kind: "conflict" };
    return { kind: "updated", allocation: this.#write(allocation) };
  }

  async remove(allocation: Allocation): Promise<RemoveOutcome> {
    await Promise.resolve();
    const present = this.#cluster.records.get(allocation.ip);
    if (present === undefined) return { kind: "missing" };
    if (present.version !== allocation.version) return { kind: "conflict" };
    this.#cluster.records.delete(allocation.ip);
    this.#cluster.recordEvents.emit({ kind: "removed", ip: allocation.ip });
    return { kind: "removed" };
  }

  watch(listener: (event: AllocationEvent) => void): () => void {
    return this.#cluster.recordEvents.subscribe(listener);
  }

  #write(allocation: Allocation): Allocation {
    const written = { ...allocation, version: this.#cluster.nextVersion() };
    this.#cluster.records.set(written.ip, written);
    this.#cluster.recordEvents.emit({ kind: "changed", allocation: written });
    return written;
  }
}
