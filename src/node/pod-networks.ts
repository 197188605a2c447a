// All networks of a pod: which, with which addresses, in which order, and back. The daemon's side of ADD, DEL and CHECK; what one network is
// made of is the business of its plugins.

import type { CniRefusal, CniResult } from "../core/cni-result.ts";
import { cniCode } from "../core/cni-result.ts";
import type { NetworkDefaults, PodNetwork } from "../core/decide-networks.ts";
import { decideNetworks, refuseForeignAddresses } from "../core/decide-networks.ts";
import type { PodId } from "../core/owner.ts";
import type { PluginRun } from "../core/plugin-run.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventRecorder } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { NodeLocks } from "../ports/node-locks.ts";
import type { PluginExec } from "../ports/plugin-exec.ts";
import type { NodePod, PodDirectory } from "../ports/pod-directory.ts";
import type { NetworkCatalog, PodStateStore } from "../ports/pod-networks.ts";
import { lockLimitMs } from "./network-facts.ts";

/** How long and how often the API server is asked for a pod that it does not know: caches behind it may be late. */
const podWaitMs = 5_000;
const podRetryMs = 500;

/** What the daemon works with. */
export type PodNetworkPorts = {
  readonly directory: PodDirectory;
  readonly catalog: NetworkCatalog;
  readonly states: PodStateStore;
  readonly exec: PluginExec;
  /** Undoes what a container has of our plugins, whatever network it was for. */
  readonly leftovers: (containerId: string) => Promise<void>;
  readonly events: EventRecorder;
  readonly locks: NodeLocks;
  readonly clock: Clock;
  readonly log: Log;
};

/** A call of the runtime. */
export type PodCall = {
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS as text. */
  readonly args: string;
  readonly path: readonly string[];
  readonly cniVersion: string;
};

/** A call of the runtime for a new pod. */
export type PodAddCall = PodCall & {
  readonly pod: PodId;
  /** K8S_POD_UID; "" when the runtime does not say it. */
  readonly podUid: string;
};

/** The outcome of ADD: the result of every network, that of the pod first. */
export type PodAddOutcome =
  | {
      readonly kind: "added";
      readonly pod: NodePod;
      readonly networks: readonly (PodNetwork & { readonly result: CniResult })[];
    }
  | CniRefusal;

/** The networks of the pods of one node. */
export class PodNetworks {
  readonly #ports: PodNetworkPorts;
  readonly #nodeName: string;
  readonly #defaults: NetworkDefaults;
  readonly #takesAddresses: (type: string) => boolean;

  /** @param options `takesAddresses`: whether plugins of that type want the pod's float IPs */
  constructor(
    ports: PodNetworkPorts,
    options: {
      readonly nodeName: string;
      readonly defaults: NetworkDefaults;
      readonly takesAddresses: (type: string) => boolean;
    },
  ) {
    this.#ports = ports;
    this.#nodeName = options.nodeName;
    this.#defaults = options.defaults;
    this.#takesAddresses = options.takesAddresses;
  }

