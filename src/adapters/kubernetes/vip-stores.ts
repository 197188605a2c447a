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
import { floatingIpName, parseFloatingIpName } from "../../wire/crd.ts";
import type { JsonObject } from "../../wire/json-value.ts";
import { textAt } from "../../wire/json-value.ts";
import { formatNodeLease, parseNodeLease } from "../../wire/vip-lease.ts";
import { foreignStatusOf, formatFloatingVip, parseFloatingVip } from "../../wire/vip-objects.ts";
import { type ApiClient, parseAnswer, segment, type WriteAnswer } from "./api-client.ts";
import {
  FollowedObjects,
  type FollowedObjectsOptions,
  requireVersion,
} from "./followed-objects.ts";

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

/**
 * FloatingVIP objects: `spec` says the address, all else is in `status`, which is replaced at a version. What a newer release wrote into that
 * version and this one does not know is written back with it. (A patch would leave it there too, and costs the API server more.)
 */
export class KubernetesVipStore extends FollowedObjects<Ip, VipRecord> implements VipStore {
  protected readonly what = "FloatingVIP";
  readonly #client: ApiClient;
  readonly #uids = new Map<Ip, string>();
  /** Statuses with members that this release does not know, at the latest version that was seen: only that one can be replaced. */
  readonly #foreign = new Map<Ip, { readonly version: bigint; readonly status: JsonObject }>();

  constructor(options: FollowedObjectsOptions) {
    super(options, { path: vipsPath, what: "FloatingVIPs" });
    this.#client = options.client;
  }

  protected keyOf({ ip }: VipRecord): Ip {
    return ip;
  }

  /** The name alone says the address: an object that cannot be understood is shown as none, so that nobody answers for it. */
  protected keyOfObject(object: unknown): Ip | undefined {
    return parseFloatingIpName(textAt(object, "metadata", "name") ?? "");
  }

  protected parse(object: unknown): VipRecord | undefined {
    const record = parseFloatingVip(object);
    const uid = textAt(object, "metadata", "uid");
    if (record !== undefined && uid !== undefined) this.#uids.set(record.ip, uid);
    if (record !== undefined) this.#noteForeign(record, foreignStatusOf(object));
    return record;
  }

  #noteForeign({ ip, version: text }: VipRecord, status: JsonObject | undefined): void {
    const before = this.#foreign.get(ip);
    if (before === undefined && status === undefined) return;
    const version = numberOf(text);
    if (before !== undefined && version < before.version) return;
    if (status === undefined) this.#foreign.delete(ip);
    else this.#foreign.set(ip, { version, status });
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

  async read(ip: Ip): Promise<VipRecord | undefined> {
    const tried = `read FloatingVIP ${ip}`;
    const answer = await this.#client.readJson({
      path: vipPath(ip),
      tried,
      timeLimitMs: recordLimitMs,
      isUrgent: true,
    });
    return answer.kind === "missing" ? undefined : this.understood(answer.json, tried);
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
    return { kind: "written", value: await this.#slim(this.keep(answer.text, tried)) };
  }

  async update(record: VipRecord): Promise<VipUpdateOutcome<VipRecord>> {
    requireVersion(record.version, `record of ${record.ip}`);
    const tried = `update FloatingVIP ${record.ip}`;
    const path = `${vipPath(record.ip)}/status`;
    const foreign = this.#foreign.get(record.ip);
    const isOfVersion = foreign?.version === numberOf(record.version);
    const body = formatFloatingVip(record, isOfVersion ? foreign.status : undefined);
    const answer = await this.#write({ method: "PUT", path, body, tried });
    if (answer.kind !== "done") return { kind: answer.kind };
    return { kind: "written", value: this.keep(answer.text, tried) };
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

  /**
   * Takes the list of who wrote which member out of a new object: keeping that list is more than half of what a write costs the API server,
   * and once it is gone it stays away. Nobody but these programs writes the object. Without the list the record is as good.
   * https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields
   */
  async #slim(record: VipRecord): Promise<VipRecord> {
    const tried = `slim FloatingVIP ${record.ip}`;
    try {
      const answer = await this.#write({
        method: "PATCH",
        path: vipPath(record.ip),
        body: { metadata: { managedFields: [{}], resourceVersion: record.version } },
        tried,
      });
      return answer.kind === "done" ? this.keep(answer.text, tried) : record;
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return record;
    }
  }
}

/** Leases of one namespace, each named after its node. */
export class KubernetesNodeLeaseStore
  extends FollowedObjects<string, NodeLease>
  implements NodeLeaseStore
{
  protected readonly what = "lease of a node";
  readonly #client: ApiClient;
  readonly #namespace: string;
  #lastRenewalUs = 0;

  /** @param options.nodeName only this node's lease is watched; undefined: all */
  constructor(
    options: FollowedObjectsOptions & {
      readonly namespace: string;
      readonly nodeName?: string | undefined;
    },
  ) {
    const { client, namespace, nodeName } = options;
    super(options, {
      path: leasesPath(namespace),
      what: `Leases of ${namespace}`,
      ...(nodeName === undefined ? {} : { fieldSelector: `metadata.name=${nodeName}` }),
    });
    this.#client = client;
    this.#namespace = namespace;
  }

  protected keyOf({ nodeName }: NodeLease): string {
    return nodeName;
  }

  protected keyOfObject(object: unknown): string | undefined {
    return textAt(object, "metadata", "name");
  }

  protected parse(object: unknown): NodeLease | undefined {
    return parseNodeLease(object);
  }

  async read(nodeName: string): Promise<NodeLease | undefined> {
    const tried = `read Lease ${this.#namespace}/${nodeName}`;
    const answer = await this.#client.readJson({
      path: this.#path(nodeName),
      tried,
      timeLimitMs: leaseLimitMs,
      isUrgent: true,
    });
    return answer.kind === "missing" ? undefined : this.understood(answer.json, tried);
  }

  async create(lease: NodeLease): Promise<VipCreateOutcome<NodeLease>> {
    const tried = `create Lease ${this.#namespace}/${lease.nodeName}`;
    const answer = await this.#write({
      method: "POST",
      path: leasesPath(this.#namespace),
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
    return { kind: "written", value: this.keep(answer.text, tried) };
  }

  /** A patch and not a replacement: the API server makes a Lease that is not there out of the latter. */
  async update(lease: NodeLease): Promise<VipUpdateOutcome<NodeLease>> {
    requireVersion(lease.version, `lease of node ${lease.nodeName}`);
    const tried = `${lease.isRevoked ? "revoke" : "renew"} Lease ${this.#namespace}/${lease.nodeName}`;
    const path = this.#path(lease.nodeName);
    const answer = await this.#write({ method: "PATCH", path, body: this.#format(lease), tried });
    if (answer.kind !== "done") return { kind: answer.kind };
    return { kind: "written", value: this.keep(answer.text, tried) };
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

  #path(nodeName: string): string {
    return `${leasesPath(this.#namespace)}/${segment(nodeName)}`;
  }
}

/** A version as a number, so that two can be compared. */
function numberOf(version: string): bigint {
  return /^[0-9]+$/.test(version) ? BigInt(version) : 0n;
}

const vipsPath = "/apis/galaxy.k8s.io/v1alpha1/floatingvips";

function vipPath(ip: Ip): string {
  return `${vipsPath}/${floatingIpName(ip)}`;
}

function leasesPath(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${segment(namespace)}/leases`;
}
