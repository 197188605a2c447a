// What is written down of who had an address when, in a world in memory, and what is found out of what was not.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aNode, anAllocation, aPod, aPodSubnet } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryHistoryStore } from "../adapters/memory/history-store.ts";
import type { HolderChange } from "../core/tenure.ts";
import { WorldError } from "../ports/world-error.ts";
import { History } from "./history.ts";

const bounds = { mostChanges: 1_000, longestMs: 3_600_000 };
const page = { offset: 0, limit: 100 };

/** A store whose writes a test lets fail. */
class MoodyStore extends MemoryHistoryStore {
  isBroken = false;
  readonly writes: number[] = [];

  override append(changes: readonly HolderChange[]): Promise<void> {
    if (this.isBroken) {
      return Promise.reject(
        new WorldError("API_UNAVAILABLE", { tried: "write history", message: "away" }),
      );
    }
    this.writes.push(changes.length);
    return super.append(changes);
  }
}

async function aWorld() {
  const world = await IpamWorld.leading([aPodSubnet()]);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await world.settle();
  const store = new MoodyStore({ bounds, clock: world.clock });
  return { world, store, history: openHistory(world, store) };
}

function openHistory(world: IpamWorld, store: MemoryHistoryStore, mostWaiting = 1_000): History {
  const { service, clock, leadership, log } = world;
  const history = new History(
    { allocator: service.allocator, history: store, clock, leadership, log },
    { flushMs: 2_000, retryMs: 5_000, mostWaiting },
  );
  history.startLeading();
  return history;
}

/** One line per tenure; times in seconds after the world's beginning. */
async function linesOf(history: History, startMs: number) {
  const { tenures } = await history.find({}, page);
  return tenures.map(({ holder, fromMs, untilMs, fromIsAbout, untilIsAbout }) => {
    const { owner } = holder;
    const who = owner.kind === "pod" ? `${owner.pod.name} ${holder.podUid}` : owner.kind;
    const seconds = (ms: number, isAbout: boolean) =>
      `${isAbout ? "~" : ""}${(ms - startMs) / 1_000}`;
    const until = untilMs === undefined ? "now" : seconds(untilMs, untilIsAbout);
    return `${who} ${seconds(fromMs, fromIsAbout)}..${until}`;
  });
}