  /** Makes all networks of the pod, or none. */
  async add(call: PodAddCall): Promise<PodAddOutcome> {
    return this.#locked(call, async () => {
      const pod = await this.#waitForPod(call.pod);
      if (pod === "gone") {
        return refuse(
          cniCode.tryAgainLater,
          `pod ${call.pod.namespace}/${call.pod.name} does not exist; if it was just made, the runtime tries again`,
        );
      }
      const refusal = this.#refusePod(call, pod) ?? (await this.#refuseAddresses(pod));
      if (refusal !== undefined) {
        this.#tell(pod, refusal);
        return refusal;
      }
      const planned = await this.#plan(call, pod);
      if ("code" in planned) {
        this.#tell(pod, planned);
        return planned;
      }
      await this.#ports.states.put(call.containerId, planned.runs);
      const results: CniResult[] = [];
      for (const network of planned.networks) {
        const outcome = await this.#addNetwork(call, network, planned.runs);
        if ("code" in outcome) {
          await this.#undo(call, planned.runs, true);
          this.#tell(pod, outcome);
          return outcome;
        }
        results.push(outcome);
      }
      const networks = planned.networks.map((network, index) => ({
        ...network,
        result: results[index] as CniResult,
      }));
      return { kind: "added", pod, networks };
    });
  }

  /** Undoes all networks of a container, last to first; all are tried. Undefined when nothing is left. */
  async del(call: PodCall): Promise<CniRefusal | undefined> {
    return this.#locked(call, async () => {
      const runs = await this.#ports.states.get(call.containerId);
      if (runs === "absent") return undefined;
      if (runs === "unreadable") {
        this.#ports.log.warn("state of a pod is unreadable, what our plugins made is removed", {
          container: call.containerId,
        });
        await this.#ports.leftovers(call.containerId);
        await this.#ports.states.remove(call.containerId);
        return undefined;
      }
      const problems = await this.#undo(call, runs);
      return problems.length === 0 ? undefined : refuse(cniCode.general, problems.join(" / "));
    });
  }

  /** Looks at all networks of a container. Undefined when all is well. */
  async check(call: PodCall): Promise<CniRefusal | undefined> {
    return this.#locked(call, async () => {
      const runs = await this.#ports.states.get(call.containerId);
      if (typeof runs === "string") {
        return refuse(
          cniCode.unknownContainer,
          `container ${call.containerId} has no readable state on this node; repeat ADD`,
        );
      }
      for (const run of runs) {
        const answer = await this.#exec(call, run, "CHECK", undefined);
        if (answer !== undefined && "code" in answer) return answer;
      }
      return undefined;
    });
  }

  /** Undoes the networks of containers that are not wanted any more and whose state is older than `youngestMs`. */
  async collect(isWanted: (containerId: string) => boolean, youngestMs: number): Promise<void> {
    for (const { containerId, writtenAtMs } of await this.#ports.states.all()) {
      if (this.#ports.clock.nowMs() - writtenAtMs < youngestMs || isWanted(containerId)) continue;
      const call = { containerId, netns: "", ifName: "eth0", args: "", path: [], cniVersion: "" };
      const refusal = await this.del({ ...call, cniVersion: "1.0.0" });
      if (refusal === undefined) {
        this.#ports.log.info("networks of a container that is gone were removed", {
          container: containerId,
        });
      } else {
        this.#ports.log.warn("garbage could not be removed, it is tried again", {
          container: containerId,
          because: refusal.message,
        });
      }
    }
  }

  #locked<T>(call: PodCall, action: () => Promise<T>): Promise<T> {
    return this.#ports.locks.withLock(`pod/${call.containerId}`, lockLimitMs, action);
  }

  async #waitForPod(id: PodId): Promise<NodePod | "gone"> {
    const { clock, directory } = this.#ports;
    const startMs = clock.nowMs();
    for (;;) {
      const pod = await directory.readPod(id);
      if (pod !== "gone" || clock.nowMs() - startMs >= podWaitMs) return pod;
      await new Promise<void>((resolve) => clock.after(podRetryMs, resolve));
    }
  }

  #refusePod(call: PodAddCall, pod: NodePod): CniRefusal | undefined {
    const who = `pod ${pod.id.namespace}/${pod.id.name}`;
    if (call.podUid !== "" && call.podUid !== pod.uid) {
      return refuse(
        cniCode.tryAgainLater,
        `${who} has uid ${pod.uid}, the runtime sets up uid ${call.podUid}: an old pod of that name is being replaced`,
      );
    }
    if (pod.nodeName !== this.#nodeName) {
      return refuse(
        cniCode.untrusted,
        `${who} is bound to node "${pod.nodeName}", this is ${this.#nodeName}; correct --hostname-override if that is one machine`,
      );
    }
    if (pod.problems.length > 0) {
      return refuse(cniCode.invalidConfig, `${who}: ${pod.problems.join("; ")}`);
    }
    if (pod.wantsAddress && pod.grants.length === 0) {
      return refuse(
        cniCode.noAddress,
        `${who} requests a float IP and has none in its annotation; let the scheduler with galaxy-ipam bind it instead of setting nodeName`,
      );
    }
    return undefined;
  }

  async #refuseAddresses(pod: NodePod): Promise<CniRefusal | undefined> {
    const entries = await Promise.all(
      pod.grants.map(
        async ({ ip }) => [ip as string, await this.#ports.directory.readAllocation(ip)] as const,
      ),
    );
    const records = new Map(entries);
    const { id, uid } = pod;
    const who = { ...id, uid, nodeName: this.#nodeName };
    return refuseForeignAddresses(who, pod.grants, (ip) => records.get(ip));
  }

  /** The plugins to run. Float IPs go to the first network whose plugin takes them: two networks must not have one address. */
  async #plan(
    call: PodCall,
    pod: NodePod,
  ): Promise<
    { readonly networks: readonly PodNetwork[]; readonly runs: readonly PluginRun[] } | CniRefusal
  > {
    const decision = decideNetworks(pod, this.#defaults, call.ifName);
    if (decision.kind === "refused") return decision;
    const runs: PluginRun[] = [];
    let isGiven = pod.grants.length === 0;
    for (const { name, ifName } of decision.networks) {
      const plugins = await this.#ports.catalog.find(name);
      if (plugins === undefined) {
        return refuse(
          cniCode.invalidConfig,
          `network ${name} is not configured on node ${this.#nodeName}; add it to NetworkConf or to --network-conf-dir`,
        );
      }
      for (const conf of plugins) {
        const takes = !isGiven && this.#takesAddresses(String(conf["type"]));
        isGiven ||= takes;
        const infos = pod.grants.map(({ ip, prefix, vlan, gateway }) => ({
          ip: `${ip}/${prefix}`,
          vlan,
          ...(gateway === undefined ? {} : { gateway }),
        }));
        runs.push({
          network: name,
          ifName,
          args: takes ? { ipinfos: JSON.stringify(infos) } : {},
          conf,
        });
      }
    }
    return { networks: decision.networks, runs };
  }

  async #addNetwork(
    call: PodCall,
    network: PodNetwork,
    runs: readonly PluginRun[],
  ): Promise<CniResult | CniRefusal> {
    let result: CniResult | undefined;
    for (const run of runs) {
      if (run.network !== network.name || run.ifName !== network.ifName) continue;
      const answer = await this.#exec(call, run, "ADD", result);
      if (answer !== undefined && "code" in answer) {
        return refuse(answer.code, `network ${network.name}: ${answer.message}`);
      }
      result = answer ?? result;
    }
    return (
      result ?? refuse(cniCode.undecodable, `network ${network.name}: its plugins gave no result`)
    );
  }

  /** Runs DEL of every plugin, last to first; what failed stays in the state. */
  async #undo(call: PodCall, runs: readonly PluginRun[], isAddUndone = false): Promise<string[]> {
    const failed: PluginRun[] = [];
    const problems: string[] = [];
    for (const run of runs.toReversed()) {
      const answer = await this.#exec(call, run, "DEL", undefined);
      if (answer === undefined || !("code" in answer)) continue;
      // A plugin that is not there cannot have done anything in an ADD that has just failed.
      if (isAddUndone && answer.code === cniCode.pluginMissing) continue;
      failed.unshift(run);
      problems.push(`network ${run.network}: ${answer.message}`);
    }
    if (failed.length === 0) await this.#ports.states.remove(call.containerId);
    else await this.#ports.states.put(call.containerId, failed);
    return problems;
  }

  #exec(
    call: PodCall,
    run: PluginRun,
    command: "ADD" | "DEL" | "CHECK",
    prevResult: CniResult | undefined,
  ): Promise<CniResult | undefined | CniRefusal> {
    const { containerId, netns, path, cniVersion } = call;
    const own = Object.entries(run.args).map(([key, value]) => `${key}=${value}`);
    // The runtime's arguments may hold what a pod's annotations said; ours come last and win.
    const args = [...call.args.split(";").filter((item) => item.trim() !== ""), ...own].join(";");
    return this.#ports.exec.run({
      command,
      type: String(run.conf["type"]),
      config: run.conf,
      cniVersion,
      prevResult,
      containerId,
      netns,
      ifName: run.ifName,
      args,
      path,
    });
  }

  #tell(pod: NodePod, refusal: CniRefusal): void {
    const { id, uid } = pod;
    const { namespace, name } = id;
    this.#ports.events.record({
      about: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      type: "Warning",
      reason: "PodNetworkRefused",
      message: refusal.message,
    });
  }
}

function refuse(code: number, message: string): CniRefusal {
  return { kind: "refused", code, message };
}
