// The daemon's use cases on a cluster and plugins that a test says everything about, without kernel and root.

import { SocketNodeLocks } from "../../src/adapters/linux/node-locks.ts";
import { MemoryEventRecorder } from "../../src/adapters/memory/event-recorder.ts";
import { MemoryPodStateStore } from "../../src/adapters/memory/pod-state-store.ts";
import type { Allocation } from "../../src/core/allocation.ts";
import type { CniRefusal, CniResult } from "../../src/core/cni-result.ts";
import { cniCode } from "../../src/core/cni-result.ts";
import type { PodAddOutcome } from "../../src/node/pod-networks.ts";
import { PodNetworks } from "../../src/node/pod-networks.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Log } from "../../src/ports/log.ts";
import type { PluginCall } from "../../src/ports/plugin-exec.ts";
import type { NodePod, PodDirectory } from "../../src/ports/pod-directory.ts";
import { WorldError } from "../../src/ports/world-error.ts";

let worlds = 0;

/** A pod of node n1 without wishes; fields of the test win. */
export function aPodOf(name: string, fields: Partial<NodePod> = {}): NodePod {
  return {
    id: { namespace: "default", name },
    uid: `uid-${name}`,
    nodeName: "n1",
    wantsAddress: false,
    wishes: [],
    grants: [],
    problems: [],
    ...fields,
  };
}

/** The cluster as one node sees it. */
export class ScriptedDirectory implements PodDirectory {
  readonly pods = new Map<string, NodePod>();
  readonly records = new Map<string, Allocation>();
  readonly statuses: string[] = [];
  /** What is left to fail, first to last; undefined: that call works. */
  readonly failures: (WorldError | undefined)[] = [];
  /** Outcomes of the next writes; "written" when there is none left. */
  readonly writes: ("gone" | "conflict")[] = [];

  async readPod({ name }: NodePod["id"]): Promise<NodePod | "gone"> {
    this.#fail();
    return this.pods.get(name) ?? "gone";
  }

  async readAllocation(ip: string): Promise<Allocation | undefined> {
    this.#fail();
    return this.records.get(ip);
  }

  async writeNetworkStatus(
    _pod: Pick<NodePod, "id" | "uid">,
    text: string,
  ): Promise<"written" | "gone" | "conflict"> {
    this.#fail();
    const outcome = this.writes.shift() ?? "written";
    if (outcome === "written") this.statuses.push(text);
    return outcome;
  }

  #fail(): void {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  }
}

/** What an API server that is starting is to its clients. */
export function unavailable(): WorldError {
  return new WorldError("API_UNAVAILABLE", {
    tried: "read the pod",
    message: "connection refused",
  });
}

/** A node n1 with one default network, whose plugin is none of ours and works. */
export class PodNetworksWorld {
  readonly directory = new ScriptedDirectory();
  readonly events = new MemoryEventRecorder();
  readonly states: MemoryPodStateStore;
  readonly pods: PodNetworks;
  /** Calls of plugins, in order. */
  readonly calls: PluginCall[] = [];
  /** What plugins say instead of working. */
  failing: string | undefined;
  /** Configurations of networks by name. */
  readonly networks = new Map<string, readonly Readonly<Record<string, unknown>>[]>([
    ["net", [{ name: "net", type: "some-plugin" }]],
  ]);
  #held: { readonly wait: Promise<void>; readonly reached: () => void } | undefined;
  #whenHeld = Promise.resolve();

  constructor(parts: { readonly clock: Clock; readonly log: Log }) {
    worlds += 1;
    this.states = new MemoryPodStateStore(parts.clock);
    this.pods = new PodNetworks(
      {
        directory: this.directory,
        catalog: { find: async (name) => this.networks.get(name) },
        states: this.states,
        exec: { run: (call) => this.#run(call) },
        leftovers: async () => {},
        events: this.events,
        locks: new SocketNodeLocks(`pod-networks-world ${process.pid} ${worlds}`),
        ...parts,
      },
      {
        nodeName: "n1",
        defaults: { floatIpNetwork: "", defaultNetworks: ["net"] },
        takesAddresses: (type) => type.startsWith("galaxy-"),
      },
    );
  }

  /** ADD of the container that has the pod's name. */
  add(pod: NodePod, fields: { readonly args?: string } = {}): Promise<PodAddOutcome> {
    const { name } = pod.id;
    this.directory.pods.set(name, pod);
    return this.pods.add({
      containerId: name,
      netns: `/run/netns/${name}`,
      ifName: "eth0",
      args: fields.args ?? "",
      path: ["/opt/cni/bin"],
      cniVersion: "1.0.0",
      pod: pod.id,
      podUid: pod.uid,
      runtimeConfig: { portMappings: [{ hostPort: 80 }], ips: ["10.0.0.9/24"] },
    });
  }

  /** Plugins wait from now on, until the function that this returns is called. */
  holdPlugins(): () => void {
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    this.#held = { wait: gate.promise, reached: () => reached.resolve() };
    this.#whenHeld = reached.promise;
    return () => {
      this.#held = undefined;
      gate.resolve();
    };
  }

  /** Resolves when a plugin waits. */
  whenHeld(): Promise<void> {
    return this.#whenHeld;
  }

  async #run(call: PluginCall): Promise<CniResult | undefined | CniRefusal> {
    this.calls.push(call);
    this.#held?.reached();
    await this.#held?.wait;
    if (this.failing !== undefined) {
      return { kind: "refused", code: cniCode.general, message: this.failing };
    }
    if (call.command !== "ADD") return undefined;
    return {
      interfaces: [{ name: call.ifName }],
      ips: [{ address: "10.1.0.1/24" }],
      routes: [],
      dns: {},
    };
  }
}
