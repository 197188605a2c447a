// Scalable workloads of any kind: finds the kind among the CustomResourceDefinitions, watches the kinds that pods use, and reads single
// objects. Built-in kinds of group apps are in cluster-view.ts.

import { isDeepStrictEqual } from "node:util";
import type { ControllerRef, WorkloadState } from "../../core/facts.ts";
import type { WorkloadRef } from "../../core/owner.ts";
import { workloadIdText } from "../../core/owner.ts";
import type { Log } from "../../ports/log.ts";
import { asList, textAt, valueAt } from "../../wire/json-value.ts";
import {
  type CrdFacts,
  type CrdVersion,
  parseCustomResourceDefinition,
  replicasAt,
} from "../../wire/workload.ts";
import { type ApiClient, segment } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { ListWatchTimes } from "./list-watch.ts";
import { nameKeyOf, namespacedKeyOf, WatchCache } from "./watch-cache.ts";

/** How objects of a kind are addressed and where their replicas stand. */
type KindPlace = {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly replicasPath: string | undefined;
};

/** A kind that is being watched. */
type WatchedKind = { readonly place: KindPlace; readonly cache: WatchCache<WorkloadState> };

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** Groups of built-in kinds that own pods; records of the Go system name the kind alone. */
const groupOfBuiltInKind: Readonly<Record<string, string>> = {
  job: "batch",
  cronjob: "batch",
  daemonset: "apps",
  replicationcontroller: "",
  node: "",
};

/** Most workloads that wait to become readable; more are found by the next resync. */
const mostWaiting = 10_000;

/** How long the answer of API discovery is believed. */
const discoveryLifeMs = 60_000;

/** What custom workloads need. */
export type CustomWorkloadsOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly times?: ListWatchTimes;
  /** A workload changed, or one that was asked for and unknown is known now. */
  readonly changed: (workload: WorkloadRef) => void;
};

/** Workloads of kinds that are not built in. */
export class CustomWorkloads {
  readonly crds: WatchCache<CrdFacts>;
  readonly #options: CustomWorkloadsOptions;
  readonly #kinds = new Map<string, WatchedKind>();
  readonly #versions = new Map<string, string>();
  readonly #waiting = new Map<string, WorkloadRef>();
  readonly #discovered = new Map<string, { readonly place: KindPlace; readonly atMs: number }>();
  #isStopped = false;

  constructor(options: CustomWorkloadsOptions) {
    this.#options = options;
    this.crds = new WatchCache<CrdFacts>({
      client: options.client,
      log: options.log,
      collection: {
        path: definitionsPath,
        what: "CustomResourceDefinitions",
      },
      ...(options.times === undefined ? {} : { times: options.times }),
      keyOf: nameKeyOf,
      project: parseCustomResourceDefinition,
      changed: () => {
        // During a list not all of them are known; `listed` looks once.
        if (this.crds.watch.isSynced) this.#definitionsChanged();
      },
      listed: () => this.#definitionsChanged(),
    });
  }

  /** Begins to watch the definitions. */
  start(): void {
    this.crds.watch.start();
  }

