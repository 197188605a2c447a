// The Leadership that a test decides; nobody is elected.

import type { Leadership } from "../../ports/leadership.ts";

/** Says what it was told: this process leads as `self` unless told otherwise. */
export class FixedLeadership implements Leadership {
  #isLeader: boolean;
  #leaderName: string;

  constructor(isLeader = true, leaderName = isLeader ? "self" : "") {
    this.#isLeader = isLeader;
    this.#leaderName = leaderName;
  }

  isLeader(): boolean {
    return this.#isLeader;
  }

  leaderName(): string {
    return this.#leaderName;
  }

  /** Leadership changes from now on. */
  become(isLeader: boolean, leaderName: string): void {
    this.#isLeader = isLeader;
    this.#leaderName = leaderName;
  }
}
