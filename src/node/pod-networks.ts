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
import type { WorldErrorCode } from "../ports/world-error.ts";
import { WorldError } from "../ports/world-error.ts";
import { lockLimitMs } from "./network-facts.ts";
import { RecentAdds } from "./recent-adds.ts";

/** How long and how often the API server is asked for a pod that it does not know: caches behind it may be late. */
const podWaitMs = 5_000;
const podRetryMs = 500;

/** How long an ADD waits for an API server that does not answer: it may be starting, as the node is. Runtimes wait minutes for an ADD. */
const apiWaitMs = 30_000;

/** What is not the pod's fault and may be over in a moment. */
const passing: ReadonlySet<WorldErrorCode> = new Set(["API_UNAVAILABLE", "API_TIMEOUT"]);

/** CNI_ARGS keys that this daemon alone may say. */
const reservedArgs: ReadonlySet<string> = new Set(["ipinfos"]);

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
  /** What the runtime says for capabilities: `portMappings`, `bandwidth`. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>;
};

/** The outcome of ADD: the result of every network, that of the pod first. */
export type PodAddOutcome =
  | {
      readonly kind: "added";
      readonly pod: NodePod;
      readonly networks: readonly (PodNetwork & { readonly result: CniResult })[];
    }
  | CniRefusal;

/** What became of garbage: `kept` when it is none any more. */
export type GarbageOutcome =
  | { readonly kind: "removed" | "kept" }
  | { readonly kind: "failed"; readonly because: string };