  /** Ends all watches. */
  stop(): void {
    this.#isStopped = true;
    this.crds.watch.stop();
    for (const { cache } of this.#kinds.values()) cache.watch.stop();
  }

  /**
   * Remembers which version of its kind a pod's owner reference names. The first one stays as long as it is served: pods that name
   * different versions must not make the watch begin anew each time.
   */
  noteController(controller: ControllerRef): void {
    const key = kindKey(controller.apiGroup, controller.kind.toLowerCase());
    if (this.#versions.has(key)) return;
    if (this.#versions.size >= 1000) this.#versions.clear();
    this.#versions.set(key, controller.apiVersion);
    if (this.#kinds.has(key)) this.#definitionsChanged();
  }

  /** The workload as last seen. Asking for a kind begins to watch it; until it is read the answer is `unknown`. */
  state(ref: WorkloadRef): WorkloadState {
    const state = this.#stateNow(ref);
    if (state.kind === "unknown" && this.#waiting.size < mostWaiting) {
      this.#waiting.set(`${ref.apiGroup ?? "?"}/${workloadIdText(ref)}`, ref);
    }
    return state;
  }

  /** The workload as it is now. Rejects with a WorldError. */
  async read(ref: WorkloadRef): Promise<WorkloadState> {
    const found = this.#definitionOf(ref);
    let place: KindPlace | undefined;
    if (found.kind === "definition") place = placeOf(found.crd, this.#versionFor(found.crd));
    // No definition seen: a kind that was installed a moment ago, a built-in one, or one of an aggregated API server. Several
    // definitions are several kinds, and which of them is meant cannot be found out.
    else if (found.kind === "none") place = await this.#discover(ref);
    if (place === undefined) return { kind: "unknown", reason: found.reason };
    const answer = await this.#options.client.readJson({
      path: objectPath(place, ref),
      tried: `read ${place.kind} ${ref.namespace}/${ref.name}`,
    });
    if (answer.kind === "missing") return { kind: "gone" };
    return project(place, answer.json);
  }

  #stateNow(ref: WorkloadRef): WorkloadState {
    if (!this.crds.watch.isSynced) {
      return { kind: "unknown", reason: "the CustomResourceDefinitions are not read yet" };
    }
    const found = this.#definitionOf(ref);
    if (found.kind !== "definition") return { kind: "unknown", reason: found.reason };
    const { watch, get } = this.#watchKind(found.crd);
    if (!watch.isReadable) {
      return {
        kind: "unknown",
        reason: `${found.crd.kind} of ${found.crd.group} cannot be read: ${watch.problem ?? ""}`,
      };
    }
    if (!watch.isSynced) {
      return {
        kind: "unknown",
        reason: `${found.crd.kind} of ${found.crd.group} is not read yet`,
      };
    }
    return get(`${ref.namespace}/${ref.name}`) ?? { kind: "gone" };
  }

  /** The definition of a workload's kind; `none` and `several` say why there is not one. */
  #definitionOf(
    ref: WorkloadRef,
  ):
    | { readonly kind: "definition"; readonly crd: CrdFacts; readonly reason: "" }
    | { readonly kind: "none" | "several"; readonly reason: string } {
    const matches = [...this.crds.values()].filter(
      (crd) =>
        crd.kind.toLowerCase() === ref.kind &&
        (ref.apiGroup === undefined || crd.group === ref.apiGroup) &&
        crd.versions.some((version) => version.served),
    );
    const [crd, ...more] = matches;
    if (crd === undefined) {
      const where = ref.apiGroup === undefined ? "any API group" : `API group "${ref.apiGroup}"`;
      return {
        kind: "none",
        reason: `no custom resource of kind "${ref.kind}" is served in ${where}`,
      };
    }
    if (more.length > 0) {
      const groups = matches.map((match) => match.group).join(", ");
      return {
        kind: "several",
        reason: `kind "${ref.kind}" is served in several API groups (${groups})`,
      };
    }
    return { kind: "definition", crd, reason: "" };
  }

  /** The served version to use: the one that owner references name if it can be scaled, else any that can, else any. */
  #versionFor(crd: CrdFacts): CrdVersion {
    const wanted = this.#versions.get(kindKey(crd.group, crd.kind.toLowerCase()));
    const served = crd.versions.filter((version) => version.served);
    const scalable = served.filter((version) => version.specReplicasPath !== undefined);
    const candidates = scalable.length > 0 ? scalable : served;
    return (
      candidates.find((version) => version.name === wanted) ??
      candidates.find((version) => version.storage) ??
      (candidates[0] as CrdVersion)
    );
  }

