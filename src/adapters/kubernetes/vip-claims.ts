// The VipClaims and VipPools ports on watches of the API server: what pods claim by annotation, VIPPools, and what nodes and Services own.
// Judges nothing.
//
// The controller gives it the pods and workloads of the watches that it has anyway (`podListener`, `workloadListener`). A node's agent makes
// one with `nodeName`: it then watches the pods of that node itself, and tells of no other claims.

import { isDeepStrictEqual } from "node:util";
import type { Ip } from "../../core/ip.ts";
import { ipToNumber, parseIp } from "../../core/ip.ts";
import { parseCidr } from "../../core/ip-range.ts";
import type { PodId } from "../../core/owner.ts";
import { podIdText } from "../../core/owner.ts";
import type { ForbiddenRange, VipPool } from "../../core/vip-holder.ts";
import type { VipPoolSight, VipPoolStatus } from "../../core/vip-pool-status.ts";
import type { ObjectRef } from "../../ports/event-recorder.ts";
import type { Log } from "../../ports/log.ts";
import type { VipClaim, VipClaims, VipComplaint } from "../../ports/vip-claims.ts";
import type { VipPools } from "../../ports/vip-pools.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, textAt, valueAt } from "../../wire/json-value.ts";
import type { VipNodeFacts, VipPodFacts } from "../../wire/vip-claim.ts";
import {
  calicoFloatingIpsAnnotation,
  parseVipClaim,
  parseVipNode,
  parseVipPod,
  vipAddressesAnnotation,
} from "../../wire/vip-claim.ts";
import { formatVipPoolStatus, parseVipPool, parseVipPoolStatus } from "../../wire/vip-objects.ts";
import { type ApiClient, parseAnswer, segment } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import { ListWatch, type ListWatchListener, type ListWatchTimes } from "./list-watch.ts";
import { nameKeyOf, namespacedKeyOf, WatchCache } from "./watch-cache.ts";

/** How often the addresses of the API server and the service CIDRs are read again. */
const wellKnownEveryMs = 60_000;

/** What it needs. */
export type KubernetesVipClaimsOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  /** Whether Calico's annotation counts as a claim. */
  readonly readsCalico: boolean;
  /** Ranges that an operator refuses besides what the cluster shows; "the service CIDR" where the API server does not say it. */
  readonly refused?: readonly ForbiddenRange[];
  /** Only the pods of this node, watched by this object; undefined: all pods, told by somebody else's watch. */
  readonly nodeName?: string;
  readonly times?: ListWatchTimes;
};

/** A pod with a claim, or with an annotation that is none. */
type ClaimingPod = {
  readonly id: PodId;
  readonly uid: string;
  readonly facts: VipPodFacts;
  readonly claim: ReturnType<typeof parseVipClaim>;
  readonly version: string;
};

/** What {@link WatchCache} keeps of a Service. */
type ServiceFacts = { readonly name: string; readonly ips: readonly Ip[] };

/** A VIPPool as it was read, and what its status says. */
type SeenPool = {
  readonly read: VipPool | VipComplaint;
  readonly generation: number;
  readonly status: unknown;
  readonly version: string;
};

const poolsPath = "/apis/galaxy.k8s.io/v1alpha1/vippools";

