// Group commit: what shares a transaction, and what is answered when SQLite fails one write, all of them, or the commit itself.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it, type TestContext } from "node:test";
import { WorldError } from "../../ports/world-error.ts";
import { CommitQueue } from "./commit-queue.ts";
import { createSchema } from "./schema.ts";

describe("a commit queue", () => {
  it("puts writes that wait at the same time into few transactions, and those one after the other into one each", async (t) => {
    const { queue, put } = aQueue(t);
    await Promise.all(Array.from({ length: 2_000 }, (_, index) => put(`k${index}`, index)));
    assert.ok(queue.commitCount <= 4, `${queue.commitCount} transactions`);
    const before = queue.commitCount;
    await put("a", 1);
    await put("b", 2);
    assert.equal(queue.commitCount, before + 2);
  });

  it("answers and tells only what another connection can read already, in the order of the writes", async (t) => {
    const { queue, path, put } = aQueue(t);
    const reader = new DatabaseSync(path, { readOnly: true });
    t.after(() => reader.close());
    const count = () => Number(reader.prepare("SELECT count(*) AS n FROM entry").get()?.["n"]);
    const seen: [string, number][] = [];
    const telling = queue.write("tell", (transaction) => {
      transaction.afterCommit(() => seen.push(["effect", count()]));
    });
    assert.equal(count(), 0);
    await Promise.all(
      ["a", "b", "c"].map(async (key) => {
        await put(key, 1);
        seen.push([key, count()]);
      }),
    );
    await telling;
    assert.deepEqual(seen, [
      ["effect", 3],
      ["a", 3],
      ["b", 3],
      ["c", 3],
    ]);
  });

  it("fails a write that SQLite refuses alone, with what it threw and without its effects", async (t) => {
    const { queue, put, all } = aQueue(t);
    const told: string[] = [];
    const answers = await Promise.allSettled([
      put("a", 1),
      queue.write("nonsense", (transaction) => {
        transaction.afterCommit(() => told.push("nonsense"));
        throw new RangeError("a program error");
      }),
      put("a", 2),
      put("b", 3),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      ["fulfilled", "rejected", "rejected", "fulfilled"],
    );
    assert.ok(answers[1]?.status === "rejected" && answers[1].reason instanceof RangeError);
    assert.ok(answers[2]?.status === "rejected" && !(answers[2].reason instanceof WorldError));
    assert.deepEqual(all(), ["a", "b"]);
    assert.deepEqual(told, []);
    assert.equal(queue.failure, undefined);
  });

  it("says of a full disk that nothing happened, and goes on when there is space again", async (t) => {
    const { queue, database, put, all } = aQueue(t);
    await put("before", 0);
    const pages = Number(database.prepare("PRAGMA page_count").get()?.["page_count"]);
    database.exec(`PRAGMA max_page_count = ${pages + 2}`);
    const filler = "x".repeat(3_000);
    const answers = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) => put(`${filler}${index}`, index)),
    );
    const reasons = answers.flatMap((answer) =>
      answer.status === "rejected" ? [answer.reason as unknown] : [],
    );
    assert.ok(reasons.length > 0);
    for (const reason of reasons) {
      assert.ok(reason instanceof WorldError && reason.code === "STATE_FILE_FAILED");
      assert.equal(reason.mayHaveHappened, false);
      assert.match(reason.message, /was not changed .*full.*free some space and try again/);
    }
    assert.equal(all().length, 1 + answers.length - reasons.length);
    database.exec("PRAGMA max_page_count = 100000");
    await put("after", 1);
    assert.ok(all().includes("after"));
    assert.equal(queue.failure, undefined);
  });

  it("says of a commit that failed half way that all of it may have happened, and refuses everything from then on", async (t) => {
    const { queue, database, put, all } = aQueue(t);
    // A violation that SQLite only sees in the commit, as it sees a failing disk.
    database.exec(
      "PRAGMA foreign_keys = ON; CREATE TABLE child (key TEXT REFERENCES entry (key) DEFERRABLE INITIALLY DEFERRED)",
    );
    const orphan = database.prepare("INSERT INTO child VALUES ('nobody')");
    const answers = await Promise.allSettled([
      put("a", 1),
      queue.write("break", () => void orphan.run()),
      put("b", 2),
    ]);
    for (const answer of answers) {
      assert.ok(answer.status === "rejected" && answer.reason instanceof WorldError);
      assert.equal(answer.reason.code, "STATE_FILE_FAILED");
      assert.equal(answer.reason.mayHaveHappened, true);
      assert.match(answer.reason.message, /start the program again/);
    }
    assert.deepEqual(all(), []);
    await failsWith(put("c", 3), "STATE_FILE_FAILED");
    assert.throws(() => queue.checkReadable("read"), WorldError);
    assert.match(queue.failure ?? "", /state file .* cannot be relied on any more/);
  });

  it("refuses what comes while 100,000 writes wait, and writes those", async (t) => {
    const { queue } = aQueue(t);
    const waiting = Array.from({ length: 100_000 }, (_, index) => queue.write("wait", () => index));
    await failsWith(
      queue.write("late", () => 0),
      "QUEUE_FULL",
    );
    assert.equal((await Promise.all(waiting)).at(-1), 99_999);
    assert.equal(await queue.write("again", () => 7), 7);
  });

  it("gives versions that only grow, also when writes fail, across openings of the file", async (t) => {
    const { queue, database } = aQueue(t);
    const next = (from: CommitQueue) =>
      from.write("version", (transaction) => transaction.nextVersion());
    const first = await next(queue);
    await assert.rejects(
      queue.write("fail", (transaction) => {
        transaction.nextVersion();
        throw new RangeError("no");
      }),
      RangeError,
    );
    const second = await next(queue);
    const reopened = new CommitQueue({ database, path: "again", lossProblem: () => undefined });
    const third = await next(reopened);
    assert.ok(first < second && second < third, `${first}, ${second}, ${third}`);
  });
});

/** A queue on a file of its own with a table `entry` of unique keys. */
function aQueue(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-queue-"));
  const path = join(folder, "state.db");
  const database = new DatabaseSync(path);
  t.after(() => {
    database.close();
    rmSync(folder, { recursive: true });
  });
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  createSchema(database);
  database.exec("CREATE TABLE entry (key TEXT PRIMARY KEY, value INTEGER)");
  const queue = new CommitQueue({ database, path, lossProblem: () => undefined });
  const insert = database.prepare("INSERT INTO entry VALUES (?, ?)");
  return {
    queue,
    database,
    path,
    put: (key: string, value: number) =>
      queue.write(`put ${key.slice(-8)}`, () => void insert.run(key, value)),
    all: () =>
      database
        .prepare("SELECT key FROM entry ORDER BY key")
        .all()
        .map((row) => String(row["key"])),
  };
}

async function failsWith(asked: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof WorldError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.mayHaveHappened, false);
    return true;
  });
}
