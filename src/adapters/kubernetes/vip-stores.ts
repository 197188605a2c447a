// The records of virtual addresses and the leases of nodes on an API server. Who may write what when is not said here.
//
// The controller uses both. A node's agent uses the same two, with a client of its own so that nothing else of the node waits before a
// renewal:
//
//   const vips = new KubernetesVipStore({ client, log });
//   const leases = new KubernetesNodeLeaseStore({ client, log, namespace: vipLeaseNamespace, nodeName });
//   vips.start(); await vips.whenSynced();        // `leases.start()` only to see the leases of all nodes
//   new VipAgent({ nodeName, vips, leases, gate, clock, log, timers: vipTimers }).start();
//   …
//   vips.stop(); leases.stop(); client.close();
//
// The agent needs: get, list, watch of floatingvips and vippools; update of floatingvips/status; get, create, patch of Leases in the
// namespace of the leases. Its own pods, the pools and what may never be claimed come from KubernetesVipClaims with `nodeName`.

import type { Ip } from "../../core/ip.ts";
import type { NodeLease, VipRecord } from "../../core/vip.ts";
import type { ObjectRef } from "../../ports/event-recorder.ts";
import type { Log } from "../../ports/log.ts";
import type {
  NodeLeaseStore,
  VipCreateOutcome,
  VipStore,
  VipUpdateOutcome,
} from "../../ports/vip-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { floatingIpName } from "../../wire/crd.ts";
import { textAt } from "../../wire/json-value.ts";
import { formatNodeLease, parseNodeLease } from "../../wire/vip-lease.ts";
import { formatFloatingVip, parseFloatingVip } from "../../wire/vip-objects.ts";
import { type ApiClient, parseAnswer, segment, type WriteAnswer } from "./api-client.ts";
import type { Collection } from "./list-pages.ts";
import { ListWatch, type ListWatchTimes } from "./list-watch.ts";

/** Namespace of the nodes' leases unless told otherwise: one of their own, so that agents may write no other Lease. */
export const vipLeaseNamespace = "galaxy-vip";

/** Time limit of one request about a lease: after a lost one there is time for another before the lease ends. */
const leaseLimitMs = 1_000;

/** Time limit of one request about a record. */
const recordLimitMs = 5_000;

/**
 * Makes a namespace that is missing. Without the right to, it goes on and says so: somebody else may make it.
 * Rejects with WorldErrors as the client does.
 */
export async function ensureNamespace(options: {
  readonly client: ApiClient;
  readonly log: Log;
  readonly name: string;
}): Promise<void> {
  const { client, log, name } = options;
  const tried = `create namespace ${name}`;
  try {
    const found = await client.read({ path: `/api/v1/namespaces/${segment(name)}`, tried });
    if (found.kind === "found") return;
    await client.write({
      method: "POST",
      path: "/api/v1/namespaces",
      body: { apiVersion: "v1", kind: "Namespace", metadata: { name } },
      tried,
    });
    log.info("namespace created", { name });
  } catch (error) {
    if (!(error instanceof WorldError) || error.code !== "API_FORBIDDEN") throw error;
    log.warn("the namespace of the nodes' leases cannot be read or made; nodes need it to join", {
      reason: error.message,
    });
  }
}

/** What a store needs. */
export type VipStoreOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly times?: ListWatchTimes;
};

/** How one kind of object is read and written. */
type KindOfObject<Key extends string, T> = {
  readonly collection: Collection;
  readonly keyOf: (value: T) => Key;
  /** The key of an object, also of one that cannot be understood. */
  readonly keyOfObject: (object: unknown) => Key | undefined;
  readonly parse: (object: unknown) => T | undefined;
};

/**
 * What was last seen of one collection: from its watch, and from the answers to this process's own writes, whichever is later. Never goes
 * back: of an object, no version is shown after a later one.
 */
class SeenObjects<Key extends string, T extends { readonly version: string }> {
  readonly watch: ListWatch;
  readonly #kind: KindOfObject<Key, T>;
  readonly #log: Log;
  readonly #values = new Map<Key, T>();
  /** The version at which an object was last seen, also of one that is gone. */
  readonly #versions = new Map<Key, bigint>();
  readonly #listeners = new Set<(key: Key) => void>();
  /** Keys of the list that is being read, and those that were written meanwhile; undefined between lists. */
  #listing: Set<Key> | undefined;

