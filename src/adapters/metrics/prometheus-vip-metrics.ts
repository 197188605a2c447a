// Metrics of a node's agent of virtual addresses, in the registry that the daemon serves. What they mean is in docs/node.md.

import type { Registry } from "prom-client";
import { Counter, Gauge, Histogram } from "prom-client";

/** What one agent counts; addresses and pods are never labels. */
export class PrometheusVipNodeMetrics {
  readonly #happenings: Counter;
  readonly #programming: Histogram;

  /** @param read what is read at each scrape: addresses that are answered for, and seconds that are left of the lease (0: none) */
  constructor(
    registry: Registry,
    read: { readonly held: () => number; readonly leaseLeftSeconds: () => number },
  ) {
    const registers = [registry];
    this.#happenings = new Counter({
      name: "galaxy_node_vip_happenings_total",
      help: "What happened to virtual addresses on this node",
      labelNames: ["what"],
      registers,
    });
    this.#programming = new Histogram({
      name: "galaxy_node_vip_programming_seconds",
      help: "From seeing a grant to answering; the first hold of an address asks the wire before",
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2],
      registers,
    });
    const add = (name: string, help: string, value: () => number) => {
      const gauge: Gauge = new Gauge({
        name,
        help,
        registers,
        collect: () => gauge.set(value()),
      });
    };
    add("galaxy_node_vip_held", "Virtual addresses that this node answers for", read.held);
    add(
      "galaxy_node_vip_lease_left_seconds",
      "For how long the kernel answers without another renewal; 0: the node has no lease",
      read.leaseLeftSeconds,
    );
  }

  /** @param what `opened`, `foreign claim` or `unable`; `tookMs` counts for the first only */
  count(what: "opened" | "foreign claim" | "unable", tookMs: number): void {
    this.#happenings.inc({ what });
    if (what === "opened") this.#programming.observe(tookMs / 1_000);
  }
}
