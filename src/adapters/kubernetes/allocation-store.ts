// AllocationStore on FloatingIP objects of the API server. Keeps no copy of them: the table of the allocator is the only cache.

import type { Allocation } from "../../core/allocation.ts";
import { withForeignText, withIdleFields } from "../../core/allocation.ts";
import type { Ip } from "../../core/ip.ts";
import type { Owner, WorkloadRef } from "../../core/owner.ts";
import type {
  AllocationEvent,
  AllocationStore,
  CreateOutcome,
  RemoveOutcome,
  UpdateOutcome,
} from "../../ports/allocation-store.ts";
import type { Log } from "../../ports/log.ts";
import type { Metrics } from "../../ports/metrics.ts";
import { WorldError } from "../../ports/world-error.ts";
import {
  floatingIpName,
  floatingIpPatch,
  formatFloatingIp,
  parseFloatingIp,
  parseFloatingIpName,
} from "../../wire/crd.ts";
import { type ApiClient, parseAnswer } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import { listPages } from "./list-pages.ts";
import { ListWatch, type ListWatchTimes, versionOf } from "./list-watch.ts";
import { ownCopy, StringPool } from "./string-pool.ts";
import { nameKeyOf } from "./watch-cache.ts";

const collectionPath = "/apis/galaxy.k8s.io/v1alpha1/floatingips";

/** Objects of a page: a record has about 1 KB, so that a page is parsed in some 10 ms. */
const pageSize = 1000;

/** How often a list is begun again that grew too old between two pages. */
const mostListAttempts = 3;

/** What the store needs. */
export type KubernetesAllocationStoreOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly times?: ListWatchTimes;
};

/** Records as FloatingIP objects. */
export class KubernetesAllocationStore implements AllocationStore {
  readonly #client: ApiClient;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #watch: ListWatch;
  readonly #listeners = new Set<(event: AllocationEvent) => void>();
  readonly #texts = new StringPool(200_000);
  /** By namespace and name; of two workloads of one name the one that was seen last. */
  readonly #workloads = new Map<string, Map<string, WorkloadRef>>();
  #workloadCount = 0;
  /** A list began before the watch knew from where to watch: changes between the two would be told by neither. */
  #missedStart = false;
  /** Names of records that are no addresses, each reported once. */
  readonly #strange = new Set<string>();

