// The Metrics port on prom-client, and the gauges that are read when somebody scrapes. Labels are few and bounded: never an
// address, pod or workload, but for who holds which virtual address, of which there are few. Does not serve HTTP; adapters/http asks for the text.

import type { GaugeConfiguration } from "prom-client";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { formatCidr } from "../../core/ip-range.ts";
import { firstAddressText } from "../../core/subnets.ts";
import type { SubnetUsage } from "../../core/usage.ts";
import type { VipRecord } from "../../core/vip.ts";
import { vipStates } from "../../core/vip.ts";
import type { CounterName, Metrics, TimerName } from "../../ports/metrics.ts";

/** What is read at each scrape. Each is quick and does no I/O. */
export type GaugeSources = {
  readonly usage: () => readonly SubnetUsage[];
  /** Pods and workloads that wait to be looked at by reclaim. */
  readonly reclaimQueueLength: () => number;
  /** Reserved addresses that no pod has, by pod subnet and by pool. */
  readonly idle?: () => IdleCounts;
  /** Namespaces under a quota. */
  readonly quotas?: () => readonly QuotaUse[];
  /** What the last check found; nothing on a replica that follows. */
  readonly findings?: () => readonly FindingCount[];
  readonly isLeader: () => boolean;
  /** Whether the configuration that was last seen is in force; false while an older one is kept, or there is none. */
  readonly isConfigValid: () => boolean;
  /** Seconds since each watch last heard of the API server, by resource. */
  readonly watchStaleness: () => ReadonlyMap<string, number>;
};

/** How many reserved addresses no pod has for at least so long; `all`: with those of which that is not known. */
export type IdleCounts = {
  readonly bySubnet: readonly {
    readonly usage: SubnetUsage;
    readonly age: "all" | "1d" | "7d" | "30d";
    readonly count: number;
  }[];
  /** Those whose owner was told that they will be released. */
  readonly due: readonly { readonly usage: SubnetUsage; readonly count: number }[];
  readonly byPool: ReadonlyMap<string, number>;
};

/** How many findings of a check there are of a kind. */
export type FindingCount = {
  readonly kind: string;
  readonly severity: string;
  readonly count: number;
};

/** A namespace with its quota. */
export type QuotaUse = {
  readonly quota: string;
  readonly namespace: string;
  readonly limit: number;
  readonly used: number;
};

/** Name, help and labels of each counter of the port. */
const counters: Record<CounterName, { help: string; labels: readonly string[] }> = {
  refusals: { help: "Answers of the extender that refused a pod", labels: ["reason"] },
  bad_input: { help: "Malformed input", labels: ["input"] },
  changes: { help: "Addresses taken, reserved, released and adopted", labels: ["change"] },
  conflicts: {
    help: "One address in two pods, or a record that contradicts a pod",
    labels: ["kind"],
  },
  repairs: {
    help: "Records found again after an unknown outcome or written by others",
    labels: ["kind"],
  },
  rollout_deadlocks: {
    help: "Rollouts that wait for ever because the set of addresses is fixed",
    labels: [],
  },
  idle_reservations: {
    help: "Reserved addresses that no pod used for too long, whose owners were warned, and that were released",
    labels: ["outcome"],
  },
  vip_transitions: { help: "Moves of virtual addresses", labels: ["reason"] },
  vip_conflicts: { help: "Virtual addresses that another machine was seen to claim", labels: [] },
  api_errors: { help: "Failed requests to the API server", labels: ["code"] },
};

/** The Go system's buckets, 0.1 to 6.4 s, with finer ones below: our answers take milliseconds. */
const scheduleBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4,
];
const goBuckets = scheduleBuckets.filter((seconds) => seconds >= 0.1);
/** Reclaim and resync may take longer than an answer. */
const longBuckets = [0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60];

const histograms: Record<TimerName, { name: string; help: string; buckets: number[] }> = {
  schedule_latency: {
    name: "galaxy_schedule_latency",
    help: "Galaxy schedule latency in seconds",
    buckets: scheduleBuckets,
  },
  reclaim_latency: {
    name: "galaxy_reclaim_latency_seconds",
    help: "From hearing that a pod is gone to its addresses being released or reserved",
    buckets: longBuckets,
  },
  vip_gap: {
    name: "galaxy_vip_gap_seconds",
    help: "From what made a virtual address move until the new node answered",
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 3.5, 4, 4.5, 6, 10, 30],
  },
  resync_duration: {
    name: "galaxy_resync_duration_seconds",
    help: "Duration of a resync",
    buckets: longBuckets,
  },
};

