// Group commit: writes that wait at the same time share one transaction, and so one fsync. Each is answered once it is durable.
// It knows nothing of tables but the counter of versions.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { WorldError } from "../../ports/world-error.ts";
import { isProgramError, sqliteCode, sqliteCodeOf, sqliteReason } from "./sqlite-error.ts";

/** Writes of one transaction: at some 10 µs each they hold up the event loop for about as long as the fsync. */
const largestBatch = 500;

/** Writes that may wait; one more is refused. */
const mostWaiting = 100_000;

/** What a write sees of its transaction. */
export type Transaction = {
  /** A version higher than any before, also those of records that are gone. */
  nextVersion(): number;
  /** Calls `effect` once the transaction is durable, before the write is answered; must not throw. */
  afterCommit(effect: () => void): void;
};

type Waiting = {
  readonly tried: string;
  readonly apply: (transaction: Transaction) => unknown;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
};

/** What the queue needs. */
export type CommitQueueOptions = {
  readonly database: DatabaseSync;
  /** Path of the file, for messages. */
  readonly path: string;
  /** Why what was written just now may not be in the file, as when somebody removed it; undefined when it is. */
  readonly lossProblem: () => string | undefined;
};

/** The only writer of a database. */
export class CommitQueue {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #lossProblem: () => string | undefined;
  readonly #writeLastVersion: StatementSync;
  readonly #waiting: Waiting[] = [];
  #lastVersion: number;
  #isScheduled = false;
  #isClosed = false;
  #commitCount = 0;
  #failure: string | undefined;

  constructor(options: CommitQueueOptions) {
    this.#database = options.database;
    this.#path = options.path;
    this.#lossProblem = options.lossProblem;
    const row = options.database.prepare("SELECT last_version FROM state").get();
    this.#lastVersion = Number(row?.["last_version"]);
    this.#writeLastVersion = options.database.prepare("UPDATE state SET last_version = ?");
  }

  /** Transactions committed so far. */
  get commitCount(): number {
    return this.#commitCount;
  }

  /** Why nothing can be read or written until the program starts again; undefined while all is well. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /**
   * Runs `apply` in a transaction with others.
   * - `apply` makes at most one change, in one statement, so that it fails as a whole
   * @param tried what is tried on what, for messages: "create record 10.0.70.2"
   * @returns what `apply` returned, once it is durable
   * @throws WorldError STATE_FILE_FAILED, QUEUE_FULL or STOPPED; whatever else `apply` throws
   */
  write<Answer>(tried: string, apply: (transaction: Transaction) => Answer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const problem = this.#refusal(tried);
      if (problem !== undefined) {
        reject(problem);
        return;
      }
      // `apply` is what gives the answer, so that the answer is of its type.
      this.#waiting.push({ tried, apply, resolve: resolve as (answer: unknown) => void, reject });
      this.#schedule();
    });
  }

  /** @throws WorldError STATE_FILE_FAILED or STOPPED when the file must not be read any more */
  checkReadable(tried: string): void {
    const problem = this.#stateProblem(tried);
    if (problem !== undefined) throw problem;
  }

  /** Writes what waits; later writes are refused. */
  close(): void {
    this.#isClosed = true;
    while (this.#waiting.length > 0) this.#commitBatch();
  }

  #refusal(tried: string): WorldError | undefined {
    if (this.#waiting.length < mostWaiting) return this.#stateProblem(tried);
    return new WorldError("QUEUE_FULL", {
      tried,
      message: `${mostWaiting} writes wait for the disk of state file ${this.#path}; try again when it has caught up`,
    });
  }

  #stateProblem(tried: string): WorldError | undefined {
    if (this.#failure !== undefined) {
      return new WorldError("STATE_FILE_FAILED", { tried, message: this.#failure });
    }
    if (!this.#isClosed) return undefined;
    return new WorldError("STOPPED", { tried, message: `state file ${this.#path} is closed` });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#commitBatch();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #commitBatch(): void {
    const batch = this.#waiting.splice(0, largestBatch);
    if (batch.length === 0) return;
    if (this.#failure !== undefined) {
      for (const { tried, reject } of batch) reject(this.#stateProblem(tried));
      return;
    }
    const answers: (() => void)[] = [];
    const effects: (() => void)[] = [];
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      const versionBefore = this.#lastVersion;
      for (const waiting of batch) this.#applyOne(waiting, answers, effects);
      if (this.#lastVersion !== versionBefore) this.#writeLastVersion.run(this.#lastVersion);
    } catch (error) {
      this.#rollBack();
      for (const { tried, reject } of batch) reject(this.#notHappened(tried, error));
      return;
    }
    try {
      this.#database.exec("COMMIT");
      const loss = this.#lossProblem();
      if (loss !== undefined) throw new Error(loss);
    } catch (error) {
      this.#rollBack();
      const isCertain = sqliteCodeOf(error) === sqliteCode.full;
      if (!isCertain) this.#fail(error);
      for (const { tried, reject } of batch) {
        reject(isCertain ? this.#notHappened(tried, error) : this.#unknownOutcome(tried, error));
      }
      return;
    }
    this.#commitCount += 1;
    for (const effect of effects) effect();
    for (const answer of answers) answer();
  }

  /** @throws what SQLite threw when it undid the whole transaction */
  #applyOne(waiting: Waiting, answers: (() => void)[], effects: (() => void)[]): void {
    const { tried, apply, resolve, reject } = waiting;
    const own: (() => void)[] = [];
    try {
      const answer = apply({
        nextVersion: () => {
          this.#lastVersion += 1;
          return this.#lastVersion;
        },
        afterCommit: (effect) => own.push(effect),
      });
      effects.push(...own);
      answers.push(() => resolve(answer));
    } catch (error) {
      // A statement that fails is undone alone, unless SQLite gave up the transaction (full disk, I/O error).
      if (!this.#database.isTransaction) throw error;
      answers.push(() => reject(this.#notHappened(tried, error)));
    }
  }

  #rollBack(): void {
    if (!this.#database.isTransaction) return;
    try {
      this.#database.exec("ROLLBACK");
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * After a commit that failed half way, memory and disk may differ until the log is read again from the disk, and after a failed fsync a
   * later one proves nothing (https://wiki.postgresql.org/wiki/Fsync_Errors): nothing is read or written until the program starts again.
   */
  #fail(error: unknown): void {
    this.#failure ??=
      `state file ${this.#path} cannot be relied on any more (${sqliteReason(error)}); ` +
      "look at the disk, then start the program again: it reads what is really there";
  }

  #notHappened(tried: string, error: unknown): unknown {
    if (isProgramError(error)) return error;
    const isFull = sqliteCodeOf(error) === sqliteCode.full;
    const advice = isFull
      ? "free some space and try again"
      : "look at the disk and the permissions";
    return new WorldError("STATE_FILE_FAILED", {
      tried,
      message: `state file ${this.#path} was not changed (${sqliteReason(error)}); ${advice}`,
      cause: error,
    });
  }

  #unknownOutcome(tried: string, error: unknown): WorldError {
    return new WorldError("STATE_FILE_FAILED", {
      tried,
      message: this.#failure ?? sqliteReason(error),
      mayHaveHappened: true,
      cause: error,
    });
  }
}
