// The plugins' configuration and the addresses that they are given: defaults, and every mistake with its field, value and remedy.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressSource, parseIpInfos, parseNetworkConfig } from "./network-config.ts";

function configOf(json: Readonly<Record<string, unknown>>) {
  const parsed = parseNetworkConfig({ name: "n", ...json }, "galaxy-k8s-vlan");
  assert.ok(parsed.kind === "config", JSON.stringify(parsed));
  return parsed.config;
}

test("what is not said has the established default, but for ipvlan, which neighbours could not reach", () => {
  assert.deepEqual(configOf({ device: "eth0" }), {
    mode: "bridge",
    ipvlanMode: "l2",
    devices: ["eth0"],
    makesDefaultBridge: true,
    defaultBridge: "docker",
    bridgePrefix: "docker",
    vlanPrefix: "vlan",
    mtu: undefined,
    mayMoveAddresses: false,
    checksConflicts: true,
    hasNodeAccess: true,
    defaultAddress: 0,
    routes: [],
    mostFunctions: 256,
    spoofCheck: undefined,
    trust: undefined,
  });
  assert.deepEqual(configOf({ device: "", devices: ["eth1", "eth0"] }).devices, ["eth1", "eth0"]);
  assert.deepEqual(configOf({ device: "eth0", devices: ["eth1"] }).devices, ["eth0"]);
  const underlay = parseNetworkConfig({ device: "eth0", switch: "bridge" }, "galaxy-underlay-veth");
  assert.equal(underlay.kind === "config" && underlay.config.mode, "underlay-veth");
  const sriov = parseNetworkConfig(
    { device: "ens1", vf_num: 4, spoof_check: false, trust: true },
    "galaxy-k8s-sriov",
  );
  assert.ok(sriov.kind === "config");
  const { mode, mostFunctions, spoofCheck, trust } = sriov.config;
  assert.deepEqual([mode, mostFunctions, spoofCheck, trust], ["sriov", 4, false, true]);
  const all = parseNetworkConfig({ device: "ens1", vf_num: -1 }, "galaxy-k8s-sriov");
  assert.equal(all.kind === "config" && all.config.mostFunctions, 256);
});

test("every mistake is said with field, value and remedy", () => {
  const cases: [Readonly<Record<string, unknown>>, RegExp][] = [
    [{}, /neither device nor devices/],
    [{ device: 5 }, /device is 5; write the names/],
    [{ device: "eth0\nup" }, /device: .*characters that no interface should have/],
    [{ device: "eth0", switch: "brigde" }, /switch is "brigde"; write one of bridge, pure/],
    [{ device: "eth0", ipvlan_mode: "l4" }, /ipvlan_mode is "l4"/],
    [{ device: "eth0", mtu: 100 }, /mtu is 100; write at least 576/],
    [{ device: "eth0", mtu: "1500" }, /mtu is "1500"; write a whole number/],
    [{ device: "eth0", vlan_name_prefix: "much-too-long" }, /vlan_name_prefix .* at most 11/],
    [{ device: "eth0", conflict_check: "no" }, /conflict_check is "no"; write true or false/],
    [{ device: "eth0", routes: [{ dst: "x" }] }, /routes\[0\] is \{"dst":"x"\}/],
    [{ device: "eth0", routes: {} }, /routes is \{\}; write a list/],
    [{ device: "eth0", switch: 1, mtu: -1 }, /switch is 1.*; mtu is -1/],
  ];
  for (const [json, message] of cases) {
    const parsed = parseNetworkConfig({ name: "n", ...json }, "galaxy-k8s-vlan");
    assert.ok(parsed.kind === "refused", JSON.stringify(json));
    assert.equal(parsed.code, 7);
    assert.match(parsed.message, /^configuration of network n: /);
    assert.match(parsed.message, message);
  }
});

test("addresses come from ipinfos, else from runtimeConfig, else from the IPAM plugin", () => {
  const infos = 'ipinfos=[{"ip":"10.0.0.5/24","vlan":2,"gateway":"10.0.0.1"}]';
  const config = { runtimeConfig: { ips: ["10.0.0.6/24"] }, ipam: { type: "host-local" } };
  const grant = { ip: "10.0.0.5", prefix: 24, vlan: 2, gateway: "10.0.0.1" };
  assert.deepEqual(addressSource(config, infos), { kind: "grants", grants: [grant] });
  assert.deepEqual(addressSource(config, "a=b"), {
    kind: "grants",
    grants: [{ ip: "10.0.0.6", prefix: 24, vlan: 0, gateway: undefined }],
  });
  assert.deepEqual(addressSource({ ipam: config.ipam }, ""), { kind: "ipam", type: "host-local" });
  const none = addressSource({}, "");
  assert.match(none.kind === "refused" ? none.message : "", /neither ipInfo from cni args/);
});

test("an address that is not whole is refused, and never half used", () => {
  const good = { ip: "10.0.0.5/24", vlan: 0, gateway: "10.0.0.1" };
  const cases: [unknown, RegExp][] = [
    [[], /a list of 1 to 32 addresses/],
    [{}, /a list of 1 to 32/],
    [[good, {}], /\[1\]: \{\} has no address/],
    [[{ ip: "10.0.0.5/33" }], /no usable prefix/],
    [[{ ip: "10.0.0.5/0" }], /no usable prefix/],
    [[{ ip: "10.0.0.5/24 dev eth0" }], /no usable prefix/],
    [[{ ...good, vlan: 4095 }], /vlan is 4095/],
    [[{ ...good, vlan: "2" }], /vlan is "2"/],
    [[{ ...good, gateway: "fd00::1" }], /gateway is "fd00::1"; an address of the family/],
    [[good, good], /10\.0\.0\.5 stands twice/],
  ];
  for (const [json, message] of cases) {
    const source = parseIpInfos(json, "ipinfos");
    assert.ok(source.kind === "refused", JSON.stringify(json));
    assert.equal(source.code, 100);
    assert.match(source.message, message);
  }
});

test("no value makes the parsers throw", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), (value, args) => {
      const json = { device: value, switch: value, routes: value, mtu: value, ipam: value };
      assert.ok(["config", "refused"].includes(parseNetworkConfig(json, "galaxy-k8s-vlan").kind));
      assert.ok(typeof addressSource({ runtimeConfig: value }, args).kind === "string");
      assert.ok(typeof parseIpInfos(value, "x").kind === "string");
    }),
  );
});
