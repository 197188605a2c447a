// What the iproute2 adapter does when the world is not as it should be; what it promises is in test/contract/host-network.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetStep } from "../../core/net-model.ts";
import { WorldError } from "../../ports/world-error.ts";
import { LinuxHostNetwork } from "./host-network.ts";

test("a host that cannot be looked at is an error, not a host without devices", async () => {
  const network = new LinuxHostNetwork({ hostNetns: "/does/not/exist" });
  await assert.rejects(
    network.readHost({ routesOf: [], routesTo: [] }),
    (error) => error instanceof WorldError && error.code === "NETWORK_READ_FAILED",
  );
});

test("a pod's namespace that is gone, or a file without one, is no namespace", async () => {
  const network = new LinuxHostNetwork();
  assert.equal(await network.readPod("/does/not/exist"), undefined);
  assert.equal(await network.readPod("/dev/null"), undefined);
  await assert.rejects(network.readPod("/proc/self/ns/net"), /it is the node's own/);
});

test("text that could be a second command never reaches ip", async () => {
  const network = new LinuxHostNetwork({ hostNetns: "/does/not/exist" });
  const hostile = ["a\nlink del eth0", "a b", 'a"', "a;b", "a#", ""];
  for (const link of hostile) {
    const steps: NetStep[] = [{ do: "up", place: "host", link }];
    await assert.rejects(network.apply(steps, { netns: undefined }), TypeError, link);
  }
  const sysctl = (key: string): NetStep => ({ do: "sysctl", place: "host", key, value: "1" });
  for (const key of ["../../etc/passwd", "net/a b", "net/ipv4/conf/a\nb/x"]) {
    await assert.rejects(network.apply([sysctl(key)], { netns: undefined }), TypeError, key);
  }
});