  #watchKind(crd: CrdFacts): {
    readonly watch: WatchCache<WorkloadState>["watch"];
    readonly get: (key: string) => WorkloadState | undefined;
  } {
    const key = kindKey(crd.group, crd.kind.toLowerCase());
    let watched = this.#kinds.get(key);
    if (watched === undefined) {
      watched = this.#startKind(placeOf(crd, this.#versionFor(crd)));
      this.#kinds.set(key, watched);
    }
    const { cache } = watched;
    return { watch: cache.watch, get: (name) => cache.get(name) };
  }

  #startKind(place: KindPlace): WatchedKind {
    const { client, log, times, changed } = this.#options;
    const cache = new WatchCache<WorkloadState>({
      client,
      log,
      collection: {
        path: `/apis/${segment(place.group)}/${segment(place.version)}/${segment(place.plural)}`,
        what: `${place.plural}.${place.group}`,
      },
      ...(times === undefined ? {} : { times }),
      keyOf: namespacedKeyOf,
      project: (object) => project(place, object),
      changed: (key) => {
        const slash = key.indexOf("/");
        changed({
          type: "custom",
          kind: place.kind.toLowerCase(),
          apiGroup: place.group,
          namespace: key.slice(0, slash),
          name: key.slice(slash + 1),
        });
      },
      listed: () => this.#reviewWaiting(),
    });
    if (!this.#isStopped) cache.watch.start();
    return { place, cache };
  }

  /** Definitions appeared, changed or left: watches of kinds that are addressed differently now begin anew. */
  #definitionsChanged(): void {
    this.#discovered.clear();
    for (const [key, { place, cache }] of this.#kinds) {
      const crd = [...this.crds.values()].find(
        (candidate) =>
          kindKey(candidate.group, candidate.kind.toLowerCase()) === key &&
          candidate.versions.some((version) => version.served),
      );
      const named = this.#versions.get(key);
      const isNamedServed = crd?.versions.some(({ name, served }) => served && name === named);
      if (isNamedServed !== true) this.#versions.delete(key);
      const wanted = crd && placeOf(crd, this.#versionFor(crd));
      if (isDeepStrictEqual(place, wanted)) continue;
      cache.watch.stop();
      if (wanted === undefined) this.#kinds.delete(key);
      else this.#kinds.set(key, this.#startKind(wanted));
    }
    this.#reviewWaiting();
  }

  /** Tells of workloads that were asked for when they could not be read, and can be now. */
  #reviewWaiting(): void {
    // A listener may ask again at once, which may put the workload back; what is looked at is taken out first.
    const waiting = [...this.#waiting];
    for (const [key, ref] of waiting) {
      if (this.#stateNow(ref).kind === "unknown") continue;
      this.#waiting.delete(key);
      this.#options.changed(ref);
    }
  }

  /** Where a kind without a CustomResourceDefinition is served; undefined when it is not. */
  async #discover(ref: WorkloadRef): Promise<KindPlace | undefined> {
    const group = ref.apiGroup ?? groupOfBuiltInKind[ref.kind];
    if (group === undefined) return undefined;
    const key = kindKey(group, ref.kind);
    const known = this.#discovered.get(key);
    if (known !== undefined && performance.now() - known.atMs < discoveryLifeMs) return known.place;
    const version = this.#versions.get(key) ?? (await this.#preferredVersion(group));
    if (version === undefined) return undefined;
    const answer = await this.#readDiscovery(
      group === "" ? `/api/${segment(version)}` : `/apis/${segment(group)}/${segment(version)}`,
    );
    const resource = asList(valueAt(answer, "resources")).find(
      (candidate) =>
        textAt(candidate, "kind")?.toLowerCase() === ref.kind &&
        textAt(candidate, "name")?.includes("/") === false,
    );
    const plural = textAt(resource, "name");
    const kind = textAt(resource, "kind");
    if (plural === undefined || kind === undefined) return undefined;
    const crd = await this.#readDefinition(plural, group);
    const place: KindPlace =
      crd !== undefined
        ? placeOf(crd, this.#versionFor(crd))
        : {
            group,
            version,
            plural,
            kind,
            isNamespaced: valueAt(resource, "namespaced") === true,
            replicasPath:
              kind === "ReplicationController" && group === "" ? ".spec.replicas" : undefined,
          };
    this.#discovered.set(key, { place, atMs: performance.now() });
    return place;
  }

  /** The definition of a kind as it is now; undefined when it has none or it serves nothing. */
  async #readDefinition(plural: string, group: string): Promise<CrdFacts | undefined> {
    const name = `${plural}.${group}`;
    const answer = await this.#options.client.readJson({
      path: `${definitionsPath}/${segment(name)}`,
      tried: `read CustomResourceDefinition ${name}`,
    });
    if (answer.kind === "missing") return undefined;
    const crd = parseCustomResourceDefinition(answer.json);
    return crd?.versions.some((version) => version.served) === true ? crd : undefined;
  }

  async #preferredVersion(group: string): Promise<string | undefined> {
    if (group === "") return "v1";
    const answer = await this.#readDiscovery(`/apis/${segment(group)}`);
    return textAt(answer, "preferredVersion", "version");
  }

  /** An answer of API discovery; undefined when the group or version is not served. */
  async #readDiscovery(path: string): Promise<unknown> {
    try {
      const answer = await this.#options.client.readJson({ path, tried: `discover ${path}` });
      return answer.kind === "found" ? answer.json : undefined;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }
}

function kindKey(group: string, lowerKind: string): string {
  return `${group}/${lowerKind}`;
}

function placeOf(crd: CrdFacts, version: CrdVersion): KindPlace {
  return {
    group: crd.group,
    version: version.name,
    plural: crd.plural,
    kind: crd.kind,
    isNamespaced: crd.scope === "Namespaced",
    replicasPath: version.specReplicasPath,
  };
}

function objectPath(place: KindPlace, ref: WorkloadRef): string {
  const root =
    place.group === ""
      ? `/api/${segment(place.version)}`
      : `/apis/${segment(place.group)}/${segment(place.version)}`;
  const namespace = place.isNamespaced ? `/namespaces/${segment(ref.namespace)}` : "";
  return `${root}${namespace}/${segment(place.plural)}/${segment(ref.name)}`;
}

function project(place: KindPlace, object: unknown): WorkloadState {
  const uid = textAt(object, "metadata", "uid") ?? "";
  const replicas =
    place.replicasPath === undefined ? undefined : replicasAt(object, place.replicasPath);
  if (place.replicasPath !== undefined && replicas === undefined) {
    return {
      kind: "unknown",
      reason: `${place.kind} ${namespacedKeyOf(object) ?? ""} has no replicas at ${place.replicasPath}`,
    };
  }
  return {
    kind: "present",
    uid,
    replicas,
    // OpenKruise took the field over from StatefulSets; kinds that do not have it start at 0.
    firstOrdinal: replicasAt(object, ".spec.ordinals.start") ?? 0,
    rolloutDeadlock: undefined,
  };
}
