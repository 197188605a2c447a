// The configuration in force and how another one takes its place while pods run. Parsing and checking the text is wire's.

import type { Allocation } from "../core/allocation.ts";
import { isBound } from "../core/allocation.ts";
import type { Ip } from "../core/ip.ts";
import { compareIps } from "../core/ip.ts";
import type { PodSubnet } from "../core/subnets.ts";
import { Topology } from "../core/subnets.ts";
import type { EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Allocator } from "./allocator.ts";

/** A configuration as it was read: checked subnets with warnings, or what is wrong. `missing`: there is none to read. */
export type Configuration =
  | {
      readonly kind: "valid";
      readonly subnets: readonly PodSubnet[];
      readonly warnings: readonly string[];
    }
  | { readonly kind: "invalid"; readonly problems: readonly string[] }
  | { readonly kind: "missing"; readonly problem: string };

/** What health, metrics and the API show of the configuration. */
export type ConfigurationStatus = {
  /** A valid one was seen since the start. */
  readonly isConfigured: boolean;
  /** What is wrong with the newest text; empty when it is in force. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
};

/** What reconfiguration needs. */
export type ReconfigurePorts = {
  readonly allocator: Allocator;
  readonly events: EventRecorder;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Holds the configuration in force. */
export class Reconfigure {
  readonly #ports: ReconfigurePorts;
  /** The object that the newest text came from, for events; undefined for a file. */
  #about: ObjectRef | undefined;
  #status: ConfigurationStatus = {
    isConfigured: false,
    problems: ["no configuration was read yet"],
    warnings: [],
  };

  constructor(ports: ReconfigurePorts) {
    this.#ports = ports;
  }

  get status(): ConfigurationStatus {
    return this.#status;
  }

  /**
   * Puts a configuration in force in this tick, unless it is bad: then the last good one stays and the problem is said. Records are
   * brought in line by {@link alignRecords}.
   * @param about the object that it came from; undefined for a file or an object that is missing
   * @returns whether another configuration is in force now
   */
  apply(configuration: Configuration, about: ObjectRef | undefined): boolean {
    const { allocator, log } = this.#ports;
    this.#about = about;
    const problems = this.#problemsOf(configuration);
    if (configuration.kind !== "valid" || problems.length > 0) {
      this.#refuse(problems);
      return false;
    }
    allocator.configure(new Topology(configuration.subnets));
    this.#status = { isConfigured: true, problems: [], warnings: configuration.warnings };
    log.info("configuration in force", { subnets: configuration.subnets.length });
    for (const warning of configuration.warnings) {
      log.warn("configuration warning", { warning });
      this.#event("ConfigurationWarning", warning);
    }
    return true;
  }

  #problemsOf(configuration: Configuration): readonly string[] {
    if (configuration.kind === "invalid") return configuration.problems;
    if (configuration.kind === "missing") return [configuration.problem];
    const inUse = this.#ports.allocator.view.size;
    if (configuration.subnets.length > 0 || inUse === 0 || !this.#status.isConfigured) return [];
    return [
      `the new configuration is empty while ${inUse} addresses are in use or reserved; ` +
        "delete their workloads and release them first, or keep their subnets",
    ];
  }

  #refuse(problems: readonly string[]): void {
    this.#status = { ...this.#status, problems };
    this.#ports.metrics.count("bad_input", { input: "configuration" });
    const outcome = this.#status.isConfigured
      ? "the last good configuration stays in force"
      : "no configuration is in force";
    this.#ports.log.error("configuration refused", { outcome, problems });
    this.#event("ConfigurationRefused", `${problems.join("; ")}. Until it is corrected ${outcome}`);
  }

  #event(reason: string, message: string): void {
    if (this.#about === undefined) return;
    this.#ports.events.record({ about: this.#about, type: "Warning", reason, message });
  }

  /**
   * Brings records in line with the configuration in force: addresses outside the ranges drain when a pod has them and are dropped when
   * none has. Only the leader calls it.
   * @throws WorldError when the store fails; it can be called again
   */
  async alignRecords(): Promise<void> {
    const { allocator, log } = this.#ports;
    // Records that are just being read are judged with the rest, so that one event names all of them.
    for (const ip of allocator.unsettled()) {
      try {
        await allocator.settleUnknown([ip]);
      } catch (error) {
        log.warn("record could not be read, resync tries again", { ip }, error);
      }
    }
    const { topology } = allocator.view;
    // An empty configuration says nothing about the addresses that are there: somebody may be about to fill it in.
    if (!this.#status.isConfigured || topology.subnets.length === 0) return;
    const dropped: Ip[] = [];
    const draining: Ip[] = [];
    const work: (() => Promise<unknown>)[] = [];
    for (const allocation of allocator.view.all()) {
      if (allocator.view.phaseOf(allocation.ip) !== "idle") continue;
      const isConfigured = topology.isConfigured(allocation.ip);
      if (isBound(allocation)) {
        if (allocation.isDraining === !isConfigured) continue;
        if (!isConfigured) draining.push(allocation.ip);
        work.push(() => this.#rewrite(allocation));
      } else if (!isConfigured && isReservation(allocation)) {
        dropped.push(allocation.ip);
        work.push(() => allocator.release(allocation, "outside the configuration"));
      }
    }
    if (draining.length > 0) {
      this.#event(
        "AddressesDraining",
        `${draining.length} addresses in pods are outside the configuration now and go when their pods go: ${some(draining)}`,
      );
    }
    if (dropped.length > 0) {
      this.#event(
        "ReservationsDropped",
        `${dropped.length} reserved addresses are outside the configuration now and were released: ${some(dropped)}`,
      );
    }
    await inBatches(work, 32);
  }

  async #rewrite(allocation: Allocation): Promise<unknown> {
    return await this.#ports.allocator.change(allocation, allocation.owner, {
      podUid: allocation.podUid,
      nodeName: allocation.nodeName,
      policy: allocation.policy,
      because: "configuration changed",
    });
  }
}

function isReservation({ owner }: Allocation): boolean {
  return owner.kind === "workload" || owner.kind === "pool" || owner.kind === "pod";
}

/** The lowest ten in order, so that the same event comes with the same words. */
function some(ips: readonly Ip[]): string {
  const sorted = ips.toSorted(compareIps);
  return sorted.length <= 10
    ? sorted.join(", ")
    : `${sorted.slice(0, 10).join(", ")} and ${sorted.length - 10} more`;
}

/** Runs all tasks, some at a time; the first failure is thrown when all have ended, so that one record holds up no other. */
async function inBatches(tasks: readonly (() => Promise<unknown>)[], size: number): Promise<void> {
  let failed: PromiseRejectedResult | undefined;
  for (let start = 0; start < tasks.length; start += size) {
    const results = await Promise.allSettled(
      tasks.slice(start, start + size).map((task) => task()),
    );
    failed ??= results.find((result) => result.status === "rejected");
  }
  if (failed !== undefined) throw failed.reason;
}
