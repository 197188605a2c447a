// Leadership without an election: `--leader-elect=false`, for an installation that runs one process and knows it.

import type { Leadership } from "../../ports/leadership.ts";

/** Leads always. */
export class SoleLeader implements Leadership {
  readonly #name: string;

  /** @param name the name of this process */
  constructor(name: string) {
    this.#name = name;
  }

  isLeader(): boolean {
    return true;
  }

  leaderName(): string {
    return this.#name;
  }
}
