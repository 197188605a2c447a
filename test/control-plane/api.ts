// A small client of the Kubernetes API for tests and benchmarks: the independent observer that the product's view is
// compared with. It shares no code with the product on purpose.

import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { events, type Kind, type KubeObject, type Manifest, type Pod, pods } from "./kinds.ts";

/** How to reach an API server. */
export type ApiAddress = {
  readonly url: string;
  /** PEM text of the certificates that are trusted. */
  readonly ca: string;
  readonly token: string;
};

/** An answer of the API server other than success, with the server's own words. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(call: string, status: number, body: string) {
    const said = parseStatus(body);
    super(`${call} answered ${status} ${said.reason}: ${said.message}`);
    this.name = "ApiError";
    this.status = status;
    this.reason = said.reason;
  }
}

/** Which objects are meant: one kind, optionally in one namespace and narrowed by selectors. */
export type Scope<T extends KubeObject> = {
  readonly kind: Kind<T>;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
};

/** One object by its name. */
export type Reference = { readonly name: string; readonly namespace?: string };

export type DeleteOptions = {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  /** Deletes only this incarnation; another one is an ApiError with status 409. */
  readonly uid?: string;
};

export type WaitOptions = {
  /** Upper bound of the wait; {@link DEFAULT_TIMEOUT_MS} by default. */
  readonly timeoutMs?: number;
};

/** Told about each change; a listener must not throw. */
export type FollowListener<T> = {
  readonly changed?: (object: T) => void;
  readonly gone?: (object: T) => void;
};

/** A live copy of a scope that survives disconnects and outages by listing again. */
export type Follower<T> = {
  /** By `namespace/name`, or by `name` for kinds without a namespace. */
  readonly items: ReadonlyMap<string, T>;
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  stop(): void;
};

type Call = {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly isRetry?: boolean;
};

type Answer = { readonly call: Call; readonly status: number; readonly text: string };

/**
 * Who waits goes on as soon as there is what he waits for, so that the limit is for what never comes. It leaves room for a machine several
 * times slower than usual, and for the minute and a half after which kube-scheduler tries a pod again that nobody told it about.
 */
const DEFAULT_TIMEOUT_MS = 150_000;
/** Waits that take longer are told on stderr: half a minute for one pod may be a defect, even when the test passes. */
const TOLD_FROM_MS = 30_000;
/** An API server that does not answer at all within this time is treated as away. */
const CALL_TIMEOUT_MS = 60_000;

export class ApiClient {
  readonly address: ApiAddress;
  readonly #agent: Agent;
  readonly #followers = new Set<{ stop(): void }>();
  readonly #discovered = new Map<string, Kind>();

  constructor(address: ApiAddress) {
    this.address = address;
    this.#agent = new Agent({ ca: address.ca, keepAlive: true, scheduling: "lifo" });
  }

  /** Ends all connections and followers; the client can not be used afterwards. */
  close(): void {
    for (const follower of this.#followers) {
      follower.stop();
    }
    this.#agent.destroy();
  }