describe("History", () => {
  it("tells who has an address and who had it, also before anything is written", async () => {
    const { world, store, history } = await aWorld();
    const startMs = world.clock.nowMs();
    await world.schedule(aPod({ name: "web-0", uid: "u1" }));
    world.clock.advance(1_000);
    assert.deepEqual(await linesOf(history, startMs), ["web-0 u1 0..now"]);
    await world.deletePod({ namespace: "ns1", name: "web-0" });
    assert.deepEqual(store.writes, []);
    assert.deepEqual(await linesOf(history, startMs), ["web-0 u1 0..1"]);
    await world.clock.pass(2_000);
    assert.deepEqual(store.writes, [2]);
    assert.deepEqual(await linesOf(history, startMs), ["web-0 u1 0..1"]);
  });

  it("changes of the same moment are one write, and a failed one is made again", async () => {
    const { world, store, history } = await aWorld();
    const startMs = world.clock.nowMs();
    store.isBroken = true;
    for (const index of [0, 1, 2]) {
      await world.schedule(aPod({ name: `web-${index}`, uid: `u${index}` }));
    }
    await world.clock.pass(2_000);
    assert.equal(world.log.lines("warn").length, 1);
    store.isBroken = false;
    await world.clock.pass(5_000);
    assert.deepEqual(store.writes, [3]);
    assert.equal((await linesOf(history, startMs)).length, 3);
  });

  it("what waits is written when the program stops", async () => {
    const { world, store, history } = await aWorld();
    await world.schedule(aPod({ name: "web-0", uid: "u1" }));
    await history.stop();
    assert.deepEqual(store.writes, [1]);
    assert.equal((await store.lastHolders()).size, 1);
  });

  it("a leader that was killed leaves a gap, which the next one tells as about", async () => {
    const { world, store, history } = await aWorld();
    const startMs = world.clock.nowMs();
    await world.schedule(aPod({ name: "web-0", uid: "u0" }));
    await world.schedule(aPod({ name: "web-1", uid: "u1" }));
    await world.clock.pass(2_000);
    // Killed: what follows is never written by it.
    history.stopLeading();
    store.isBroken = true;
    await world.deletePod({ namespace: "ns1", name: "web-0" });
    store.isBroken = false;
    await world.clock.pass(8_000);
    const next = openHistory(world, store);
    await world.clock.pass(2_000);
    assert.deepEqual((await linesOf(next, startMs)).toSorted(), [
      "web-0 u0 0..~10",
      "web-1 u1 0..now",
    ]);
  });

  it("an address that went from one to the next in the gap is told with the time of the record", async () => {
    const { world, store, history } = await aWorld();
    const startMs = world.clock.nowMs();
    await world.schedule(aPod({ name: "web-0", uid: "u0" }));
    await world.clock.pass(2_000);
    history.stopLeading();
    store.isBroken = true;
    const [record] = world.service.allocator.view.all();
    assert.ok(record !== undefined);
    await world.clock.pass(3_000);
    await world.service.allocator.change(
      record,
      { kind: "pool", pool: "blue" },
      { podUid: "", nodeName: "", policy: "never", because: "test" },
    );
    store.isBroken = false;
    await world.clock.pass(5_000);
    const next = openHistory(world, store);
    await world.clock.pass(2_000);
    assert.deepEqual(await linesOf(next, startMs), ["pool 5..now", "web-0 u0 0..~5"]);
  });

  it("a record that is written anew for the same pod is no change of hands, and keeps its beginning", async () => {
    const { world, store, history } = await aWorld();
    const startMs = world.clock.nowMs();
    await world.schedule(aPod({ name: "web-0", uid: "u0" }));
    await world.clock.pass(5_000);
    const [record] = world.service.allocator.view.all();
    assert.ok(record !== undefined);
    const { podUid, nodeName } = record;
    const to = { podUid, nodeName, policy: "never", because: "test" } as const;
    await world.service.allocator.change(record, record.owner, to);
    assert.deepEqual(await linesOf(history, startMs), ["web-0 u0 0..now"]);
    await world.clock.pass(5_000);
    assert.deepEqual(store.writes, [1]);
    const next = openHistory(world, store);
    await world.settle();
    assert.deepEqual(await linesOf(next, startMs), ["web-0 u0 0..now"]);
  });

  it("what waits is bounded, and the gap is logged once", async () => {
    const { world, store, history } = await aWorld();
    await history.stop();
    const small = openHistory(world, store, 2);
    store.isBroken = true;
    for (const index of [0, 1, 2, 3])
      await world.schedule(aPod({ name: `web-${index}`, uid: `u${index}` }));
    assert.equal(world.log.lines("error").length, 1);
    store.isBroken = false;
    await world.clock.pass(10_000);
    assert.deepEqual(store.writes, [2]);
    await small.stop();
  });

  it("a history that cannot be read is read again, with longer and longer pauses, and loses nothing meanwhile", async () => {
    const { world, store, history } = await aWorld();
    await history.stop();
    let failures = 4;
    const read = store.lastHolders.bind(store);
    store.lastHolders = () => {
      failures -= 1;
      if (failures < 0) return read();
      const error = { tried: "read history", message: "forbidden" };
      return Promise.reject(new WorldError("API_FORBIDDEN", error));
    };
    openHistory(world, store);
    await world.schedule(aPod({ name: "web-0", uid: "u0" }));
    await world.clock.pass(5_000 + 10_000 + 20_000);
    assert.deepEqual([failures, store.writes], [0, []]);
    await world.clock.pass(40_000 + 2_000);
    assert.deepEqual(store.writes, [1]);
  });

  it("a follower writes nothing", async () => {
    const { world, store, history } = await aWorld();
    world.leadership.become(false, "another");
    history.stopLeading();
    const record = anAllocation();
    world.service.allocator.follow();
    world.service.allocator.observe({ kind: "changed", allocation: record });
    await world.clock.pass(10_000);
    assert.deepEqual(store.writes, []);
    // What is so now it can tell all the same.
    assert.equal((await history.find({}, page)).tenures.length, 1);
  });
});