/** The networks of the pods of one node. */
export class PodNetworks {
  readonly #ports: PodNetworkPorts;
  readonly #nodeName: string;
  readonly #defaults: NetworkDefaults;
  readonly #takesAddresses: (type: string) => boolean;
  readonly #recent: RecentAdds;

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
    this.#recent = new RecentAdds(ports.clock);
  }

  /** Makes all networks of the pod, or none. */
  async add(call: PodAddCall): Promise<PodAddOutcome> {
    return this.#recent.during(call.containerId, () => this.#locked(call, () => this.#add(call)));
  }

  async #add(call: PodAddCall): Promise<PodAddOutcome> {
    const who = `pod ${call.pod.namespace}/${call.pod.name}`;
    const untilMs = this.#ports.clock.nowMs() + apiWaitMs;
    const pod = await this.#ask(who, untilMs, () => this.#waitForPod(call.pod));
    if (pod === "gone") {
      return refuse(
        cniCode.tryAgainLater,
        `${who} does not exist; if it was just made, the runtime tries again`,
      );
    }
    if ("code" in pod) return pod;
    const refusal = this.#refusePod(call, pod) ?? (await this.#refuseAddresses(pod, untilMs));
    if (refusal !== undefined) {
      this.#tell(pod, refusal);
      return refusal;
    }
    const planned = await this.#plan(call, pod);
    if ("code" in planned) {
      this.#tell(pod, planned);
      return planned;
    }
    const { runs } = planned;
    const { synced } = await this.#ports.states.put(call.containerId, runs);
    // Reservations outlive the machine's power; devices do not, and theirs is written to the disk while they are made.
    if (runs.some((run) => this.#mayReserve(run))) await synced;
    const results: CniResult[] = [];
    for (const network of planned.networks) {
      const outcome = await this.#addNetwork(call, network, runs);
      if ("code" in outcome) {
        await this.#undo(call, runs, true);
        this.#tell(pod, outcome);
        return outcome;
      }
      results.push(outcome);
    }
    try {
      await synced;
    } catch (error) {
      await this.#undo(call, runs, true);
      throw error;
    }
    const networks = planned.networks.map((network, index) => ({
      ...network,
      result: results[index] as CniResult,
    }));
    // Ours keep what they made themselves; others are told what they made.
    if (!runs.every((run) => this.#isOwn(run))) {
      const complete = runs.map((run) => ({
        ...run,
        result: networks.find((one) => isOf(run, one))?.result,
      }));
      await (await this.#ports.states.put(call.containerId, complete)).synced;
    }
    return { kind: "added", pod, networks };
  }

  /** Undoes all networks of a container, last to first; all are tried. Undefined when nothing is left. */
  async del(call: PodCall): Promise<CniRefusal | undefined> {
    return this.#locked(call, () => this.#del(call));
  }

  async #del(call: PodCall): Promise<CniRefusal | undefined> {
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
        const answer = await this.#exec(call, run, "CHECK", run.result);
        if (answer !== undefined && "code" in answer) return answer;
      }
      return undefined;
    });
  }

  /**
   * Containers with a state, and those among them that are settled: older than `youngestMs`, and with no ADD under way or just ended.
   * Rejects with a WorldError when the state cannot be read.
   */
  async containers(
    youngestMs: number,
  ): Promise<{ readonly all: readonly string[]; readonly settled: readonly string[] }> {
    const { clock, states } = this.#ports;
    const found = await states.all();
    return {
      all: found.map(({ containerId }) => containerId),
      settled: found
        .filter(
          ({ containerId, writtenAtMs }) =>
            clock.nowMs() - writtenAtMs >= youngestMs && !this.#recent.has(containerId, youngestMs),
        )
        .map(({ containerId }) => containerId),
    };
  }

  /** Undoes the networks of a container that somebody found to be garbage, unless an ADD came for it meanwhile. */
  async removeGarbage(containerId: string, youngestMs: number): Promise<GarbageOutcome> {
    const call: PodCall = {
      containerId,
      netns: "",
      ifName: "",
      args: "",
      path: [],
      cniVersion: "1.0.0",
    };
    try {
      return await this.#locked(call, async (): Promise<GarbageOutcome> => {
        if (this.#recent.has(containerId, youngestMs)) return { kind: "kept" };
        const refusal = await this.#del(call);
        return refusal === undefined
          ? { kind: "removed" }
          : { kind: "failed", because: refusal.message };
      });
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return { kind: "failed", because: error.message };
    }
  }

  /** Undoes the networks of settled containers that are not wanted any more. Failures are logged, and the container stays. */
  async collect(isWanted: (containerId: string) => boolean, youngestMs: number): Promise<void> {
    const { settled } = await this.containers(youngestMs);
    for (const containerId of settled) {
      if (isWanted(containerId)) continue;
      const outcome = await this.removeGarbage(containerId, youngestMs);
      if (outcome.kind === "removed") {
        this.#ports.log.info("networks of a container that is gone were removed", {
          container: containerId,
        });
      } else if (outcome.kind === "failed") {
        this.#ports.log.warn("garbage could not be removed, it is tried again", {
          container: containerId,
          because: outcome.because,
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

  /** An answer of the API server; while it does not answer, it is asked again until then. */
  async #ask<T>(who: string, untilMs: number, read: () => Promise<T>): Promise<T | CniRefusal> {
    const { clock } = this.#ports;
    for (;;) {
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
        if (!passing.has(error.code) || clock.nowMs() >= untilMs) {
          return refuse(
            cniCode.tryAgainLater,
            `what ${who} may use is not known: ${error.code}: ${error.message}; the runtime tries again`,
          );
        }
        await new Promise<void>((resolve) => clock.after(podRetryMs, resolve));
      }
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

  async #refuseAddresses(pod: NodePod, untilMs: number): Promise<CniRefusal | undefined> {
    const { id, uid } = pod;
    const records = await this.#ask(`pod ${id.namespace}/${id.name}`, untilMs, async () => {
      const entries = await Promise.all(
        pod.grants.map(
          async ({ ip }) => [ip as string, await this.#ports.directory.readAllocation(ip)] as const,
        ),
      );
      return new Map(entries);
    });
    if (!(records instanceof Map)) return records;
    const who = { ...id, uid, nodeName: this.#nodeName };
    return refuseForeignAddresses(who, pod.grants, (ip) => records.get(ip));
  }

  /** The plugins to run. Float IPs go to the first network whose plugin takes them: two networks must not have one address. */
  async #plan(
    call: PodAddCall,
    pod: NodePod,
  ): Promise<
    { readonly networks: readonly PodNetwork[]; readonly runs: readonly PluginRun[] } | CniRefusal
  > {
    const decision = decideNetworks(pod, this.#defaults, call.ifName);
    if (decision.kind === "refused") return decision;
    const runs: PluginRun[] = [];
    let isGiven = pod.grants.length === 0;
    for (const [index, { name, ifName }] of decision.networks.entries()) {
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
          // Host ports and the like are about the pod's IP, which is that of the first network.
          conf: index === 0 ? withRuntimeConfig(conf, call.runtimeConfig) : conf,
          netns: call.netns,
          path: call.path,
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
      if (!isOf(run, network)) continue;
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
      const answer = await this.#exec(call, run, "DEL", run.result);
      if (answer === undefined || !("code" in answer)) continue;
      // A plugin that is not there cannot have done anything in an ADD that has just failed.
      if (isAddUndone && answer.code === cniCode.pluginMissing) continue;
      failed.unshift(run);
      problems.push(`network ${run.network}: ${answer.message}`);
    }
    if (failed.length === 0) await this.#ports.states.remove(call.containerId);
    else await (await this.#ports.states.put(call.containerId, failed)).synced;
    return problems;
  }

  #isOwn({ conf }: PluginRun): boolean {
    return this.#takesAddresses(String(conf["type"]));
  }

  /** Whether the plugin may have an IPAM plugin keep something for the pod, or is somebody else's and may do anything. */
  #mayReserve(run: PluginRun): boolean {
    return !this.#isOwn(run) || run.conf["ipam"] !== undefined;
  }

  #exec(
    call: PodCall,
    run: PluginRun,
    command: "ADD" | "DEL" | "CHECK",
    prevResult: CniResult | undefined,
  ): Promise<CniResult | undefined | CniRefusal> {
    const { containerId, cniVersion } = call;
    const own = Object.entries(run.args).map(([key, value]) => `${key}=${value}`);
    // An address comes from the pod's record, whatever others put into the arguments of a call.
    const theirs = call.args.split(";").filter((item) => {
      const key = item.split("=", 1)[0]?.trim() ?? "";
      return key !== "" && !reservedArgs.has(key);
    });
    const args = [...theirs, ...own].join(";");
    // Garbage has neither; the namespace of a process is not used, because another process may have its number by now.
    const path = call.path.length > 0 ? call.path : (run.path ?? []);
    const saved = run.netns ?? "";
    const netns = call.netns === "" && !saved.startsWith("/proc/") ? saved : call.netns;
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

  /** An event on the pod; not for what the next try may cure. */
  #tell(pod: NodePod, refusal: CniRefusal): void {
    if (refusal.code === cniCode.tryAgainLater) return;
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

function isOf(run: PluginRun, { name, ifName }: PodNetwork): boolean {
  return run.network === name && run.ifName === ifName;
}

/**
 * The configuration with what the runtime said for the capabilities that it declares, as a runtime does for the plugins of a list
 * (https://www.cni.dev/docs/conventions/#dynamic-plugin-specific-fields-capabilities--runtime-configuration).
 */
function withRuntimeConfig(
  conf: PluginRun["conf"],
  said: Readonly<Record<string, unknown>>,
): PluginRun["conf"] {
  const declared = Object.entries((conf["capabilities"] ?? {}) as Record<string, unknown>)
    // Addresses are the pod's record's business.
    .filter(([name, isOn]) => isOn === true && name !== "ips" && Object.hasOwn(said, name))
    .map(([name]) => [name, said[name]] as const);
  return declared.length === 0 ? conf : { ...conf, runtimeConfig: Object.fromEntries(declared) };
}

function refuse(code: number, message: string): CniRefusal {
  return { kind: "refused", code, message };
}