  /** The object, or undefined where there is none of that name (or the kind is not served). */
  async get<T extends KubeObject>(kind: Kind<T>, at: Reference): Promise<T | undefined> {
    const answer = await this.#exchange({ method: "GET", path: pathOf(kind, at) });
    return answer.status === 404 ? undefined : (this.#success(answer) as T);
  }

  /** All objects of a scope, read from the API server and not from its watch cache. */
  async list<T extends KubeObject>(scope: Scope<T>): Promise<readonly T[]> {
    return (await this.#list(scope)).items;
  }

  /** Creates the object and returns it as stored; 409 AlreadyExists is an ApiError. */
  async create<T extends KubeObject>(manifest: Manifest<T>): Promise<T> {
    const kind = await this.kindOf(manifest);
    return (await this.call("POST", homeOf(kind, manifest), manifest)) as T;
  }

  /** Creates the object or merges the manifest into the one that is there. */
  async apply<T extends KubeObject>(manifest: Manifest<T>): Promise<T> {
    const kind = await this.kindOf(manifest);
    const name = manifest.metadata.name;
    if (name === undefined) {
      throw new Error(`a ${manifest.kind} without metadata.name cannot be applied; give it a name`);
    }
    const path = homeOf(kind, manifest);
    const created = await this.#exchange({ method: "POST", path, body: manifest });
    if (created.status !== 409) {
      return this.#success(created) as T;
    }
    return (await this.call("PATCH", `${path}/${name}`, manifest)) as T;
  }

  /** JSON merge patch (RFC 7386), optionally of a subresource such as `status` or `scale`. */
  async patch<T extends KubeObject>(
    kind: Kind<T>,
    at: Reference,
    patch: unknown,
    subresource?: string,
  ): Promise<T> {
    const path = pathOf(kind, at) + (subresource === undefined ? "" : `/${subresource}`);
    return (await this.call("PATCH", path, patch)) as T;
  }

  /** Replaces the object; its resourceVersion must be the one in force. */
  async replace<T extends KubeObject>(object: T): Promise<T> {
    const kind = await this.kindOf(object);
    return (await this.call("PUT", pathOf(kind, object.metadata), object)) as T;
  }

  /** Sets `spec.replicas` through the scale subresource, as `kubectl scale` does. */
  async scale(kind: Kind, at: Reference, replicas: number): Promise<void> {
    await this.call("PATCH", `${pathOf(kind, at)}/scale`, { spec: { replicas } });
  }

  /** Starts a rollout by changing an annotation of the pod template, as `kubectl rollout restart` does. */
  async restartWorkload(kind: Kind, at: Reference): Promise<void> {
    const annotations = { "test/restarted": `${Date.now()}-${Math.random()}` };
    await this.patch(kind, at, { spec: { template: { metadata: { annotations } } } });
  }

  /** Asks for deletion; false where there was no such object. Graceful deletion may go on afterwards. */
  async delete<T extends KubeObject>(
    kind: Kind<T>,
    at: Reference,
    options: DeleteOptions = {},
  ): Promise<boolean> {
    const { uid, ...rest } = options;
    const body = uid === undefined ? rest : { ...rest, preconditions: { uid } };
    const answer = await this.#exchange({ method: "DELETE", path: pathOf(kind, at), body });
    if (answer.status === 404) {
      return false;
    }
    this.#success(answer);
    return true;
  }

  /** Deletes all objects of a scope with one call. */
  async deleteAll<T extends KubeObject>(
    scope: Scope<T>,
    options: DeleteOptions = {},
  ): Promise<void> {
    const path = collectionOf(scope.kind, scope.namespace) + queryOf(scope, {});
    await this.call("DELETE", path, options);
  }

  /** Any call: JSON in, JSON out; PATCH is a merge patch. Throws ApiError for anything but success. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    return this.#success(await this.#exchange({ method, path, body }));
  }

  /** Keeps a live copy of a scope until `stop()`. */
  follow<T extends KubeObject>(scope: Scope<T>, listener: FollowListener<T> = {}): Follower<T> {
    const items = new Map<string, T>();
    const abort = new AbortController();
    const synced = Promise.withResolvers<void>();
    const follower: Follower<T> = {
      items,
      synced: synced.promise,
      stop: () => {
        this.#followers.delete(follower);
        abort.abort();
        // Who waits for the first list of a stopped follower must not wait for ever.
        synced.resolve();
      },
    };
    this.#followers.add(follower);
    void this.#keepFollowing(scope, items, listener, synced.resolve, abort.signal);
    return follower;
  }

  /**
   * Waits until the objects of a scope satisfy the predicate and returns them.
   * Throws when the time is over, with what was last seen and the latest events.
   */
  async waitFor<T extends KubeObject>(
    what: string,
    scope: Scope<T>,
    predicate: (items: readonly T[]) => boolean,
    options: WaitOptions = {},
  ): Promise<readonly T[]> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const outcome = Promise.withResolvers<readonly T[]>();
    let isSynced = false;
    const look = () => {
      if (!isSynced) {
        return;
      }
      const seen = [...follower.items.values()];
      try {
        if (predicate(seen)) {
          outcome.resolve(seen);
        }
      } catch (error) {
        outcome.reject(error);
      }
    };
    const follower = this.follow(scope, { changed: look, gone: look });
    const lookFirst = async () => {
      await follower.synced;
      isSynced = true;
      look();
    };
    void lookFirst();
    const startedMs = performance.now();
    const timer = setTimeout(() => {
      void this.#timedOut(what, scope, [...follower.items.values()], timeoutMs).then(
        outcome.reject,
      );
    }, timeoutMs);
    try {
      const found = await outcome.promise;
      tellSlow(what, startedMs);
      return found;
    } finally {
      clearTimeout(timer);
      follower.stop();
    }
  }

  /** Waits until the one object exists and satisfies the predicate. */
  async waitForOne<T extends KubeObject>(
    what: string,
    kind: Kind<T>,
    at: Reference,
    predicate: (item: T) => boolean = () => true,
    options: WaitOptions = {},
  ): Promise<T> {
    const accepts = (items: readonly T[]) => items[0] !== undefined && predicate(items[0]);
    const [item] = await this.waitFor(what, scopeOf(kind, at), accepts, options);
    return item as T;
  }

