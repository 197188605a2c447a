// The NodeMetrics port on prom-client, and the gauges that are read when somebody scrapes. Does not serve HTTP.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { NodeCounterName, NodeMetrics, NodeTimerName } from "../../ports/node-metrics.ts";

/** What is read at each scrape. */
export type NodeGaugeSources = {
  /** Attachments that plugins of ours made on this node; undefined when the state cannot be read. */
  readonly attachments: () => Promise<number | undefined>;
  /** Containers with a state of the daemon; undefined when it cannot be read. */
  readonly containers: () => Promise<number | undefined>;
  /** Whether the container runtime answered when it was asked last; undefined: it is not asked. */
  readonly isRuntimeReachable: () => boolean | undefined;
  /** Seconds since the node was last looked at and all went well; undefined: not yet. */
  readonly secondsSinceLook: () => number | undefined;
};

const counters: Record<NodeCounterName, { readonly help: string; readonly label: string }> = {
  repairs: { help: "Attachments of which something was missing", label: "outcome" },
  garbage: {
    help: "Containers whose networks were undone because nobody had them any more",
    label: "outcome",
  },
  runtime_questions: { help: "Questions to the container runtime", label: "outcome" },
  network_statuses: { help: "Annotations that say which networks a pod has", label: "outcome" },
  api_errors: { help: "Failed requests to the API server", label: "code" },
};

/** An ADD takes tens of milliseconds, and a quarter of a second more when the wire is asked for the address. */
const cniBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30, 60];

/** A label may have this many values; further ones are counted as `other`: other people's plugins choose their error codes. */
const mostLabelValues = 64;

/** Counters, histograms and gauges of one daemon. */
export class PrometheusNodeMetrics implements NodeMetrics {
  /** For parts that have metrics of their own. */
  readonly registry = new Registry();
  readonly #counters = new Map<NodeCounterName, Counter>();
  readonly #duration: Histogram;
  readonly #seen = new Map<string, Set<string>>();

  /** @param version shown as `galaxy_build_info` */
  constructor(version: string) {
    const registers = [this.registry];
    for (const [name, { help, label }] of Object.entries(counters)) {
      const counter = new Counter({
        name: `galaxy_node_${name}_total`,
        help,
        labelNames: [label],
        registers,
      });
      this.#counters.set(name as NodeCounterName, counter);
    }
    this.#duration = new Histogram({
      name: "galaxy_node_cni_duration_seconds",
      help: "CNI calls of the container runtime, from reading the request to the answer",
      labelNames: ["command", "result"],
      buckets: cniBuckets,
      registers,
    });
    const buildInfo = new Gauge({
      name: "galaxy_build_info",
      help: "Version of the program",
      labelNames: ["version"],
      registers,
    });
    buildInfo.set({ version }, 1);
    collectDefaultMetrics({ register: this.registry });
  }

  /** Adds the gauges. To be called once. A gauge without a value is left out. */
  addGauges(sources: NodeGaugeSources): void {
    const add = (
      name: string,
      help: string,
      read: () => number | undefined | Promise<number | undefined>,
    ) => {
      const gauge = new Gauge({
        name,
        help,
        registers: [],
        async collect() {
          const value = await read();
          if (value === undefined) this.remove();
          else this.set(value);
        },
      });
      this.registry.registerMetric(gauge);
    };
    add("galaxy_node_attachments", "Attachments that plugins of ours made", sources.attachments);
    add("galaxy_node_containers", "Containers with networks of the daemon", sources.containers);
    add(
      "galaxy_node_runtime_reachable",
      "1 when the container runtime answered when it was asked last",
      () => {
        const isReachable = sources.isRuntimeReachable();
        return isReachable === undefined ? undefined : Number(isReachable);
      },
    );
    add(
      "galaxy_node_last_look_seconds",
      "Seconds since the node was last looked at and all went well",
      sources.secondsSinceLook,
    );
  }

  count(name: NodeCounterName, labels: Readonly<Record<string, string>> = {}, by = 1): void {
    const { label } = counters[name];
    this.#counters.get(name)?.inc({ [label]: this.#bounded(name, labels[label] ?? "") }, by);
  }

  time(_name: NodeTimerName, seconds: number, labels: Readonly<Record<string, string>> = {}): void {
    const command = this.#bounded("command", labels["command"] ?? "");
    const result = this.#bounded("result", labels["result"] ?? "");
    this.#duration.observe({ command, result }, seconds);
  }

  /** All metrics in Prometheus' text format, with the content type that goes with it. */
  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }

  #bounded(label: string, value: string): string {
    const seen = this.#seen.get(label) ?? new Set();
    this.#seen.set(label, seen);
    if (seen.size < mostLabelValues) seen.add(value);
    return seen.has(value) ? value : "other";
  }
}