  constructor(options: VipStoreOptions, kind: KindOfObject<Key, T>) {
    this.#kind = kind;
    this.#log = options.log;
    this.watch = new ListWatch({
      client: options.client,
      log: options.log,
      collection: kind.collection,
      ...(options.times === undefined ? {} : { times: options.times }),
      listener: {
        listBegins: () => {
          this.#listing = new Set();
        },
        seen: (object) => this.#seen(object, false),
        deleted: (object) => this.#seen(object, true),
        listEnds: () => {
          const listed = this.#listing;
          this.#listing = undefined;
          for (const key of [...this.#values.keys()]) {
            if (listed === undefined || listed.has(key)) continue;
            this.#values.delete(key);
            this.#tell(key);
          }
        },
      },
    });
  }

  all(): readonly T[] {
    return [...this.#values.values()];
  }

  get(key: Key): T | undefined {
    return this.#values.get(key);
  }

  listen(listener: (key: Key) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the answer to a write showed. */
  put(value: T): void {
    const key = this.#kind.keyOf(value);
    this.#listing?.add(key);
    this.#put(key, value, value.version);
  }

  #seen(object: unknown, isGone: boolean): void {
    const key = this.#kind.keyOfObject(object);
    if (key === undefined) return;
    if (!isGone) this.#listing?.add(key);
    const value = isGone ? undefined : this.#kind.parse(object);
    this.#put(key, value, textAt(object, "metadata", "resourceVersion") ?? "");
  }

  #put(key: Key, value: T | undefined, versionText: string): void {
    const version = /^[0-9]+$/.test(versionText) ? BigInt(versionText) : 0n;
    const before = this.#versions.get(key);
    if (before !== undefined && version < before) return;
    if (before === version && value?.version === this.#values.get(key)?.version) return;
    this.#versions.set(key, version);
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    this.#tell(key);
  }

  #tell(key: Key): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(key);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { key }, error);
      }
    }
  }
}

/** FloatingVIP objects: `spec` says the address, all else is in `status`, which is replaced as a whole at a version. */
export class KubernetesVipStore implements VipStore {
  readonly #client: ApiClient;
  readonly #seen: SeenObjects<Ip, VipRecord>;
  readonly #uids = new Map<Ip, string>();