  /** Waits until there is no object of that name (or, with `uid`, not this incarnation). */
  async waitForGone<T extends KubeObject>(
    kind: Kind<T>,
    at: Reference & { readonly uid?: string },
    options: WaitOptions = {},
  ): Promise<void> {
    const what = `${kind.kind} ${at.name} to be gone`;
    const isGone = (items: readonly T[]) =>
      items.every((item) => at.uid !== undefined && item.metadata.uid !== at.uid);
    await this.waitFor(what, scopeOf(kind, at), isGone, options);
  }

  /** Where the kind of a manifest lives: asked from the API server's discovery once per kind. */
  async kindOf<T extends KubeObject>(object: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly __read?: T;
  }): Promise<Kind> {
    const key = `${object.apiVersion}/${object.kind}`;
    const known = this.#discovered.get(key);
    if (known !== undefined) {
      return known;
    }
    const list = (await this.call("GET", rootOf(object.apiVersion))) as {
      readonly resources: readonly { name: string; kind: string; namespaced: boolean }[];
    };
    for (const resource of list.resources) {
      if (!resource.name.includes("/")) {
        this.#discovered.set(`${object.apiVersion}/${resource.kind}`, {
          apiVersion: object.apiVersion,
          kind: resource.kind,
          plural: resource.name,
          namespaced: resource.namespaced,
        });
      }
    }
    const found = this.#discovered.get(key);
    if (found === undefined) {
      throw new Error(`the API server serves no kind ${object.kind} in ${object.apiVersion}`);
    }
    return found;
  }

  async #list<T extends KubeObject>(
    scope: Scope<T>,
  ): Promise<{ readonly items: readonly T[]; readonly resourceVersion: string }> {
    const path = collectionOf(scope.kind, scope.namespace) + queryOf(scope, {});
    const list = (await this.call("GET", path)) as {
      readonly metadata: { readonly resourceVersion: string };
      readonly items: readonly T[] | null;
    };
    // Items of a list carry no kind and apiVersion of their own.
    const { apiVersion, kind } = scope.kind;
    const items = (list.items ?? []).map((item) => ({ ...item, apiVersion, kind }));
    return { items, resourceVersion: list.metadata.resourceVersion };
  }

  async #keepFollowing<T extends KubeObject>(
    scope: Scope<T>,
    items: Map<string, T>,
    listener: FollowListener<T>,
    synced: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    let pauseMs = 50;
    while (!signal.aborted) {
      try {
        const list = await this.#list(scope);
        if (signal.aborted) {
          return;
        }
        const present = new Set(list.items.map(keyOf));
        for (const [key, item] of items) {
          if (!present.has(key)) {
            items.delete(key);
            listener.gone?.(item);
          }
        }
        for (const item of list.items) {
          items.set(keyOf(item), item);
          listener.changed?.(item);
        }
        synced();
        pauseMs = 50;
        await this.#watch(scope, list.resourceVersion, items, listener, signal);
      } catch {
        // The API server is away or the version is too old: the next list tells.
      }
      if (!signal.aborted) {
        await delay(pauseMs, undefined, { signal }).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, 1_000);
      }
    }
  }

  /** Follows the changes after `resourceVersion`; returns when the list has to be read again. */
  async #watch<T extends KubeObject>(
    scope: Scope<T>,
    resourceVersion: string,
    items: Map<string, T>,
    listener: FollowListener<T>,
    signal: AbortSignal,
  ): Promise<void> {
    let version = resourceVersion;
    const state = { isExpired: false };
    const onLine = (line: string) => {
      const event = JSON.parse(line) as { readonly type: string; readonly object: T };
      if (event.type === "ERROR") {
        state.isExpired = true;
        return;
      }
      version = event.object.metadata.resourceVersion;
      if (event.type === "BOOKMARK") {
        return;
      }
      const key = keyOf(event.object);
      if (event.type === "DELETED") {
        items.delete(key);
        listener.gone?.(event.object);
      } else {
        items.set(key, event.object);
        listener.changed?.(event.object);
      }
    };
    while (!signal.aborted && !state.isExpired) {
      const more = { watch: "true", allowWatchBookmarks: "true", resourceVersion: version };
      const path = collectionOf(scope.kind, scope.namespace) + queryOf(scope, more);
      await this.#readLines(path, onLine, signal);
    }
  }

  #readLines(path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = this.#request({ method: "GET", path }, signal, (response) => {
        if (response.statusCode !== 200) {
          response.resume();
          reject(new Error(`GET ${path} answered ${response.statusCode}`));
          return;
        }
        let rest = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          const lines = (rest + chunk).split("\n");
          rest = lines.pop() ?? "";
          try {
            for (const line of lines) {
              if (line !== "" && !signal.aborted) {
                onLine(line);
              }
            }
          } catch (cause) {
            const error = new Error(`GET ${path} sent what cannot be understood`, { cause });
            request.destroy();
            reject(error);
          }
        });
        response.on("end", resolve);
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end();
    });
  }

  #exchange(call: Call): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = this.#request(call, undefined, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({ call, status: response.statusCode ?? 0, text });
        });
        response.on("error", reject);
      });
      request.setTimeout(CALL_TIMEOUT_MS, () => {
        request.destroy(new Error(`no answer within ${CALL_TIMEOUT_MS} ms`));
      });
      request.on("error", (cause) => {
        if (request.reusedSocket && call.method === "GET" && call.isRetry !== true) {
          // The server closed an idle connection in the moment it was used again.
          resolve(this.#exchange({ ...call, isRetry: true }));
          return;
        }
        reject(new Error(`${call.method} ${call.path}: ${cause.message}`, { cause }));
      });
      if (call.body === undefined) {
        request.end();
      } else {
        const body = Buffer.from(JSON.stringify(call.body));
        // Node announces no length of its own for the body of a DELETE.
        request.setHeader("content-length", body.length);
        request.end(body);
      }
    });
  }

  #request(
    call: Call,
    signal: AbortSignal | undefined,
    onResponse: (response: IncomingMessage) => void,
  ): ClientRequest {
    const url = new URL(this.address.url);
    const json = call.method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const options: RequestOptions = {
      host: url.hostname,
      port: url.port,
      method: call.method,
      path: call.path,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        accept: "application/json",
        authorization: `Bearer ${this.address.token}`,
        ...(call.body === undefined ? {} : { "content-type": json }),
      },
    };
    return url.protocol === "http:"
      ? httpRequest(options, onResponse)
      : httpsRequest({ ...options, agent: this.#agent }, onResponse);
  }

  #success(answer: Answer): unknown {
    if (answer.status < 200 || answer.status > 299) {
      throw new ApiError(`${answer.call.method} ${answer.call.path}`, answer.status, answer.text);
    }
    return answer.text.startsWith("{") ? JSON.parse(answer.text) : answer.text;
  }

  async #timedOut<T extends KubeObject>(
    what: string,
    scope: Scope<T>,
    seen: readonly T[],
    timeoutMs: number,
  ): Promise<Error> {
    const where = scope.namespace === undefined ? "" : ` in namespace ${scope.namespace}`;
    const shown = seen.length === 0 ? "nothing" : seen.map(summaryOf).join("\n  ").slice(0, 6_000);
    const told = await this.#latestEvents(scope.namespace);
    return new Error(
      `waited ${timeoutMs} ms for ${what}; last seen of ${scope.kind.plural}${where}:\n  ${shown}${told}`,
    );
  }

  async #latestEvents(namespace: string | undefined): Promise<string> {
    try {
      const scope = namespace === undefined ? { kind: events } : { kind: events, namespace };
      const all = await this.list(scope);
      const latest = all
        .toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
        .slice(-8)
        .map(
          (e) =>
            `${e.type} ${e.involvedObject.kind}/${e.involvedObject.name} ${e.reason}: ${e.message}`,
        );
      return latest.length === 0 ? "" : `\nlatest events:\n  ${latest.join("\n  ")}`;
    } catch (error) {
      return `\n(events cannot be read: ${String(error)})`;
    }
  }
}

