// Which containers got their networks just now or are getting them: runtimes list a sandbox only after that, and whoever compares with their
// list must not take it for garbage. In memory: an ADD that was under way when the daemon died is under way no more.

import type { Clock } from "../ports/clock.ts";

/** How long the end of an ADD is remembered at most. */
const memoryMs = 3_600_000;

/** The ADDs of one daemon. */
export class RecentAdds {
  readonly #clock: Clock;
  readonly #underWay = new Map<string, number>();
  readonly #endedAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs an ADD of the container. */
  async during<T>(containerId: string, add: () => Promise<T>): Promise<T> {
    this.#underWay.set(containerId, (this.#underWay.get(containerId) ?? 0) + 1);
    try {
      return await add();
    } finally {
      const left = (this.#underWay.get(containerId) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(containerId);
      else this.#underWay.set(containerId, left);
      this.#forgetOld();
      this.#endedAtMs.set(containerId, this.#clock.nowMs());
    }
  }

  /** Whether one is under way, or ended within the last `ageMs`. */
  has(containerId: string, ageMs: number): boolean {
    if (this.#underWay.has(containerId)) return true;
    const endedAtMs = this.#endedAtMs.get(containerId);
    return endedAtMs !== undefined && this.#clock.nowMs() - endedAtMs < ageMs;
  }

  #forgetOld(): void {
    const nowMs = this.#clock.nowMs();
    for (const [containerId, endedAtMs] of this.#endedAtMs) {
      if (nowMs - endedAtMs >= memoryMs) this.#endedAtMs.delete(containerId);
    }
  }
}