  constructor(options: VipStoreOptions) {
    this.#client = options.client;
    this.#seen = new SeenObjects<Ip, VipRecord>(options, {
      collection: { path: vipsPath, what: "FloatingVIPs" },
      keyOf: ({ ip }) => ip,
      // The name alone says the address: an object that cannot be understood is shown as none, so that nobody answers for it.
      keyOfObject: (object) =>
        parseFloatingVip({ metadata: { name: textAt(object, "metadata", "name") } })?.ip,
      parse: (object) => this.#parse(object),
    });
  }

  /** What an event about the address refers to. */
  refOf(ip: Ip): ObjectRef {
    return {
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "FloatingVIP",
      namespace: "",
      name: floatingIpName(ip),
      uid: this.#uids.get(ip) ?? "",
    };
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.#seen.watch.start();
  }

  /** Resolves when all records are read. */
  whenSynced(): Promise<void> {
    return this.#seen.watch.whenSynced();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.#seen.watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#seen.watch;
  }

  all(): readonly VipRecord[] {
    return this.#seen.all();
  }

  get(ip: Ip): VipRecord | undefined {
    return this.#seen.get(ip);
  }

  watch(listener: (ip: Ip) => void): () => void {
    return this.#seen.listen(listener);
  }

  async read(ip: Ip): Promise<VipRecord | undefined> {
    const tried = `read FloatingVIP ${ip}`;
    const answer = await this.#client.readJson({
      path: vipPath(ip),
      tried,
      timeLimitMs: recordLimitMs,
      isUrgent: true,
    });
    if (answer.kind === "missing") return undefined;
    const record = parseFloatingVip(answer.json);
    if (record === undefined) throw unreadable(tried, "FloatingVIP", false);
    return record;
  }

  /** Only a record that was granted to nobody: the API server takes no status with a new object. */
  async create(record: VipRecord): Promise<VipCreateOutcome<VipRecord>> {
    if (record.epoch !== 0 || record.holder !== undefined) {
      throw new TypeError(`the record of ${record.ip} is new and cannot have been granted`);
    }
    const tried = `create FloatingVIP ${record.ip}`;
    const body = formatFloatingVip({ ...record, version: "" });
    const answer = await this.#write({ method: "POST", path: vipsPath, body, tried });
    if (answer.kind === "conflict" && answer.reason === "AlreadyExists") return { kind: "exists" };
    if (answer.kind !== "done") {
      throw new WorldError("API_REJECTED", { tried, message: answer.message });
    }
    return { kind: "written", value: this.#keep(answer.text, tried) };
  }

  async update(record: VipRecord): Promise<VipUpdateOutcome<VipRecord>> {
    requireVersion(record.version, `record of ${record.ip}`);
    const tried = `update FloatingVIP ${record.ip}`;
    const path = `${vipPath(record.ip)}/status`;
    const body = formatFloatingVip(record);
    const answer = await this.#write({ method: "PUT", path, body, tried });
    if (answer.kind !== "done") return { kind: answer.kind };
    return { kind: "written", value: this.#keep(answer.text, tried) };
  }

  /** Deletes it at its version, and then takes the finalizer away at the version that this gave it. */
  async remove(record: VipRecord): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    requireVersion(record.version, `record of ${record.ip}`);
    const tried = `delete FloatingVIP ${record.ip}`;
    const path = vipPath(record.ip);
    let { version } = record;
    if (!record.isDeleted) {
      const answer = await this.#write({
        method: "DELETE",
        path,
        body: {
          apiVersion: "v1",
          kind: "DeleteOptions",
          preconditions: { resourceVersion: version },
        },
        tried,
      });
      if (answer.kind !== "done") return { kind: answer.kind };
      const left: unknown = parseAnswer(answer.text, tried, true);
      // Without the finalizer, which somebody may have taken away, it is gone already: the answer is a Status.
      if (textAt(left, "kind") === "Status") return { kind: "removed" };
      version = textAt(left, "metadata", "resourceVersion") ?? version;
    }
    const answer = await this.#write({
      method: "PATCH",
      path,
      body: { metadata: { finalizers: null, resourceVersion: version } },
      tried,
    });
    return { kind: answer.kind === "done" ? "removed" : answer.kind };
  }

  #write(request: {
    readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
    readonly path: string;
    readonly body: unknown;
    readonly tried: string;
  }): Promise<WriteAnswer> {
    return this.#client.write({ ...request, timeLimitMs: recordLimitMs, isUrgent: true });
  }

  #parse(object: unknown): VipRecord | undefined {
    const record = parseFloatingVip(object);
    const uid = textAt(object, "metadata", "uid");
    if (record !== undefined && uid !== undefined) this.#uids.set(record.ip, uid);
    return record;
  }

  #keep(text: string, tried: string): VipRecord {
    const record = this.#parse(parseAnswer(text, tried, true));
    if (record === undefined || record.version === "") throw unreadable(tried, "FloatingVIP", true);
    this.#seen.put(record);
    return record;
  }
}

/** Leases of one namespace, each named after its node. */
export class KubernetesNodeLeaseStore implements NodeLeaseStore {
  readonly #client: ApiClient;
  readonly #namespace: string;
  readonly #seen: SeenObjects<string, NodeLease>;
  #lastRenewalUs = 0;