/**
 * Waits until what `observe` returns is accepted, asking every `everyMs` (100 by default); for states that no watch
 * tells. An `observe` that throws counts as not accepted; the message of the timeout shows the last state or error.
 */
export async function waitUntil<S>(
  what: string,
  observe: () => Promise<S> | S,
  accept: (state: S) => boolean,
  options: WaitOptions & { readonly everyMs?: number } = {},
): Promise<S> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const startedMs = performance.now();
  const deadline = startedMs + timeoutMs;
  let last = "";
  for (;;) {
    try {
      const state = await observe();
      if (accept(state)) {
        tellSlow(what, startedMs);
        return state;
      }
      last = typeof state === "string" ? state : (JSON.stringify(state) ?? String(state));
    } catch (error) {
      last = String(error);
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}; last seen: ${last.slice(0, 6_000)}`);
    }
    await delay(options.everyMs ?? 100);
  }
}

function tellSlow(what: string, startedMs: number): void {
  const tookMs = performance.now() - startedMs;
  if (tookMs > TOLD_FROM_MS) {
    process.stderr.write(`slow: waited ${Math.round(tookMs / 1_000)} s for ${what}\n`);
  }
}

/** Runs `work` for each item with at most `limit` at a time; the first failure is thrown after the rest ended. */
export async function inParallel<I>(
  items: Iterable<I>,
  limit: number,
  work: (item: I) => Promise<unknown>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failures.length > 0) {
    throw failures[0];
  }
}

/** Whether the pod's Ready condition is True. */
export function isReady(pod: Pod): boolean {
  return pod.status.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;
}

/** One address of a pod as `common.ipinfos` of its args annotation has it; `ip` is in CIDR form. */
export type IpInfo = { readonly ip: string; readonly vlan: number; readonly gateway: string };

/** What the product wrote into the pod's `k8s.v1.cni.galaxy.io/args`; empty where there is nothing that can be read. */
export function ipInfosOf(pod: Pod): readonly IpInfo[] {
  const text = pod.metadata.annotations?.["k8s.v1.cni.galaxy.io/args"];
  if (text === undefined || text === "") {
    return [];
  }
  try {
    const args = JSON.parse(text) as { readonly common?: { readonly ipinfos?: unknown } };
    const infos = args.common?.ipinfos;
    return Array.isArray(infos) ? (infos as readonly IpInfo[]) : [];
  } catch {
    // Scenarios make pods with broken annotations on purpose.
    return [];
  }
}

/** The pod's float IPs without prefix length, in the order of the annotation. */
export function floatIpsOf(pod: Pod): readonly string[] {
  return ipInfosOf(pod).map((info) => info.ip.split("/")[0] as string);
}

/** The scope of the pods that the builders label `app: <app>`. */
export function podsOf(namespace: string, app: string): Scope<Pod> {
  return { kind: pods, namespace, labelSelector: `app=${app}` };
}

function rootOf(apiVersion: string): string {
  return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

function collectionOf(kind: Kind, namespace: string | undefined): string {
  const root = rootOf(kind.apiVersion);
  return kind.namespaced && namespace !== undefined
    ? `${root}/namespaces/${namespace}/${kind.plural}`
    : `${root}/${kind.plural}`;
}

/** The collection that a manifest belongs in; like kubectl, without a namespace that is `default`. */
function homeOf(kind: Kind, manifest: Manifest): string {
  return collectionOf(kind, manifest.metadata.namespace ?? "default");
}

function pathOf(kind: Kind, at: Reference): string {
  if (kind.namespaced && at.namespace === undefined) {
    throw new Error(`a ${kind.kind} lives in a namespace; say in which one ${at.name} is`);
  }
  return `${collectionOf(kind, at.namespace)}/${at.name}`;
}

function scopeOf<T extends KubeObject>(kind: Kind<T>, at: Reference): Scope<T> {
  const fieldSelector = `metadata.name=${at.name}`;
  return at.namespace === undefined
    ? { kind, fieldSelector }
    : { kind, namespace: at.namespace, fieldSelector };
}

function queryOf(scope: Scope<KubeObject>, more: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(more);
  if (scope.labelSelector !== undefined) {
    query.set("labelSelector", scope.labelSelector);
  }
  if (scope.fieldSelector !== undefined) {
    query.set("fieldSelector", scope.fieldSelector);
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}

function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function parseStatus(body: string): { reason: string; message: string } {
  try {
    const status = JSON.parse(body) as { reason?: string; message?: string };
    return { reason: status.reason ?? "", message: status.message ?? body.slice(0, 500) };
  } catch {
    return { reason: "", message: body.slice(0, 500) };
  }
}

/** One line about an object: pods by what scenarios wait for, anything else by its spec and status. */
function summaryOf(object: KubeObject): string {
  const name = keyOf(object);
  if (object.kind === "Pod") {
    const pod = object as Pod;
    const conditions = (pod.status.conditions ?? [])
      .map((c) => `${c.type}=${c.status}${c.message ? ` (${c.message})` : ""}`)
      .join(", ");
    const deleting = pod.metadata.deletionTimestamp === undefined ? "" : " deleting";
    return `${name} ${pod.status.phase}${deleting} on ${pod.spec.nodeName ?? "no node"} ${ipInfosOf(
      pod,
    )
      .map((info) => info.ip)
      .join(",")} ${conditions}`;
  }
  const { apiVersion, kind, metadata, ...rest } = object;
  return `${kind} ${apiVersion} ${name} ${metadata.resourceVersion} ${JSON.stringify(rest).slice(0, 600)}`;
}
