// The daemon's configuration, command line, calls and state files: what is read, what is refused, and the Go daemon's files.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  formatSocketCall,
  parseNetworkFile,
  parseNodeConfig,
  parsePodState,
  parseSocketCall,
} from "./node-config.ts";
import { parseNodeOptions } from "./node-options.ts";

test("the Go daemon's configuration is read; a network without a name has that of its type", () => {
  const text = JSON.stringify({
    NetworkConf: [
      { name: "tke-route-eni", type: "tke-route-eni", eni: "eth1" },
      { type: "galaxy-k8s-vlan", device: "eth0" },
      { name: "list", cniVersion: "1.0.0", plugins: [{ type: "a" }, { type: "portmap" }] },
    ],
    DefaultNetworks: ["galaxy-flannel"],
    ENIIPNetwork: "galaxy-k8s-vlan",
  });
  assert.deepEqual(parseNodeConfig(text, "f"), {
    kind: "config",
    config: {
      networks: [
        {
          name: "tke-route-eni",
          plugins: [{ name: "tke-route-eni", type: "tke-route-eni", eni: "eth1" }],
        },
        {
          name: "galaxy-k8s-vlan",
          plugins: [{ name: "galaxy-k8s-vlan", type: "galaxy-k8s-vlan", device: "eth0" }],
        },
        {
          name: "list",
          plugins: [
            { cniVersion: "1.0.0", type: "a", name: "list" },
            { cniVersion: "1.0.0", type: "portmap", name: "list" },
          ],
        },
      ],
      defaultNetworks: ["galaxy-flannel"],
      floatIpNetwork: "galaxy-k8s-vlan",
    },
  });
});

test("a broken configuration is refused with every problem", () => {
  const cases: [string, RegExp][] = [
    ["{", /f is no JSON/],
    ["[]", /f is no JSON object/],
    ['{"NetworkConf":{}}', /NetworkConf is no list/],
    ['{"NetworkConf":[{}]}', /NetworkConf\[0\] \{\} has no type/],
    ['{"NetworkConf":[{"type":"galaxy-sdn"}]}', /galaxy-sdn, which is the daemon itself/],
    ['{"NetworkConf":[{"type":"a"},{"type":"a"}]}', /network a stands twice/],
    ['{"DefaultNetworks":[1]}', /DefaultNetworks is \[1\]/],
    ['{"ENIIPNetwork":1}', /ENIIPNetwork is 1/],
  ];
  for (const [text, problem] of cases) {
    const parsed = parseNodeConfig(text, "f");
    assert.ok(parsed.kind === "invalid", text);
    assert.match(parsed.problems.join("; "), problem);
  }
  assert.equal(parseNetworkFile('{"name":"x","type":"galaxy-sdn"}'), undefined);
});

test("a call carries CNI's variables and nothing else of the runtime's environment", () => {
  const env = { CNI_COMMAND: "ADD", CNI_ARGS: "a=b", SECRET: "s", PATH: "/bin" };
  const call = parseSocketCall(formatSocketCall(env, "e30="));
  assert.deepEqual(call, {
    env: {
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: "",
      CNI_NETNS: "",
      CNI_IFNAME: "",
      CNI_ARGS: "a=b",
      CNI_PATH: "",
    },
    config: "e30=",
  });
  for (const text of ["", "{}", "[]", '{"env":1,"config":"x"}', '{"env":{},"config":1}']) {
    assert.equal(parseSocketCall(text), undefined, text);
  }
});

test("the Go daemon's state file is read; one that was cut is not", () => {
  const text = '[{"NetworkType":"n","Args":{"ipinfos":"[]"},"Conf":{"type":"t"},"IfName":"eth0"}]';
  assert.deepEqual(parsePodState(text), JSON.parse(text));
  for (let length = 0; length < text.length; length += 1) {
    assert.equal(parsePodState(text.slice(0, length)), undefined);
  }
});

test("flags are read as Go reads them, those without effect are told, and mistakes are said", () => {
  const parsed = parseNodeOptions([
    "--json-config-path=/a",
    "-network-conf-dir",
    "/b",
    "--ip-forward=false",
    "--route-eni",
    "--cni-paths=/x,/y",
    "--hostname-override=Node1",
  ]);
  assert.ok(parsed.kind === "options");
  const { options, warnings } = parsed;
  assert.deepEqual(
    [options.configPath, options.networkConfFolder, options.forwards, options.hostname],
    ["/a", "/b", false, "node1"],
  );
  assert.deepEqual(options.pluginFolders, ["/x", "/y"]);
  assert.equal(options.socket, "/var/run/galaxy/galaxy.sock");
  assert.match(warnings.join(), /--route-eni has no effect/);
  for (const argv of [["x"], ["--nothing"], ["--socket"], ["--ip-forward=maybe"], ["--v=x"]]) {
    assert.equal(parseNodeOptions(argv).kind, "invalid", argv.join(" "));
  }
  const help = parseNodeOptions(["--help"]);
  assert.match(help.kind === "help" ? help.text : "", /--repair-interval/);
});

test("no text makes the parsers throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      parseNodeConfig(text, "f");
      parseNetworkFile(text);
      parsePodState(text);
      assert.ok(["options", "invalid", "help"].includes(parseNodeOptions([text]).kind));
    }),
  );
});
