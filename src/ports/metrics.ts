// What the use cases count and time. Gauges of the address space are read from the table by the door that serves metrics.

/** Counters; labels are few and never an address, pod or workload. */
export type CounterName =
  /** Answers of the extender that refused a pod; label `reason`. */
  | "refusals"
  /** Malformed input; label `input`: body, annotation, configuration, record, pool. */
  | "bad_input"
  /** Addresses taken, reserved, released, adopted; label `change`. */
  | "changes"
  /** One address in two pods, or a record that contradicts a pod; label `kind`. */
  | "conflicts"
  /** Records written by others or found again after an unknown outcome; label `kind`. */
  | "repairs"
  /** Rollouts that wait for ever because the set of addresses is fixed. */
  | "rollout_deadlocks"
  /** Reserved addresses that no pod used for too long; label `outcome`: warned, released. */
  | "idle_reservations"
  /** Virtual addresses that went from one pod to another, or to or from nobody; label `reason`. */
  | "vip_transitions"
  /** Times that another machine was seen to claim a virtual address. */
  | "vip_conflicts"
  /** Requests to the API server that failed; label `code`: the HTTP status, 0 when there was no answer. */
  | "api_errors";

/** Histograms in seconds; label `func`. */
export type TimerName =
  | "schedule_latency"
  | "reclaim_latency"
  | "resync_duration"
  /** From what made a virtual address move until the new node answered; label `func`: the reason. */
  | "vip_gap";

/** Counts and times. Never throws. */
export interface Metrics {
  count(name: CounterName, labels?: Readonly<Record<string, string>>, by?: number): void;
  time(name: TimerName, seconds: number, labels?: Readonly<Record<string, string>>): void;
}