  constructor(options: KubernetesAllocationStoreOptions) {
    this.#client = options.client;
    this.#log = options.log;
    this.#metrics = options.metrics;
    let isFirst = true;
    this.#watch = new ListWatch({
      client: options.client,
      log: options.log,
      collection: { path: collectionPath, what: "FloatingIPs" },
      tellsLists: false,
      ...(options.times === undefined ? {} : { times: options.times }),
      listener: {
        listBegins: () => {},
        seen: (object) => {
          const allocation = this.#parse(object);
          if (allocation !== undefined) this.#tell({ kind: "changed", allocation });
        },
        deleted: (object) => {
          const ip = parseFloatingIpName(nameKeyOf(object) ?? "");
          if (ip !== undefined) this.#tell({ kind: "removed", ip });
        },
        listEnds: () => {
          if (!isFirst || this.#missedStart) this.#tell({ kind: "reset" });
          isFirst = false;
        },
      },
    });
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.#watch.start();
  }

  /** Resolves when changes are told: a list that begins after this misses none, so that no `reset` follows it. */
  whenSynced(): Promise<void> {
    return this.#watch.whenSynced();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.#watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#watch;
  }

  async list(): Promise<readonly Allocation[]> {
    if (!this.#watch.isSynced) this.#missedStart = true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const allocations: Allocation[] = [];
        const collection = { path: collectionPath, what: "FloatingIPs" };
        for await (const page of listPages(this.#client, collection, pageSize)) {
          for (const item of page.items) {
            const allocation = this.#parse(item);
            if (allocation !== undefined) allocations.push(allocation);
          }
        }
        return allocations;
      } catch (error) {
        const isTooOld = error instanceof ApiError && error.status === 410;
        if (!isTooOld || attempt === mostListAttempts) throw error;
      }
    }
  }

  async read(ip: Ip): Promise<Allocation | undefined> {
    const tried = `read FloatingIP ${ip}`;
    const answer = await this.#client.readJson({ path: pathOf(ip), tried });
    if (answer.kind === "missing") return undefined;
    const allocation = this.#parse(answer.json);
    if (allocation === undefined) throw unreadable(tried, false);
    return allocation;
  }

  async create(allocation: Allocation): Promise<CreateOutcome> {
    const tried = `create FloatingIP ${allocation.ip}`;
    const answer = await this.#client.write({
      method: "POST",
      path: collectionPath,
      body: formatFloatingIp(allocation),
      tried,
    });
    switch (answer.kind) {
      case "done":
        return { kind: "created", allocation: written(allocation, answer.text, tried) };
      case "conflict":
        if (answer.reason === "AlreadyExists") return { kind: "exists" };
        throw new WorldError("API_REJECTED", { tried, message: answer.message });
      case "missing":
        throw new WorldError("API_REJECTED", { tried, message: answer.message });
      default:
        return answer satisfies never;
    }
  }

  async update(allocation: Allocation): Promise<UpdateOutcome> {
    const tried = `update FloatingIP ${allocation.ip}`;
    requireVersion(allocation);
    const answer = await this.#client.write({
      method: "PATCH",
      path: pathOf(allocation.ip),
      body: floatingIpPatch(allocation),
      tried,
    });
    if (answer.kind !== "done") return { kind: answer.kind };
    // What stands there now, which is not always what was asked for: an operator's label `reserved` stays.
    const updated = this.#parse(parseAnswer(answer.text, tried, true));
    if (updated === undefined) throw unreadable(tried, true);
    return { kind: "updated", allocation: updated };
  }

  async remove(allocation: Allocation): Promise<RemoveOutcome> {
    requireVersion(allocation);
    const answer = await this.#client.write({
      method: "DELETE",
      path: pathOf(allocation.ip),
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions: { resourceVersion: allocation.version },
      },
      tried: `delete FloatingIP ${allocation.ip}`,
    });
    return { kind: answer.kind === "done" ? "removed" : answer.kind };
  }

  watch(listener: (event: AllocationEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Undefined for an object whose name is no address: it takes nothing out of allocation, so that it is reported and left alone. */
  #parse(object: unknown): Allocation | undefined {
    const allocation = parseFloatingIp(object);
    if (allocation !== undefined) return this.#shareTexts(allocation);
    const name = nameKeyOf(object) ?? "";
    if (!this.#strange.has(name) && this.#strange.size < 1000) {
      this.#strange.add(name);
      this.#metrics.count("bad_input", { input: "record" });
      this.#log.warn("FloatingIP is named like no address; it is ignored, delete or rename it", {
        name,
      });
    }
    return undefined;
  }

  /** Records of one node, namespace or workload share its text: this halves what a record costs. */
  #shareTexts(allocation: Allocation): Allocation {
    const { ip, policy, podUid, updatedAtMs, isDraining, version } = allocation;
    // Written out, because an object made with `...` keeps its later members in a second one.
    const shared: Allocation = {
      ip,
      owner: this.#shareOwner(allocation.owner),
      policy,
      nodeName: this.#texts.intern(allocation.nodeName),
      lastNodeName: this.#texts.intern(allocation.lastNodeName),
      podUid,
      updatedAtMs,
      isDraining,
      version,
    };
    const { foreignText } = allocation;
    return withForeignText(
      withIdleFields(shared, allocation),
      foreignText === undefined ? undefined : this.#texts.intern(foreignText),
    );
  }

  #shareOwner(owner: Owner): Owner {
    switch (owner.kind) {
      case "pod":
        return {
          kind: "pod",
          pod: {
            namespace: this.#texts.intern(owner.pod.namespace),
            name: ownCopy(owner.pod.name),
          },
          workload: owner.workload && this.#shareWorkload(owner.workload),
          pool: owner.pool === undefined ? undefined : this.#texts.intern(owner.pool),
        };
      case "workload":
        return { kind: "workload", workload: this.#shareWorkload(owner.workload) };
      case "pool":
        return { kind: "pool", pool: this.#texts.intern(owner.pool) };
      case "admin":
      case "foreign":
        return owner;
      default:
        return owner satisfies never;
    }
  }

  #shareWorkload(workload: WorkloadRef): WorkloadRef {
    const { type, kind, apiGroup } = workload;
    if (this.#workloadCount >= 100_000) {
      this.#workloads.clear();
      this.#workloadCount = 0;
    }
    const namespace = this.#texts.intern(workload.namespace);
    let named = this.#workloads.get(namespace);
    if (named === undefined) {
      named = new Map();
      this.#workloads.set(namespace, named);
    }
    const known = named.get(workload.name);
    if (known?.type === type && known.kind === kind && known.apiGroup === apiGroup) return known;
    if (known === undefined) this.#workloadCount += 1;
    const shared = {
      type,
      kind: this.#texts.intern(kind),
      apiGroup: apiGroup === undefined ? undefined : this.#texts.intern(apiGroup),
      namespace,
      name: ownCopy(workload.name),
    };
    named.set(shared.name, shared);
    return shared;
  }

  #tell(event: AllocationEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { event: event.kind }, error);
      }
    }
  }
}

function pathOf(ip: Ip): string {
  return `${collectionPath}/${floatingIpName(ip)}`;
}

function requireVersion(allocation: Allocation): void {
  // An empty version would switch the API server's check off and overwrite whatever is there.
  if (allocation.version === "") {
    throw new TypeError(`the record of ${allocation.ip} was never read or written`);
  }
}

/** The allocation as written, with the version that the API server gave it. */
function written(allocation: Allocation, text: string, tried: string): Allocation {
  const version = versionOf(parseAnswer(text, tried, true));
  if (version === undefined) throw unreadable(tried, true);
  return { ...allocation, version };
}

function unreadable(tried: string, isWrite: boolean): WorldError {
  return new WorldError("API_UNREADABLE", {
    tried,
    message: "the answer is not a FloatingIP; is there a proxy between us and the API server?",
    mayHaveHappened: isWrite,
  });
}