  /** @param options.nodeName only this node's lease is watched; undefined: all */
  constructor(
    options: VipStoreOptions & {
      readonly namespace: string;
      readonly nodeName?: string | undefined;
    },
  ) {
    const { client, namespace, nodeName } = options;
    this.#client = client;
    this.#namespace = namespace;
    this.#seen = new SeenObjects<string, NodeLease>(options, {
      collection: {
        path: this.#collectionPath(),
        what: `Leases of ${namespace}`,
        ...(nodeName === undefined ? {} : { fieldSelector: `metadata.name=${nodeName}` }),
      },
      keyOf: (lease) => lease.nodeName,
      keyOfObject: (object) => textAt(object, "metadata", "name"),
      parse: parseNodeLease,
    });
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.#seen.watch.start();
  }

  /** Resolves when all leases are read. */
  whenSynced(): Promise<void> {
    return this.#seen.watch.whenSynced();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.#seen.watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#seen.watch;
  }

  all(): readonly NodeLease[] {
    return this.#seen.all();
  }

  get(nodeName: string): NodeLease | undefined {
    return this.#seen.get(nodeName);
  }

  watch(listener: (nodeName: string) => void): () => void {
    return this.#seen.listen(listener);
  }

  async read(nodeName: string): Promise<NodeLease | undefined> {
    const tried = `read Lease ${this.#namespace}/${nodeName}`;
    const answer = await this.#client.readJson({
      path: this.#path(nodeName),
      tried,
      timeLimitMs: leaseLimitMs,
      isUrgent: true,
    });
    if (answer.kind === "missing") return undefined;
    const lease = parseNodeLease(answer.json);
    // Somebody else's: it must be neither renewed nor replaced.
    if (lease === undefined) throw unreadable(tried, "lease of a node", false);
    return lease;
  }

  async create(lease: NodeLease): Promise<VipCreateOutcome<NodeLease>> {
    const tried = `create Lease ${this.#namespace}/${lease.nodeName}`;
    const answer = await this.#write({
      method: "POST",
      path: this.#collectionPath(),
      body: this.#format({ ...lease, version: "" }),
      tried,
    });
    if (answer.kind === "conflict" && answer.reason === "AlreadyExists") return { kind: "exists" };
    if (answer.kind !== "done") {
      throw new WorldError("API_REJECTED", {
        tried,
        message: `${answer.message}; create namespace ${this.#namespace} for the leases of nodes`,
      });
    }
    return { kind: "written", value: this.#keep(answer.text, tried) };
  }

  /** A patch and not a replacement: the API server makes a Lease that is not there out of the latter. */
  async update(lease: NodeLease): Promise<VipUpdateOutcome<NodeLease>> {
    requireVersion(lease.version, `lease of node ${lease.nodeName}`);
    const tried = `${lease.isRevoked ? "revoke" : "renew"} Lease ${this.#namespace}/${lease.nodeName}`;
    const path = this.#path(lease.nodeName);
    const answer = await this.#write({ method: "PATCH", path, body: this.#format(lease), tried });
    if (answer.kind !== "done") return { kind: answer.kind };
    return { kind: "written", value: this.#keep(answer.text, tried) };
  }

  async remove(lease: NodeLease): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    requireVersion(lease.version, `lease of node ${lease.nodeName}`);
    const answer = await this.#write({
      method: "DELETE",
      path: this.#path(lease.nodeName),
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions: { resourceVersion: lease.version },
      },
      tried: `delete Lease ${this.#namespace}/${lease.nodeName}`,
    });
    return { kind: answer.kind === "done" ? "removed" : answer.kind };
  }

  /** With a time of renewal that this process never wrote before. */
  #format(lease: NodeLease): Readonly<Record<string, unknown>> {
    this.#lastRenewalUs = Math.max(this.#lastRenewalUs + 1, Date.now() * 1_000);
    const microseconds = String(this.#lastRenewalUs % 1_000).padStart(3, "0");
    const milliseconds = new Date(Math.floor(this.#lastRenewalUs / 1_000)).toISOString();
    const renewedAt = milliseconds.replace(/Z$/, `${microseconds}Z`);
    return formatNodeLease(lease, { namespace: this.#namespace, renewedAt });
  }

  #write(request: {
    readonly method: "POST" | "PATCH" | "DELETE";
    readonly path: string;
    readonly body: unknown;
    readonly tried: string;
  }): Promise<WriteAnswer> {
    return this.#client.write({ ...request, timeLimitMs: leaseLimitMs, isUrgent: true });
  }

  #keep(text: string, tried: string): NodeLease {
    const lease = parseNodeLease(parseAnswer(text, tried, true));
    if (lease === undefined || lease.version === "") throw unreadable(tried, "Lease", true);
    this.#seen.put(lease);
    return lease;
  }

  #collectionPath(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${segment(this.#namespace)}/leases`;
  }

  #path(nodeName: string): string {
    return `${this.#collectionPath()}/${segment(nodeName)}`;
  }
}

const vipsPath = "/apis/galaxy.k8s.io/v1alpha1/floatingvips";

function vipPath(ip: Ip): string {
  return `${vipsPath}/${floatingIpName(ip)}`;
}

function requireVersion(version: string, what: string): void {
  // An empty version would switch the API server's check off and overwrite whatever is there.
  if (version === "") throw new TypeError(`the ${what} was never read or written`);
}

function unreadable(tried: string, what: string, isWrite: boolean): WorldError {
  return new WorldError("API_UNREADABLE", {
    tried,
    message: `the answer is not a ${what}; is there a proxy between us and the API server?`,
    mayHaveHappened: isWrite,
  });
}
