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
    warnings: [
      'f: network "galaxy-flannel" is not in NetworkConf; pods that want it need a file of --network-conf-dir with that name',
    ],
  });
});

test("members are read in any case, as Go reads them, and unknown ones are told", () => {
  const text = JSON.stringify({
    networkconf: [{ type: "a" }],
    DEFAULTNETWORKS: ["a"],
    eniipnetwork: null,
    NetworkPolicy: true,
  });
  const parsed = parseNodeConfig(text, "f");
  assert.ok(parsed.kind === "config");
  assert.deepEqual(parsed.config.defaultNetworks, ["a"]);
  assert.equal(parsed.config.floatIpNetwork, "");
  assert.deepEqual(parsed.warnings, [
    'f: "NetworkPolicy" is none of NetworkConf, DefaultNetworks, ENIIPNetwork; remove it',
  ]);
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

test("the Go daemon's whole command line is accepted; what has no effect is told, what happens anyway is not", () => {
  const argv =
    "--master= --kubeconfig=/k --route-eni=false --network-policy --pprof=false --gc-dirs /a,/b --flannel-gc-interval=10s --flannel-allocated-ip-dir=/c --logtostderr=true --v 3 --vmodule x=1 --alsologtostderr";
  const parsed = parseNodeOptions(argv.split(" "));
  assert.ok(parsed.kind === "options", JSON.stringify(parsed));
  assert.equal(parsed.options.garbageMs, 10_000);
  assert.equal(parsed.options.verbosity, 3);
  assert.deepEqual(
    parsed.warnings.map((warning) => warning.split(" ")[0]),
    [
      "--network-policy",
      "--gc-dirs",
      "--flannel-allocated-ip-dir",
      "--vmodule",
      "--alsologtostderr",
    ],
  );
  assert.equal(parseNodeOptions(["--version"]).kind, "version");
});

test("where the runtime and the metrics are can be said as others say it", () => {
  const options = (flag: string) => {
    const parsed = parseNodeOptions([flag]);
    assert.ok(parsed.kind === "options", flag);
    return parsed.options;
  };
  const endpoint = (text: string) =>
    options(`--container-runtime-endpoint=${text}`).runtimeEndpoint;
  assert.deepEqual(endpoint("unix:///run/a.sock"), { kind: "socket", path: "/run/a.sock" });
  assert.deepEqual(endpoint("/run/a.sock"), { kind: "socket", path: "/run/a.sock" });
  assert.deepEqual(endpoint(""), { kind: "find" });
  assert.deepEqual(endpoint("none"), { kind: "none" });
  const address = (text: string) => options(`--metrics-address=${text}`).metricsAddress;
  assert.deepEqual(address("[::1]:1"), { host: "::1", port: 1 });
  assert.deepEqual(address(":9042"), { host: "0.0.0.0", port: 9042 });
  assert.equal(address("none"), undefined);
  for (const flag of [
    "--container-runtime-endpoint=tcp://x",
    "--metrics-address=9042",
    "--metrics-address=a:70000",
    "--gc-min-age=-1",
    "--repair-interval=0",
    "--flannel-gc-interval=soon",
  ]) {
    assert.equal(parseNodeOptions([flag]).kind, "invalid", flag);
  }
});

test("no text makes the parsers throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      parseNodeConfig(text, "f");
      parseNetworkFile(text);
      parsePodState(text);
      assert.ok(["options", "invalid", "help", "version"].includes(parseNodeOptions([text]).kind));
    }),
  );
});
