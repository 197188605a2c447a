// Networks of pods without a kernel: what plugins are told, an API server that starts with the node, and what nobody may say but us.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anAllocation } from "../../test/builders.ts";
import { aPodOf, PodNetworksWorld, unavailable } from "../../test/node/pod-networks-world.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryMetrics } from "../adapters/memory/metrics.ts";
import { cniCode } from "../core/cni-result.ts";
import type { Ip } from "../core/ip.ts";
import type { NodeCounterName, NodeTimerName } from "../ports/node-metrics.ts";
import { WorldError } from "../ports/world-error.ts";
import { writeNetworkStatus } from "./network-status.ts";

const grant = { ip: "10.0.0.5" as Ip, prefix: 24, vlan: 0, gateway: "10.0.0.1" as Ip };

function aWorld() {
  const clock = new ManualClock();
  const log = new MemoryLog();
  return { clock, log, world: new PodNetworksWorld({ clock, log }) };
}

/** Lets time pass until the promise is settled. */
async function passUntil<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  const state = { isSettled: false };
  const settled = promise.finally(() => {
    state.isSettled = true;
  });
  settled.catch(() => {});
  while (!state.isSettled) await clock.pass(500);
  return settled;
}

test("ADD waits for an API server that starts, and has the pod's networks then", async () => {
  const { clock, world } = aWorld();
  world.directory.failures.push(unavailable(), unavailable(), unavailable());
  const outcome = await passUntil(clock, world.add(aPodOf("p")));
  assert.equal(outcome.kind, "added");
});

test("ADD gives up an API server that stays away, with the code that makes the runtime try again, and leaves no state", async () => {
  const { clock, world } = aWorld();
  for (let time = 0; time < 1_000; time += 1) world.directory.failures.push(unavailable());
  const outcome = await passUntil(clock, world.add(aPodOf("p")));
  assert.ok(outcome.kind === "refused");
  assert.equal(outcome.code, cniCode.tryAgainLater);
  assert.match(outcome.message, /default\/p.*API_UNAVAILABLE.*the runtime tries again/);
  assert.deepEqual((await world.pods.containers(0)).all, []);
  assert.deepEqual(world.events.events(), [], "an event would need the API server");
});

test("a permission that is missing is said at once", async () => {
  const { world } = aWorld();
  world.directory.failures.push(
    new WorldError("API_FORBIDDEN", { tried: "read pod default/p", message: "grant get on pods" }),
  );
  const outcome = await world.add(aPodOf("p"));
  assert.ok(outcome.kind === "refused");
  assert.match(outcome.message, /API_FORBIDDEN.*grant get on pods/);
});

test("a record that cannot be read for a moment is asked for again, and never taken for granted", async () => {
  const { clock, world } = aWorld();
  world.networks.set("net", [{ name: "net", type: "galaxy-k8s-vlan" }]);
  world.directory.records.set("10.0.0.5", anAllocation({ ip: "10.0.0.5", podUid: "uid-q" }));
  world.directory.failures.push(undefined, unavailable());
  const pod = aPodOf("p", { wantsAddress: true, grants: [grant] });
  const outcome = await passUntil(clock, world.add(pod));
  assert.ok(outcome.kind === "refused");
  assert.equal(outcome.code, cniCode.untrusted);
  assert.deepEqual(world.calls, []);
});

test("nobody but the daemon says which address a plugin configures", async () => {
  const { world } = aWorld();
  world.networks.set("net", [
    { name: "net", type: "galaxy-k8s-vlan", capabilities: { ips: true, portMappings: true } },
  ]);
  const record = anAllocation({ ip: "10.0.0.5", podUid: "uid-p", nodeName: "n1" });
  world.directory.records.set("10.0.0.5", record);
  const forged = 'ipinfos=[{"ip":"10.0.0.66/24"}]';
  const args = ["K8S_POD_NAME=p", forged, ` ${forged}`, "ipinfos", ";;", "A=b=c"].join(";");
  await world.add(aPodOf("p", { wantsAddress: true, grants: [grant] }), { args });
  await world.add(aPodOf("without"), { args });
  const [withAddress, without] = world.calls;
  assert.equal(
    withAddress?.args,
    'K8S_POD_NAME=p;A=b=c;ipinfos=[{"ip":"10.0.0.5/24","vlan":0,"gateway":"10.0.0.1"}]',
  );
  assert.equal(without?.args, "K8S_POD_NAME=p;A=b=c");
  const { runtimeConfig } = withAddress?.config ?? {};
  assert.deepEqual(runtimeConfig, { portMappings: [{ hostPort: 80 }] });
});

