// Which pods a controller owns and which pods a node has, kept up to date from the API server's changes, so that nobody scans all pods.

import type { Change, SimApi } from "./api.ts";
import type { SimPod } from "./objects.ts";

/** Keys of pods by the uid of their controller and by their node, in the order in which they came. */
export class PodIndex {
  readonly #api: SimApi;
  readonly #byController = new Map<string, Set<string>>();
  readonly #byNode = new Map<string, Set<string>>();

  constructor(api: SimApi) {
    this.#api = api;
    for (const key of api.keys("pods")) this.#add(key, api.get("pods", key));
    api.listeners.add((change) => this.#follow(change));
  }

  /** Pods of a controller by key. */
  ofController(uid: string): ReadonlyMap<string, SimPod> {
    return this.#pods(this.#byController.get(uid));
  }

  /** Pods bound to a node by key. */
  ofNode(name: string): ReadonlyMap<string, SimPod> {
    return this.#pods(this.#byNode.get(name));
  }

  #pods(keys: ReadonlySet<string> | undefined): ReadonlyMap<string, SimPod> {
    const pods = new Map<string, SimPod>();
    for (const key of keys ?? []) {
      const pod = this.#api.get("pods", key);
      if (pod !== undefined) pods.set(key, pod);
    }
    return pods;
  }

  #follow(change: Change): void {
    if (change.collection !== "pods") return;
    const { key, before, value } = change;
    // A pod whose owner and node stay the same keeps its place in the order.
    if (
      before !== undefined &&
      value !== undefined &&
      before.facts.uid === value.facts.uid &&
      before.facts.nodeName === value.facts.nodeName
    ) {
      return;
    }
    if (before !== undefined) {
      take(this.#byController, before.facts.controller?.uid, key);
      take(this.#byNode, before.facts.nodeName, key);
    }
    this.#add(key, value);
  }

  #add(key: string, pod: SimPod | undefined): void {
    if (pod === undefined) return;
    put(this.#byController, pod.facts.controller?.uid, key);
    put(this.#byNode, pod.facts.nodeName, key);
  }
}

function put(index: Map<string, Set<string>>, name: string | undefined, key: string): void {
  if (name === undefined || name === "") return;
  const keys = index.get(name);
  if (keys === undefined) index.set(name, new Set([key]));
  else keys.add(key);
}

function take(index: Map<string, Set<string>>, name: string | undefined, key: string): void {
  if (name === undefined || name === "") return;
  const keys = index.get(name);
  keys?.delete(key);
  if (keys?.size === 0) index.delete(name);
}
