// The promises of src/ports/host-network.ts as tests, for the model in memory and for iproute2 on a real kernel.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Ip } from "../../src/core/ip.ts";
import type { NetStep, NetworkFacts } from "../../src/core/net-model.ts";
import { isInEffect, missingSteps } from "../../src/core/net-model.ts";
import { readFacts } from "../../src/node/network-facts.ts";
import type { HostNetwork } from "../../src/ports/host-network.ts";
import { WorldError } from "../../src/ports/world-error.ts";

/** A host with the device eth0 (up, 10.70.0.11/24), and a pod without devices but loopback. */
export type HostNetworkBench = {
  readonly network: HostNetwork;
  readonly netns: string;
  /** Ends the pod's namespace. */
  readonly removePod: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

const ip = (text: string) => text as Ip;

/** One step of every kind that every kernel has, in an order that works. */
const steps: readonly NetStep[] = [
  { do: "bridge", name: "br9", mac: "0a:00:00:00:00:09", mtu: 1500, alias: "galaxy:shared" },
  { do: "up", place: "host", link: "br9" },
  {
    do: "veth",
    name: "v-h1",
    mac: "0a:00:00:00:00:01",
    mtu: 1400,
    alias: "galaxy:c1:n1:eth0",
    peer: { name: "eth0", mac: "02:42:0a:46:00:65" },
  },
  { do: "master", link: "v-h1", bridge: "br9" },
  { do: "up", place: "host", link: "v-h1" },
  { do: "address", place: "host", link: "br9", ip: ip("10.72.0.1"), prefix: 24 },
  {
    do: "route",
    place: "host",
    dst: "10.70.0.101/32",
    link: "br9",
    table: 254,
    src: ip("10.72.0.1"),
  },
  {
    do: "neighbour",
    place: "host",
    link: "br9",
    ip: ip("10.72.0.5"),
    mac: "0a:00:00:00:00:05",
  },
  { do: "proxy", link: "eth0", ip: ip("10.70.0.101") },
  { do: "proxy", link: "eth0", ip: ip("fd00:70::101") },
  { do: "sysctl", place: "host", key: "net/ipv4/conf/v-h1/proxy_arp", value: "1" },
  { do: "sysctl", place: "pod", key: "net/ipv6/conf/eth0/disable_ipv6", value: "0" },
  { do: "up", place: "pod", link: "eth0" },
  { do: "address", place: "pod", link: "eth0", ip: ip("10.70.0.101"), prefix: 24 },
  { do: "address", place: "pod", link: "eth0", ip: ip("fd00:70::101"), prefix: 64 },
  { do: "neighbour", place: "pod", link: "eth0", ip: ip("10.70.0.11"), mac: "0a:00:00:00:00:01" },
  { do: "route", place: "pod", dst: "0.0.0.0/0", link: "eth0", table: 254, via: ip("10.70.0.1") },
  { do: "route", place: "pod", dst: "::/0", link: "eth0", table: 254, via: ip("fd00:70::1") },
  {
    do: "route",
    place: "pod",
    dst: "0.0.0.0/0",
    link: "eth0",
    table: 101,
    via: ip("10.71.0.1"),
    onlink: true,
  },
  { do: "rule", place: "pod", from: ip("10.70.0.101"), table: 101, priority: 1536 },
  { do: "rule", place: "pod", from: ip("fd00:70::101"), table: 101, priority: 1536 },
];

const removals: readonly NetStep[] = [
  { do: "no rule", place: "pod", from: ip("fd00:70::101"), table: 101, priority: 1536 },
  { do: "no rule", place: "pod", from: ip("10.70.0.101"), table: 101, priority: 1536 },
  { do: "no route", place: "host", dst: "10.70.0.101/32", link: "br9", table: 254 },
  { do: "no neighbour", place: "host", link: "br9", ip: ip("10.72.0.5") },
  { do: "no proxy", link: "eth0", ip: ip("10.70.0.101") },
  { do: "no proxy", link: "eth0", ip: ip("fd00:70::101") },
  { do: "no address", place: "host", link: "br9", ip: ip("10.72.0.1"), prefix: 24 },
  { do: "no link", place: "host", name: "v-h1", alias: "galaxy:c1:n1:eth0" },
  { do: "no link", place: "host", name: "br9", alias: "galaxy:shared" },
];

/** Runs the suite. @param skip why it cannot run here, or false */
export function describeHostNetwork(
  name: string,
  makeBench: () => Promise<HostNetworkBench>,
  skip: string | false = false,
): void {
  describe(`${name} as HostNetwork`, { skip, timeout: 600_000 }, () => {
    const bench = (what: string, body: (bench: HostNetworkBench) => Promise<void>): void => {
      it(what, { timeout: 240_000 }, async () => {
        const made = await makeBench();
        try {
          await body(made);
        } finally {
          await made.stop();
        }
      });
    };
    const look = ({ network, netns }: HostNetworkBench): Promise<NetworkFacts> =>
      readFacts(network, netns, [...steps, ...removals]);

    bench("brings every step into effect, and every removal", async (made) => {
      const { network, netns } = made;
      assert.deepEqual(missingSteps(steps, await look(made)), steps);
      await network.apply(steps, { netns });
      const after = await look(made);
      assert.deepEqual(missingSteps(steps, after), []);
      assert.deepEqual(missingSteps(removals, after), removals);
      await network.apply(removals, { netns });
      assert.deepEqual(missingSteps(removals, await look(made)), []);
      assert.deepEqual(
        (await network.readPod(netns))?.links.filter((link) => !link.isLoopback),
        [],
      );
    });

    bench("takes removals of what is not there, and some of what is", async (made) => {
      const { network, netns } = made;
      const tolerant = removals.filter((step) => step.do !== "no address");
      await network.apply(tolerant, { netns });
      await network.apply(steps.slice(0, 10), { netns });
      await network.apply(tolerant.toReversed(), { netns });
      await network.apply(tolerant, { netns });
      const facts = await look(made);
      const isGone = (step: NetStep) => isInEffect(step, facts);
      assert.ok(removals.filter((step) => step.do !== "no proxy").every(isGone));
    });

    bench("names the step that failed and keeps those before it", async (made) => {
      const { network, netns } = made;
      const wrong: NetStep = { do: "up", place: "host", link: "nothing" };
      await assert.rejects(
        network.apply([...steps.slice(0, 2), wrong, ...steps.slice(2)], { netns }),
        (error) =>
          error instanceof WorldError &&
          error.code === "NETWORK_CHANGE_FAILED" &&
          /nothing up on the host/.test(error.message),
      );
      const facts = await look(made);
      assert.deepEqual(missingSteps(steps.slice(0, 2), facts), []);
      assert.ok(!isInEffect(steps[2] as NetStep, facts));
    });

    bench("leaves a device alone that carries another mark", async (made) => {
      const { network, netns } = made;
      await network.apply(steps.slice(0, 1), { netns });
      const other: NetStep = { do: "no link", place: "host", name: "br9", alias: "somebody's" };
      const facts = await look(made);
      assert.ok(isInEffect(other, facts));
      assert.deepEqual(missingSteps([other], facts), []);
    });

    bench("says that a pod is gone, and removes from the host what is left of it", async (made) => {
      const { network, netns } = made;
      await network.apply(steps, { netns });
      await made.removePod();
      assert.equal(await network.readPod(netns), undefined);
      await network.apply(removals, { netns: undefined });
      const facts = await readFacts(network, netns, removals);
      assert.deepEqual(missingSteps(removals, facts), []);
      await assert.rejects(network.apply(steps, { netns: undefined }), WorldError);
    });

    bench("reads the routes that it is asked for, and values that exist", async (made) => {
      const { network, netns } = made;
      await network.apply(steps, { netns });
      const none = await network.readHost({ routesOf: ["nothing"], routesTo: [] });
      assert.deepEqual(none.routes, []);
      const exact = await network.readHost({ routesOf: [], routesTo: ["10.70.0.101/32"] });
      assert.deepEqual(
        exact.routes.map(({ dst, link, src }) => [dst, link, src]),
        [["10.70.0.101/32", "br9", "10.72.0.1"]],
      );
      assert.deepEqual(
        await network.readSysctls(undefined, ["net/ipv4/conf/v-h1/proxy_arp", "net/no/such"]),
        { "net/ipv4/conf/v-h1/proxy_arp": "1" },
      );
    });
  });
}
