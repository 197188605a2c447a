// What garbage is and what it is not: in memory, with a runtime that can be silent, wrong or late.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aPodOf, PodNetworksWorld } from "../../test/node/pod-networks-world.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryContainerRuntime } from "../adapters/memory/container-runtime.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryMetrics } from "../adapters/memory/metrics.ts";
import type { NodeCounterName, NodeTimerName } from "../ports/node-metrics.ts";
import { SandboxGarbage } from "./sandbox-garbage.ts";

const youngestMs = 180_000;

function aWorld(options: { readonly isRuntimeOurs?: boolean } = {}) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const world = new PodNetworksWorld({ clock, log });
  const runtime = new MemoryContainerRuntime();
  const metrics = new MemoryMetrics<NodeCounterName, NodeTimerName>();
  const garbage = new SandboxGarbage(
    { runtime, pods: world.pods, clock, log, metrics },
    { youngestMs, isRuntimeOurs: options.isRuntimeOurs ?? true },
  );
  return { clock, log, world, runtime, metrics, garbage };
}

test("a sandbox that the runtime lost gets a real DEL, in the second look that misses it, with the namespace and the plugins of its ADD", async () => {
  const { clock, world, runtime, metrics, garbage } = aWorld();
  for (const name of ["lost", "alive"]) await world.add(aPodOf(name));
  runtime.ids.add("alive");
  clock.advance(youngestMs);
  assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: ["lost"] });
  assert.deepEqual(await garbage.look(), { kind: "known", removed: ["lost"], waiting: [] });
  const [del, ...more] = world.calls.filter(({ command }) => command === "DEL");
  assert.deepEqual(more, []);
  assert.equal(del?.containerId, "lost");
  assert.equal(del?.netns, "/run/netns/lost");
  assert.deepEqual(del?.path, ["/opt/cni/bin"]);
  assert.deepEqual((await world.pods.containers(0)).all, ["alive"]);
  assert.equal(metrics.countOf("garbage", { outcome: "removed" }), 1);
  assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: [] });
});

test("a sandbox that the runtime lists again in between is kept", async () => {
  const { clock, world, runtime, garbage } = aWorld();
  await world.add(aPodOf("p"));
  clock.advance(youngestMs);
  await garbage.look();
  runtime.ids.add("p");
  await garbage.look();
  runtime.ids.delete("p");
  assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: ["p"] });
});

test("nothing young is garbage, counted from the end of its ADD", async () => {
  const { clock, world, garbage } = aWorld();
  await world.add(aPodOf("p"));
  clock.advance(youngestMs - 1);
  for (let look = 0; look < 3; look += 1) {
    assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: [] });
  }
});

test("an ADD that takes longer than every limit is never garbage, nor is its container right after it", async () => {
  const { clock, world, garbage } = aWorld();
  const release = world.holdPlugins();
  const adding = world.add(aPodOf("slow"));
  await world.whenHeld();
  clock.advance(10 * youngestMs);
  for (let look = 0; look < 3; look += 1) {
    assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: [] });
  }
  release();
  assert.equal((await adding).kind, "added");
  for (let look = 0; look < 3; look += 1) {
    assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: [] });
  }
  assert.deepEqual(
    world.calls.map(({ command }) => command),
    ["ADD"],
  );
});

test("an ADD that comes for a container which was just found to be garbage wins", async () => {
  const { clock, world, garbage } = aWorld();
  await world.add(aPodOf("p"));
  clock.advance(youngestMs);
  await garbage.look();
  // The look has asked the runtime, and waits behind an ADD for the container's lock.
  const release = world.holdPlugins();
  const adding = world.add(aPodOf("p"));
  await world.whenHeld();
  const removing = world.pods.removeGarbage("p", youngestMs);
  release();
  assert.equal((await adding).kind, "added");
  assert.deepEqual(await removing, { kind: "kept" });
  assert.deepEqual((await world.pods.containers(0)).all, ["p"]);
});

test("while the runtime cannot be asked nothing is collected, it is said once, and two looks in a row count anew afterwards", async () => {
  const { clock, log, world, runtime, metrics, garbage } = aWorld();
  await world.add(aPodOf("p"));
  clock.advance(youngestMs);
  await garbage.look();
  runtime.answers = false;
  for (let look = 0; look < 3; look += 1) {
    assert.equal((await garbage.look()).kind, "not known");
  }
  assert.match(garbage.problem ?? "", /RUNTIME_UNAVAILABLE|list the pod sandboxes/);
  const said = log.lines().filter(({ message }) => /no garbage is collected/.test(message));
  assert.equal(said.length, 1);
  assert.equal(metrics.countOf("runtime_questions", { outcome: "failed" }), 3);
  runtime.answers = true;
  assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: ["p"] });
  assert.equal(garbage.problem, undefined);
  assert.deepEqual(await garbage.look(), { kind: "known", removed: ["p"], waiting: [] });
});

test("a runtime that was found and knows none of our containers may be another one: nothing is collected until it knew one", async () => {
  const { clock, world, runtime, garbage } = aWorld({ isRuntimeOurs: false });
  await world.add(aPodOf("a"));
  await world.add(aPodOf("b"));
  runtime.ids.add("somebody else's");
  clock.advance(youngestMs);
  for (let look = 0; look < 3; look += 1) {
    assert.equal((await garbage.look()).kind, "not known");
  }
  assert.match(garbage.problem ?? "", /--container-runtime-endpoint/);
  runtime.ids.add("a");
  await garbage.look();
  assert.deepEqual(await garbage.look(), { kind: "known", removed: ["b"], waiting: [] });
});

test("a DEL that fails keeps the state, is counted, and is tried again when the state has settled", async () => {
  const { clock, world, metrics, garbage } = aWorld();
  await world.add(aPodOf("p"));
  clock.advance(youngestMs);
  await garbage.look();
  world.failing = "the plugin says no";
  assert.deepEqual(await garbage.look(), { kind: "known", removed: [], waiting: ["p"] });
  assert.equal(metrics.countOf("garbage", { outcome: "failed" }), 1);
  world.failing = undefined;
  clock.advance(youngestMs);
  assert.deepEqual(await garbage.look(), { kind: "known", removed: ["p"], waiting: [] });
});
