// Locks of a node: exclusion between processes, and that a holder which dies holds nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { WorldError } from "../../ports/world-error.ts";
import { SocketNodeLocks } from "./node-locks.ts";
import { loadSystemCalls } from "./system-calls.ts";

const waitMs = 60_000;

test("one at a time has a lock, in whatever order; other locks and scopes are free", async () => {
  const scope = `test ${process.pid} ${"long ".repeat(40)}`;
  const locks = new SocketNodeLocks(scope);
  const others = new SocketNodeLocks(`${scope} other`);
  let inside = 0;
  let most = 0;
  let turns = 0;
  const work = async () => {
    inside += 1;
    most = Math.max(most, inside);
    await locks.withLock("another", waitMs, async () => {});
    await others.withLock("a", waitMs, async () => {});
    inside -= 1;
    turns += 1;
  };
  await Promise.all(Array.from({ length: 12 }, () => locks.withLock("a", waitMs, work)));
  assert.deepEqual([turns, most], [12, 1]);
});

test("who gives up waiting does not keep those behind it from their turn", async () => {
  const locks = new SocketNodeLocks(`test ${process.pid} impatient`);
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const first = locks.withLock("a", waitMs, () => held);
  const behind: string[] = [];
  const impatient = locks.withLock("a", 30, async () => behind.push("impatient"));
  const patient = locks.withLock("a", waitMs, async () => behind.push("patient"));
  await assert.rejects(impatient, /locks? a: somebody else on this node held it for 30 ms/);
  assert.deepEqual(behind, []);
  release();
  await Promise.all([first, patient]);
  assert.deepEqual(behind, ["patient"]);
});

test("a lock is free again after its action failed", async () => {
  const locks = new SocketNodeLocks(`test ${process.pid} failing`);
  const fails = locks.withLock("a", waitMs, () => Promise.reject(new Error("no")));
  await assert.rejects(fails, /no/);
  assert.equal(await locks.withLock("a", waitMs, async () => 5), 5);
});

test("who waits too long is told that the node is busy; a process that is killed gives its lock back", async () => {
  const scope = `test ${process.pid} killed`;
  const module = fileURLToPath(new URL("./node-locks.ts", import.meta.url));
  const script = `
    const { SocketNodeLocks } = await import(${JSON.stringify(module)});
    await new SocketNodeLocks(${JSON.stringify(scope)}).withLock("a", 60000, async () => {
      console.log("held");
      await new Promise((resolve) => setTimeout(resolve, 600000));
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    const locks = new SocketNodeLocks(scope);
    await assert.rejects(
      locks.withLock("a", 50, async () => {}),
      (error) => error instanceof WorldError && error.code === "NODE_BUSY",
    );
    const waiting = locks.withLock("a", waitMs, async () => "mine");
    child.kill("SIGKILL");
    assert.equal(await waiting, "mine");
  } finally {
    child.kill("SIGKILL");
  }
});

test("a lock taken with system calls and one taken with Node's server exclude each other", async (t) => {
  const calls = await loadSystemCalls();
  if (calls === undefined) return t.skip("koffi has no library for this machine");
  const scope = `test ${process.pid} both`;
  // Two stores are what two processes are: they do not wait for each other in memory.
  const all = [
    new SocketNodeLocks(scope),
    new SocketNodeLocks(scope, calls),
    new SocketNodeLocks(scope, calls),
  ];
  for (const holder of all) {
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const { promise: isIn, resolve: enter } = Promise.withResolvers<void>();
    const order: string[] = [];
    const first = holder.withLock("a", waitMs, async () => {
      enter();
      await held;
      order.push("first");
    });
    await isIn;
    const others = all.filter((one) => one !== holder);
    await Promise.all(
      others.map((one) =>
        assert.rejects(
          one.withLock("a", 30, async () => {}),
          /held it for 30 ms/,
        ),
      ),
    );
    const behind = others.map((one) => one.withLock("a", waitMs, async () => order.push("behind")));
    release();
    await Promise.all([first, ...behind]);
    assert.deepEqual(order, ["first", "behind", "behind"]);
  }
});