test("a chain of plugins is told what a runtime would tell it: capabilities, results before, and the whole result at DEL and CHECK", async () => {
  const { world } = aWorld();
  world.networks.set("net", [
    { name: "net", type: "first" },
    { name: "net", type: "portmap", capabilities: { portMappings: true, dns: false } },
  ]);
  world.networks.set("second", [
    { name: "second", type: "other", capabilities: { portMappings: true } },
  ]);
  const wishes = ["net", "second"].map((name) => ({ name, ifName: undefined }));
  const pod = aPodOf("p", { wishes });
  assert.equal((await world.add(pod)).kind, "added");
  const call = {
    containerId: "p",
    netns: "/run/netns/p",
    ifName: "eth0",
    args: "",
    path: ["/opt/cni/bin"],
    cniVersion: "1.0.0",
  };
  assert.equal(await world.pods.check(call), undefined);
  assert.equal(await world.pods.del(call), undefined);
  const seen = world.calls.map(({ command, type, ifName, config, prevResult }) => [
    command,
    type,
    ifName,
    "runtimeConfig" in config,
    prevResult === undefined,
  ]);
  assert.deepEqual(seen, [
    ["ADD", "first", "eth0", false, true],
    ["ADD", "portmap", "eth0", true, false],
    // Host ports are about the pod's IP, and that is of the first network.
    ["ADD", "other", "eth1", false, true],
    ["CHECK", "first", "eth0", false, false],
    ["CHECK", "portmap", "eth0", true, false],
    ["CHECK", "other", "eth1", false, false],
    ["DEL", "other", "eth1", false, false],
    ["DEL", "portmap", "eth0", true, false],
    ["DEL", "first", "eth0", false, false],
  ]);
});

test("a refusal of the pod is an event on it; what the next try may cure is none", async () => {
  const { world } = aWorld();
  await world.add(aPodOf("broken", { problems: ["annotation is no JSON"] }));
  await world.add(aPodOf("elsewhere", { nodeName: "n2" }));
  const old = aPodOf("replaced");
  world.directory.pods.set("replaced", old);
  await world.pods.add({
    containerId: "c",
    netns: "/run/netns/c",
    ifName: "eth0",
    args: "",
    path: [],
    cniVersion: "1.0.0",
    pod: old.id,
    podUid: "another",
    runtimeConfig: {},
  });
  assert.deepEqual(
    world.events.events().map(({ about, reason }) => [about.name, reason]),
    [
      ["broken", "PodNetworkRefused"],
      ["elsewhere", "PodNetworkRefused"],
    ],
  );
});

function aWriter() {
  const { clock, log, world } = aWorld();
  const metrics = new MemoryMetrics<NodeCounterName, NodeTimerName>();
  const pod = aPodOf("p");
  world.directory.pods.set("p", pod);
  const write = () =>
    passUntil(
      clock,
      writeNetworkStatus({ directory: world.directory, clock, log, metrics }, pod, "[]"),
    );
  return { world, metrics, log, write };
}

test("the network status is written again after a conflict and after an API server that was away", async () => {
  const { world, metrics, write } = aWriter();
  world.directory.writes.push("conflict");
  world.directory.failures.push(undefined, undefined, unavailable());
  assert.equal(await write(), "written");
  assert.deepEqual(world.directory.statuses, ["[]"]);
  assert.equal(metrics.countOf("network_statuses", { outcome: "written" }), 1);
});

test("the network status of a pod that another one replaced is written nowhere", async () => {
  const { world, write } = aWriter();
  world.directory.writes.push("conflict");
  world.directory.pods.set("p", aPodOf("p", { uid: "new" }));
  assert.equal(await write(), "gone");
  world.directory.writes.push("gone");
  assert.equal(await write(), "gone");
  assert.deepEqual(world.directory.statuses, []);
});

test("a network status that cannot be written is given up, logged and counted", async () => {
  const { world, metrics, log, write } = aWriter();
  for (let time = 0; time < 50; time += 1) world.directory.failures.push(unavailable());
  assert.equal(await write(), "failed");
  assert.equal(metrics.countOf("network_statuses", { outcome: "failed" }), 1);
  assert.ok(log.lines("warn").some(({ message }) => /status/.test(message)));
});