/** Claims of a cluster. */
export class KubernetesVipClaims implements VipClaims, VipPools {
  readonly #options: KubernetesVipClaimsOptions;
  readonly #pods = new Map<string, ClaimingPod>();
  readonly #podsByIp = new Map<Ip, Set<string>>();
  readonly #misplaced = new Map<string, VipComplaint>();
  readonly #nodes: WatchCache<VipNodeFacts>;
  readonly #services: WatchCache<ServiceFacts>;
  readonly #pools: WatchCache<SeenPool>;
  readonly #daemonSets: ListWatch | undefined;
  readonly #ownPods: ListWatch | undefined;
  readonly #listeners = new Set<(ip: Ip) => void>();
  /** What was in force before somebody broke it: a slip in a pool must not take addresses away. */
  readonly #lastGoodPools = new Map<string, VipPool>();
  #wellKnown: readonly ForbiddenRange[] = [];
  /** Made anew when something changed; undefined: to be made. */
  #forbidden: readonly ForbiddenRange[] | undefined;
  #poolList: readonly VipPool[] | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KubernetesVipClaimsOptions) {
    this.#options = options;
    const { client, log, nodeName, times } = options;
    const common = { client, log, ...(times === undefined ? {} : { times }) };
    this.#nodes = new WatchCache<VipNodeFacts>({
      ...common,
      collection: { path: "/api/v1/nodes", what: "nodes for virtual addresses" },
      keyOf: nameKeyOf,
      project: parseVipNode,
      changed: (name, after, before) => {
        const owns = (facts: VipNodeFacts | undefined) => [facts?.ips, facts?.podCidrs].join();
        if (owns(after) !== owns(before)) this.#ownersChanged();
        if (after?.isReady === before?.isReady) return;
        for (const { claim, facts } of this.#pods.values()) {
          if (facts.nodeName === name) this.#tell(claim.ips);
        }
      },
    });
    this.#services = new WatchCache<ServiceFacts>({
      ...common,
      collection: { path: "/api/v1/services", what: "services" },
      keyOf: namespacedKeyOf,
      project: readService,
      changed: () => this.#ownersChanged(),
    });
    this.#pools = new WatchCache<SeenPool>({
      ...common,
      collection: { path: poolsPath, what: "VIPPools" },
      keyOf: nameKeyOf,
      project: (object) => ({
        read: readPool(object),
        generation: Number(valueAt(object, "metadata", "generation") ?? 0),
        status: valueAt(object, "status"),
        version: textAt(object, "metadata", "resourceVersion") ?? "",
      }),
      changed: (name, after, before) => {
        // A status that was written is nothing to those who claim.
        if (isDeepStrictEqual(after?.read, before?.read)) return;
        if (after === undefined) this.#lastGoodPools.delete(name);
        else if ("ranges" in after.read) this.#lastGoodPools.set(name, after.read);
        else log.warn("VIPPool cannot be used", { pool: name, reason: after.read.message });
        this.#poolList = undefined;
        this.#tell(this.claimedIps());
      },
    });
    this.#ownPods =
      nodeName === undefined
        ? undefined
        : new ListWatch({
            ...common,
            collection: {
              path: "/api/v1/pods",
              fieldSelector: `spec.nodeName=${nodeName}`,
              what: `pods of node ${nodeName}`,
            },
            listener: this.podListener,
          });
    this.#daemonSets =
      nodeName === undefined
        ? new ListWatch({
            ...common,
            collection: { path: "/apis/apps/v1/daemonsets", what: "daemonsets" },
            listener: this.workloadListener("apps/v1", "DaemonSet"),
          })
        : undefined;
  }

  /** Begins all watches of its own; resolves never, {@link whenSynced} does. */
  start(): void {
    for (const watch of this.watches()) watch.start();
    this.#daemonSets?.start();
    void this.#readWellKnown();
    this.#timer = setInterval(() => void this.#readWellKnown(), wellKnownEveryMs);
    this.#timer.unref();
  }

  /** Resolves when pools, nodes and Services are read, and with `nodeName` its pods; pods of others' watches are theirs to wait for. */
  async whenSynced(): Promise<void> {
    await Promise.all(this.watches().map((watch) => watch.whenSynced()));
    await this.#readWellKnown();
  }

  /** Ends all watches: nothing is told any more. */
  stop(): void {
    clearInterval(this.#timer);
    for (const watch of this.watches()) watch.stop();
    this.#daemonSets?.stop();
  }

  /** The watches that health looks at. */
  watches(): readonly ListWatch[] {
    const own = this.#ownPods === undefined ? [] : [this.#ownPods];
    return [this.#nodes.watch, this.#services.watch, this.#pools.watch, ...own];
  }

  /** To be told of every pod, by whatever watches them. */
  readonly podListener: ListWatchListener = listenerOf({
    keyOf: namespacedKeyOf,
    keys: () => [...this.#pods.keys()],
    seen: (key, object) => this.#seePod(key, object),
    gone: (key) => this.#forgetPod(key),
  });

  /** To be told of every object of a kind whose own annotations are no claims (P-02). */
  workloadListener(apiVersion: string, kind: string): ListWatchListener {
    const prefix = `${kind} `;
    return listenerOf({
      keyOf: namespacedKeyOf,
      keys: () =>
        [...this.#misplaced.keys()]
          .filter((key) => key.startsWith(prefix))
          .map((key) => key.slice(prefix.length)),
      seen: (key, object) => {
        const complaint = this.#misplacedClaim(apiVersion, kind, object);
        if (complaint === undefined) this.#misplaced.delete(prefix + key);
        else this.#misplaced.set(prefix + key, complaint);
      },
      gone: (key) => this.#misplaced.delete(prefix + key),
    });
  }

  claimedIps(): readonly Ip[] {
    return [...this.#podsByIp.keys()];
  }

  claimsOf(ip: Ip): readonly VipClaim[] {
    const keys = this.#podsByIp.get(ip);
    if (keys === undefined) return [];
    return [...keys].flatMap((key) => {
      const pod = this.#pods.get(key);
      return pod === undefined || isFinished(pod.facts) ? [] : this.#claimOf(pod, ip);
    });
  }

  ipsOf(pod: PodId): readonly Ip[] {
    return this.#pods.get(podIdText(pod))?.claim.ips ?? [];
  }

  pools(): readonly VipPool[] {
    this.#poolList ??= [...this.#lastGoodPools.values()].toSorted((a, b) =>
      a.name < b.name ? -1 : 1,
    );
    return this.#poolList;
  }

  forbidden(): readonly ForbiddenRange[] {
    this.#forbidden ??= [
      ...(this.#options.refused ?? []),
      ...this.#wellKnown,
      ...[...this.#nodes.values()].flatMap(({ ips, name, podCidrs }) => [
        ...ips.map((ip) => single(ip, `an address of node ${name}`)),
        ...podCidrs.flatMap((cidr) => block(cidr, `of the pod CIDR ${cidr} of node ${name}`)),
      ]),
      ...[...this.#services.values()].flatMap(({ ips, name }) =>
        ips.map((ip) => single(ip, `an address of Service ${name}`)),
      ),
    ];
    return this.#forbidden;
  }

  /** The addresses of a node; none when it is not known. */
  nodeIps(name: string): readonly Ip[] {
    return this.#nodes.get(name)?.ips ?? [];
  }

  complaints(): readonly VipComplaint[] {
    const ofPods = [...this.#pods.values()].flatMap(({ claim, id, uid }) =>
      claim.problems.map((message) => ({
        about: { apiVersion: "v1", kind: "Pod", namespace: id.namespace, name: id.name, uid },
        reason: "VIPClaimInvalid",
        message: `pod ${podIdText(id)}: ${message}`,
      })),
    );
    const ofPools = [...this.#pools.values()].flatMap(({ read }) =>
      "ranges" in read ? [] : [read],
    );
    return [...ofPods, ...this.#misplaced.values(), ...ofPools];
  }

  sights(): readonly VipPoolSight[] {
    return [...this.#pools.values()]
      .map(({ generation, read, status }): VipPoolSight => {
        const [name, problem] =
          "ranges" in read ? [read.name, undefined] : [read.about.name, read.message];
        const inForce = this.#lastGoodPools.get(name);
        return { name, generation, inForce, problem, told: parseVipPoolStatus({ status }) };
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async tell(name: string, status: VipPoolStatus): Promise<"told" | "stale"> {
    const seen = this.#pools.get(name);
    if (seen === undefined) return "stale";
    const answer = await this.#options.client.write({
      method: "PATCH",
      path: `${poolsPath}/${segment(name)}/status`,
      body: {
        // Lists are replaced: at another version its conditions may be others.
        metadata: { resourceVersion: seen.version },
        status: formatVipPoolStatus(status, seen.status, Date.now()),
      },
      tried: `write the status of VIPPool ${name}`,
    });
    return answer.kind === "done" ? "told" : "stale";
  }

  watch(listener: (ip: Ip) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #seePod(key: string, object: unknown): void {
    const annotations = valueAt(object, "metadata", "annotations");
    const claims =
      textAt(annotations, vipAddressesAnnotation) ??
      (this.#options.readsCalico ? textAt(annotations, calicoFloatingIpsAnnotation) : undefined);
    if (claims === undefined) {
      this.#forgetPod(key);
      return;
    }
    const before = this.#pods.get(key);
    const version = textAt(object, "metadata", "resourceVersion") ?? "";
    if (before?.version === version) return;
    const after: ClaimingPod = {
      id: {
        namespace: textAt(object, "metadata", "namespace") ?? "",
        name: textAt(object, "metadata", "name") ?? "",
      },
      uid: textAt(object, "metadata", "uid") ?? "",
      facts: parseVipPod(object),
      claim: parseVipClaim(object, { readsCalico: this.#options.readsCalico }),
      version,
    };
    this.#pods.set(key, after);
    for (const ip of before?.claim.ips ?? []) this.#unlink(ip, key);
    for (const ip of after.claim.ips) {
      const keys = this.#podsByIp.get(ip);
      if (keys === undefined) this.#podsByIp.set(ip, new Set([key]));
      else keys.add(key);
    }
    // Most changes of a pod are nothing to its claims.
    if (before !== undefined && textOf(before) === textOf(after)) return;
    this.#tell(new Set([...(before?.claim.ips ?? []), ...after.claim.ips]));
  }

  #forgetPod(key: string): void {
    const before = this.#pods.get(key);
    if (before === undefined) return;
    this.#pods.delete(key);
    for (const ip of before.claim.ips) this.#unlink(ip, key);
    this.#tell(before.claim.ips);
  }

  #unlink(ip: Ip, key: string): void {
    const keys = this.#podsByIp.get(ip);
    keys?.delete(key);
    if (keys?.size === 0) this.#podsByIp.delete(ip);
  }

  #claimOf({ claim, facts, id, uid }: ClaimingPod, ip: Ip): VipClaim {
    const { nodeName, phase, podIps, probe, ready, terminatingSinceMs } = facts;
    const { priority, preempts, wishes } = claim;
    const node = this.#nodes.get(nodeName);
    const serves = wishes.probe === undefined ? ready : (probe ?? { isTrue: false, sinceMs: 0 });
    const isNodeReady = node?.isReady ?? false;
    return {
      pod: id,
      podUid: uid,
      podIps,
      nodeName,
      phase,
      isReady: serves.isTrue,
      readySinceMs: serves.sinceMs,
      isTerminating: terminatingSinceMs !== undefined,
      unableSinceMs:
        terminatingSinceMs ??
        known(!serves.isTrue, serves.sinceMs) ??
        known(!isNodeReady, node?.sinceMs ?? 0),
      wishes,
      isNodeReady,
      priority,
      preempts,
      told: facts.holder,
      siblings: claim.groups.filter((group) => group.includes(ip)).flat(),
    };
  }

  #misplacedClaim(apiVersion: string, kind: string, object: unknown): VipComplaint | undefined {
    const annotations = valueAt(object, "metadata", "annotations");
    const keys = [
      vipAddressesAnnotation,
      ...(this.#options.readsCalico ? [calicoFloatingIpsAnnotation] : []),
    ].filter((key) => (textAt(annotations, key) ?? "") !== "");
    if (keys.length === 0) return undefined;
    const about = refOf(apiVersion, kind, object);
    return {
      about,
      reason: "VIPClaimMisplaced",
      message: `annotation ${keys.join(", ")} of ${kind} ${about.namespace}/${about.name} itself claims nothing: only pods claim; write it under spec.template.metadata.annotations`,
    };
  }

  #ownersChanged(): void {
    this.#forbidden = undefined;
    this.#tell(this.claimedIps());
  }

  /** The API server's own addresses, and the service CIDRs where it knows them (from Kubernetes 1.33 on). Never rejects. */
  async #readWellKnown(): Promise<void> {
    const found: ForbiddenRange[] = [];
    const server = parseIp(this.#options.client.serverName);
    if (server !== undefined) found.push(single(server, "the address of the API server"));
    const path = "/api/v1/namespaces/default/endpoints/kubernetes";
    const endpoints = await this.#readOptional(path, "read Endpoints default/kubernetes");
    for (const subset of asList(valueAt(endpoints, "subsets"))) {
      for (const each of asList(valueAt(subset, "addresses"))) {
        const ip = parseIp(textAt(each, "ip") ?? "");
        if (ip !== undefined) found.push(single(ip, "the address of the API server"));
      }
    }
    const cidrs = await this.#readOptional(
      "/apis/networking.k8s.io/v1/servicecidrs",
      "list ServiceCIDRs",
    );
    for (const item of asList(valueAt(cidrs, "items"))) {
      for (const each of asList(valueAt(item, "spec", "cidrs"))) {
        const cidr = asText(each) ?? "";
        found.push(...block(cidr, `of the service CIDR ${cidr}`));
      }
    }
    if (JSON.stringify(found, textOfBig) === JSON.stringify(this.#wellKnown, textOfBig)) return;
    this.#wellKnown = found;
    this.#ownersChanged();
  }

  async #readOptional(path: string, tried: string): Promise<unknown> {
    try {
      const answer = await this.#options.client.read({ path, tried });
      return answer.kind === "found" ? parseAnswer(answer.text, tried, false) : undefined;
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      // This API server knows no such kind.
      if (error instanceof ApiError && error.status === 404) return undefined;
      if (error.code === "STOPPED") return undefined;
      this.#options.log.debug("not known what may never be a virtual address", {
        tried,
        reason: error.message,
      });
      return undefined;
    }
  }

  #tell(ips: Iterable<Ip>): void {
    for (const ip of ips) {
      for (const listener of [...this.#listeners]) {
        try {
          listener(ip);
        } catch (error) {
          this.#options.log.error("a listener failed; the watch goes on", { ip }, error);
        }
      }
    }
  }
}

/** Turns the calls of a list-watch into objects that are seen and keys that are gone. */
function listenerOf(options: {
  readonly keyOf: (object: unknown) => string | undefined;
  readonly keys: () => readonly string[];
  readonly seen: (key: string, object: unknown) => void;
  readonly gone: (key: string) => void;
}): ListWatchListener {
  let listing: Set<string> | undefined;
  return {
    listBegins: () => {
      listing = new Set();
    },
    seen: (object) => {
      const key = options.keyOf(object);
      if (key === undefined) return;
      listing?.add(key);
      options.seen(key, object);
    },
    deleted: (object) => {
      const key = options.keyOf(object);
      if (key !== undefined) options.gone(key);
    },
    listEnds: () => {
      const listed = listing;
      listing = undefined;
      if (listed === undefined) return;
      for (const key of options.keys()) if (!listed.has(key)) options.gone(key);
    },
  };
}

/** All that claims are made of. What the pod was told of them itself is no change: it comes from those who look at changes. */
function textOf({ claim, facts, uid }: ClaimingPod): string {
  return JSON.stringify([uid, { ...facts, holder: undefined }, claim]);
}

/** A pod that ended has given up its network. */
function isFinished({ phase }: VipPodFacts): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

function known(isTrue: boolean, sinceMs: number): number | undefined {
  return isTrue && sinceMs > 0 ? sinceMs : undefined;
}

function single(ip: Ip, what: string): ForbiddenRange {
  const value = ipToNumber(ip);
  return { range: { first: value, last: value }, what };
}

function block(text: string, what: string): readonly ForbiddenRange[] {
  const cidr = parseCidr(text);
  return cidr === undefined ? [] : [{ range: cidr.range, what }];
}

function readService(object: unknown): ServiceFacts | undefined {
  const name = `${textAt(object, "metadata", "namespace") ?? ""}/${textAt(object, "metadata", "name") ?? ""}`;
  const spec = valueAt(object, "spec");
  const texts = [
    textAt(spec, "clusterIP"),
    ...asList(valueAt(spec, "clusterIPs")).map(asText),
    ...asList(valueAt(spec, "externalIPs")).map(asText),
    ...asList(valueAt(object, "status", "loadBalancer", "ingress")).map((each) =>
      textAt(each, "ip"),
    ),
  ];
  const ips = [...new Set(texts.flatMap((text) => parseIp(text ?? "") ?? []))];
  return ips.length === 0 ? undefined : { name, ips };
}

function readPool(object: unknown): VipPool | VipComplaint {
  const parsed = parseVipPool(object);
  if (parsed.kind === "pool") return parsed.pool;
  return {
    about: refOf("galaxy.k8s.io/v1alpha1", "VIPPool", object),
    reason: "VIPPoolInvalid",
    message: parsed.problems.join("; "),
  };
}

function refOf(apiVersion: string, kind: string, object: unknown): ObjectRef {
  const text = (member: string) => textAt(object, "metadata", member) ?? "";
  return {
    apiVersion,
    kind,
    namespace: text("namespace"),
    name: text("name"),
    uid: text("uid"),
  };
}

function textOfBig(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