/** A label may have this many values; further ones are counted as `other`, so that text of others cannot fill the memory. */
const maxLabelValues = 64;

/** Counters, histograms and gauges of one process. */
export class PrometheusMetrics implements Metrics {
  readonly contentType: string;
  readonly #registry = new Registry();
  readonly #counters = new Map<CounterName, Counter>();
  readonly #histograms = new Map<TimerName, Histogram>();
  readonly #seen = new Map<string, Set<string>>();

  /**
   * @param options.version shown as `galaxy_build_info`
   * @param options.withProcessMetrics adds CPU, memory and event loop of the process
   */
  constructor(options: { readonly version: string; readonly withProcessMetrics: boolean }) {
    const registers = [this.#registry];
    this.contentType = this.#registry.contentType;
    for (const [name, { help, labels }] of Object.entries(counters)) {
      const counter = new Counter({
        name: `galaxy_${name}_total`,
        help,
        labelNames: [...labels],
        registers,
      });
      this.#counters.set(name as CounterName, counter);
    }
    for (const [timer, { name, help, buckets }] of Object.entries(histograms)) {
      const histogram = new Histogram({ name, help, buckets, labelNames: ["func"], registers });
      this.#histograms.set(timer as TimerName, histogram);
    }
    // Registered for dashboards of the Go system; nothing here calls a cloud provider.
    const cloudProviderLatency = new Histogram({
      name: "galaxy_cloud_provider_latency",
      help: "Galaxy cloud provider latency in seconds",
      labelNames: ["func"],
      buckets: goBuckets,
      registers: [],
    });
    this.#registry.registerMetric(cloudProviderLatency);
    const buildInfo = new Gauge({
      name: "galaxy_build_info",
      help: "Version of the program",
      labelNames: ["version"],
      registers,
    });
    buildInfo.set({ version: options.version }, 1);
    if (options.withProcessMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds the gauges that are read from the program. To be called once, when there is something to read. */
  addGauges(sources: GaugeSources): void {
    const add = <Label extends string>(configuration: GaugeConfiguration<Label>): void => {
      this.#registry.registerMetric(new Gauge({ ...configuration, registers: [] }));
    };
    const subnetLabels = ["subnet", "first_ip"];
    add({
      name: "galaxy_ip_counter",
      help: "Galaxy floating ip counter",
      labelNames: ["type", ...subnetLabels],
      collect() {
        this.reset();
        for (const usage of sources.usage()) {
          const labels = labelsOf(usage);
          // `allocated` and `total` are the Go system's; the others say what allocated is made of.
          this.set({ type: "allocated", ...labels }, usage.bound + usage.reserved + usage.admin);
          for (const type of [
            "total",
            "bound",
            "reserved",
            "admin",
            "held",
            "free",
            "draining",
          ] as const) {
            this.set({ type, ...labels }, usage[type]);
          }
        }
      },
    });
    add({
      name: "galaxy_subnet_free_ratio",
      help: "Free share of the addresses of a pod subnet, 0 to 1",
      labelNames: subnetLabels,
      collect() {
        this.reset();
        for (const usage of sources.usage()) {
          this.set(labelsOf(usage), usage.total === 0 ? 0 : usage.free / usage.total);
        }
      },
    });
    add({
      name: "galaxy_holds",
      help: "Addresses promised to pods that are being scheduled",
      collect() {
        this.set(sources.usage().reduce((sum, usage) => sum + usage.held, 0));
      },
    });
    add({
      name: "galaxy_reclaim_queue_length",
      help: "Pods and workloads that wait to be looked at by reclaim",
      collect() {
        this.set(sources.reclaimQueueLength());
      },
    });
    add({
      name: "galaxy_idle_addresses",
      help: "Reserved addresses that no pod has for at least so long (age)",
      labelNames: [...subnetLabels, "age"],
      collect() {
        this.reset();
        for (const { usage, age, count } of sources.idle?.().bySubnet ?? []) {
          this.set({ ...labelsOf(usage), age }, count);
        }
      },
    });
    add({
      name: "galaxy_idle_due_addresses",
      help: "Reserved addresses whose release was announced and is near",
      labelNames: subnetLabels,
      collect() {
        this.reset();
        for (const { usage, count } of sources.idle?.().due ?? []) this.set(labelsOf(usage), count);
      },
    });
    add({
      name: "galaxy_pool_idle_addresses",
      help: "Addresses of a pool that no pod has",
      labelNames: ["pool"],
      collect() {
        this.reset();
        for (const [pool, count] of sources.idle?.().byPool ?? []) this.set({ pool }, count);
      },
    });
    add({
      name: "galaxy_quota_limit",
      help: "Most addresses that a namespace may have",
      labelNames: ["quota", "namespace"],
      collect() {
        this.reset();
        for (const { quota, namespace, limit } of sources.quotas?.() ?? []) {
          this.set({ quota, namespace }, limit);
        }
      },
    });
    add({
      name: "galaxy_quota_used",
      help: "Addresses of a namespace under a quota, used, reserved and promised",
      labelNames: ["quota", "namespace"],
      collect() {
        this.reset();
        for (const { quota, namespace, used } of sources.quotas?.() ?? []) {
          this.set({ quota, namespace }, used);
        }
      },
    });
    add({
      name: "galaxy_check_findings",
      help: "What is not as it should be between records, pods and configuration, as galaxyctl check says it; by the leader",
      labelNames: ["kind", "severity"],
      collect() {
        this.reset();
        for (const { kind, severity, count } of sources.findings?.() ?? []) {
          this.set({ kind, severity }, count);
        }
      },
    });
    add({
      name: "galaxy_leader",
      help: "1 when this process leads",
      collect() {
        this.set(sources.isLeader() ? 1 : 0);
      },
    });
    add({
      name: "galaxy_config_valid",
      help: "1 when the configuration last seen is in force, 0 when it was refused or there is none",
      collect() {
        this.set(sources.isConfigValid() ? 1 : 0);
      },
    });
    add({
      name: "galaxy_watch_staleness_seconds",
      help: "Seconds since the watch of a resource last heard of the API server",
      labelNames: ["resource"],
      collect() {
        this.reset();
        for (const [resource, seconds] of sources.watchStaleness()) {
          this.set({ resource }, seconds);
        }
      },
    });
  }

  /** Adds what is known of virtual addresses at each scrape. To be called once, where there are any. */
  addVipGauges(records: () => readonly VipRecord[]): void {
    const holderLabels = ["address", "namespace", "pod", "node"] as const;
    this.#registry.registerMetric(
      new Gauge({
        name: "galaxy_vip_holder_info",
        help: "1 for the pod that holds a virtual address",
        labelNames: [...holderLabels],
        registers: [],
        collect() {
          this.reset();
          for (const { holder, ip } of records()) {
            if (holder === undefined) continue;
            const { namespace, name } = holder.pod;
            this.set({ address: ip, namespace, pod: name, node: holder.nodeName }, 1);
          }
        },
      }),
    );
    this.#registry.registerMetric(
      new Gauge({
        name: "galaxy_vips",
        help: "Virtual addresses by state",
        labelNames: ["state"],
        registers: [],
        collect() {
          this.reset();
          for (const state of vipStates) this.set({ state }, 0);
          for (const { look } of records()) this.inc({ state: look.state });
        },
      }),
    );
  }

  /** All metrics in Prometheus' text format; `contentType` goes with it. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  count(name: CounterName, labels: Readonly<Record<string, string>> = {}, by = 1): void {
    if (!(by > 0) || !Number.isFinite(by)) return;
    this.#counters.get(name)?.inc(this.#bounded(name, counters[name].labels, labels), by);
  }

  time(name: TimerName, seconds: number, labels: Readonly<Record<string, string>> = {}): void {
    if (!Number.isFinite(seconds)) return;
    // A histogram without its label would be a series that no dashboard of the Go system reads.
    this.#histograms.get(name)?.observe(this.#bounded(name, ["func"], labels), seconds);
  }

  /** The known labels with bounded values: prom-client throws on unknown ones, and each value costs memory for ever. */
  #bounded(
    name: string,
    known: readonly string[],
    labels: Readonly<Record<string, string>>,
  ): Record<string, string> {
    const bounded: Record<string, string> = {};
    for (const label of known) {
      const value = labels[label];
      if (value === undefined) continue;
      const key = `${name} ${label}`;
      const seen = this.#seen.get(key) ?? new Set();
      this.#seen.set(key, seen);
      if (seen.size < maxLabelValues) seen.add(value);
      bounded[label] = seen.has(value) ? value : "other";
    }
    return bounded;
  }
}

function labelsOf(usage: SubnetUsage): { subnet: string; first_ip: string } {
  return { subnet: formatCidr(usage.subnet.cidr), first_ip: firstAddressText(usage.subnet) };
}
