// The label on the leader's pod that the Service selects, so that calls reach the leader while every healthy replica counts as ready: disruption
// budgets and rolling updates of galaxy-ipam itself depend on that. Not the election: lease-election.ts decides who leads.

import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { galaxyGroup } from "../../wire/established-names.ts";
import { asList, textAt, valueAt } from "../../wire/json-value.ts";
import { type ApiClient, segment } from "./api-client.ts";
import { Backoff, pause } from "./backoff.ts";

/** The label, with the value "true", on the pod of the leader. */
export const leaderLabel = `${galaxyGroup}/leader`;

export type LeaderLabelOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly namespace: string;
  /** Name of the pod that this process runs in. */
  readonly podName: string;
  readonly isLeader: () => boolean;
  /** First and longest pause after a failure; 200 and 10,000 by default. */
  readonly times?: { readonly firstPauseMs: number; readonly maxPauseMs: number };
};

/** Keeps the label of one pod in step with who leads. */
export class LeaderLabel {
  readonly #options: LeaderLabelOptions;
  readonly #stopping = new AbortController();
  #told: boolean | undefined;
  #work: Promise<void> | undefined;

  constructor(options: LeaderLabelOptions) {
    this.#options = options;
  }

  /** To be called when the leader changed, and once at start, as a label may be left from before. Returns at once. */
  changed(): void {
    if (this.#stopping.signal.aborted || this.#work !== undefined) return;
    this.#work = this.#keepInStep().finally(() => {
      this.#work = undefined;
      // It may have turned after the last look.
      if (this.#told !== this.#options.isLeader()) this.changed();
    });
  }

  /** Takes the label away once more, when it may be there, and ends. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
    if (this.#told === false) return;
    await this.#tell(false).catch((error: unknown) => this.#warn(error));
  }

  async #keepInStep(): Promise<void> {
    const { signal } = this.#stopping;
    const backoff = new Backoff({
      firstMs: this.#options.times?.firstPauseMs ?? 200,
      maxMs: this.#options.times?.maxPauseMs ?? 10_000,
    });
    let failures = 0;
    while (!signal.aborted && this.#told !== this.#options.isLeader()) {
      try {
        await this.#tell(this.#options.isLeader());
      } catch (error) {
        // Once: it is tried for as long as it fails.
        if (failures === 0) this.#warn(error);
        failures += 1;
        await pause(backoff.nextMs(undefined), signal);
      }
    }
  }

  async #tell(leads: boolean): Promise<void> {
    const { podName } = this.#options;
    this.#told = undefined;
    // The others' first: a leader that died keeps its label until its node is known to be dead, and calls to it would wait.
    if (leads) {
      for (const name of await this.#labelled())
        if (name !== podName) await this.#write(name, null);
    }
    await this.#write(podName, leads ? "true" : null);
    this.#told = leads;
  }

  /** Pods that have the label. */
  async #labelled(): Promise<readonly string[]> {
    const answer = await this.#options.client.readJson({
      path: `${this.#collectionPath()}?labelSelector=${encodeURIComponent(`${leaderLabel}=true`)}`,
      tried: "list the pods with the leader's label",
    });
    const items = answer.kind === "found" ? asList(valueAt(answer.json, "items")) : [];
    return items.flatMap((item) => textAt(item, "metadata", "name") ?? []);
  }

  /** A pod that is gone needs no label. Rejects with a WorldError. */
  async #write(name: string, value: "true" | null): Promise<void> {
    const tried = `${value === null ? "take the leader's label from" : "put the leader's label on"} pod ${this.#options.namespace}/${name}`;
    const answer = await this.#options.client.write({
      method: "PATCH",
      path: `${this.#collectionPath()}/${segment(name)}`,
      body: { metadata: { labels: { [leaderLabel]: value } } },
      tried,
      isUrgent: true,
    });
    if (answer.kind === "conflict") {
      throw new WorldError("API_REJECTED", { tried, message: answer.message });
    }
    if (answer.kind === "missing" && value !== null) {
      throw new WorldError("API_REJECTED", {
        tried,
        message: `${answer.message}; POD_NAME and POD_NAMESPACE must name the pod of this process`,
      });
    }
  }

  #collectionPath(): string {
    return `/api/v1/namespaces/${segment(this.#options.namespace)}/pods`;
  }

  #warn(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn("the leader's label is not up to date, it is tried again", { reason });
  }
}
