// What the node side counts and times. Gauges are read by the door that serves metrics.

/** Counters; labels are few and never an address, pod or container. */
export type NodeCounterName =
  /** Attachments of which something was missing; label `outcome`: restored, failed. */
  | "repairs"
  /** Containers whose networks were undone because nobody had them any more; label `outcome`: removed, failed. */
  | "garbage"
  /** Questions to the container runtime; label `outcome`: answered, failed. */
  | "runtime_questions"
  /** Annotations that say which networks a pod has; label `outcome`: written, gone, failed. */
  | "network_statuses"
  /** Requests to the API server that failed; label `code`: the HTTP status, 0 when there was no answer. */
  | "api_errors";

/** Histograms in seconds; labels `command` and `result` (`ok`, or the code of the CNI error). */
export type NodeTimerName = "cni_duration";

/** Counts and times. Never throws. */
export interface NodeMetrics {
  count(name: NodeCounterName, labels?: Readonly<Record<string, string>>, by?: number): void;
  time(name: NodeTimerName, seconds: number, labels?: Readonly<Record<string, string>>): void;
}
