// The command line and the JSON configuration as operators write them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatCidr } from "../core/ip-range.ts";
import type { IpamFlags } from "./ipam-options.ts";
import {
  defaultFileConfig,
  parseDurationMs,
  parseIpamFileConfig,
  parseIpamFlags,
} from "./ipam-options.ts";

function flagsOf(...argv: string[]): IpamFlags {
  const parse = parseIpamFlags(argv);
  assert.equal(parse.kind, "flags", JSON.stringify(parse));
  return (parse as { flags: IpamFlags }).flags;
}

function warningsOf(...argv: string[]): readonly string[] {
  const parse = parseIpamFlags(argv);
  assert.equal(parse.kind, "flags", JSON.stringify(parse));
  return (parse as { warnings: readonly string[] }).warnings;
}

function problemsOf(...argv: string[]): readonly string[] {
  const parse = parseIpamFlags(argv);
  assert.equal(parse.kind, "invalid", JSON.stringify(parse));
  return (parse as { problems: readonly string[] }).problems;
}

describe("parseIpamFlags", () => {
  test("has the Go program's defaults, except that it listens on loopback only", () => {
    assert.deepEqual(flagsOf(), {
      configFile: { path: "/etc/galaxy/galaxy-ipam.json", isGiven: false },
      bindAddress: "127.0.0.1",
      port: 9040,
      apiPort: 9041,
      tlsCertFile: "",
      tlsKeyFile: "",
      extenderClientCaFile: "",
      apiClientCaFile: "",
      insecureApi: false,
      historyMs: 14 * 24 * 3_600_000,
      historyChanges: 100_000,
      kubeconfig: "",
      master: "",
      stateFolder: "",
      withExample: true,
      kubeApiQps: 1000,
      kubeApiBurst: 2000,
      leaderElect: true,
      leaseMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2_000,
      leaseName: "galaxy-ipam",
      leaseNamespace: "kube-system",
      floatingipsFile: "",
      resyncIntervalMs: undefined,
      reuseDelayMs: 10_000,
      holdMs: 30_000,
      poolNamespace: "",
      filterTimeoutMs: 4_500,
      bindTimeoutMs: 25_000,
      servesVips: true,
      vipReadsCalico: true,
      vipRefused: [],
      vipLeaseNamespace: "galaxy-vip",
      profiling: false,
      verbosity: 0,
    });
    assert.deepEqual(warningsOf(), []);
  });

  test("reads one dash or two, a value after = or as the next word, and switches without a value", () => {
    for (const argv of [
      ["--port=9140", "--v=3", "--leader-elect=false", "--kubeconfig=/k"],
      ["-port=9140", "-v=3", "-leader-elect=false", "-kubeconfig=/k"],
      ["--port", "9140", "-v", "3", "--leader-elect=F", "--kubeconfig", "/k"],
      ["-port", "9140", "--v", "3", "--leader_elect=0", "-kubeconfig", "/k"],
    ]) {
      const flags = flagsOf(...argv);
      assert.deepEqual(
        [flags.port, flags.verbosity, flags.leaderElect, flags.kubeconfig],
        [9140, 3, false, "/k"],
        argv.join(" "),
      );
    }
    assert.equal(flagsOf("--leader-elect=false", "--leader-elect").leaderElect, true);
    assert.equal(flagsOf("--kubeconfig=").kubeconfig, "");
    assert.equal(flagsOf("--master=https://a?b=c").master, "https://a?b=c");
    assert.equal(flagsOf("-v", "-1").verbosity, -1);
  });

  test("the last of a flag given twice counts", () => {
    assert.equal(flagsOf("--port=1", "--port=2").port, 2);
  });

  test("reads every flag of its own", () => {
    const flags = flagsOf(
      "--config=/c.json",
      "--bind=0.0.0.0",
      "--api-port=0",
      "--floatingips=/f.json",
      "--resync-interval=500ms",
      "--reuse-delay=0",
      "--hold-ttl=1m30s",
      "--pool-namespace=ns",
      "--kube-api-qps=10",
      "--kube-api-burst=20",
      "--filter-timeout=2s",
      "--bind-timeout=3s",
      "--tls-cert-file=/c",
      "--tls-private-key-file=/k",
      "--leader-elect-lease-duration=3s",
      "--leader-elect-renew-deadline=2s",
      "--leader-elect-retry-period=500ms",
      "--leader-elect-resource-name=n",
      "--leader-elect-resource-namespace=m",
    );
    assert.deepEqual(flags, {
      ...flagsOf(),
      configFile: { path: "/c.json", isGiven: true },
      bindAddress: "0.0.0.0",
      apiPort: 0,
      floatingipsFile: "/f.json",
      resyncIntervalMs: 500,
      reuseDelayMs: 0,
      holdMs: 90_000,
      poolNamespace: "ns",
      kubeApiQps: 10,
      kubeApiBurst: 20,
      filterTimeoutMs: 2_000,
      bindTimeoutMs: 3_000,
      tlsCertFile: "/c",
      tlsKeyFile: "/k",
      leaseMs: 3_000,
      renewDeadlineMs: 2_000,
      retryPeriodMs: 500,
      leaseName: "n",
      leaseNamespace: "m",
    });
  });

  test("the arguments of the Go system's manifest are taken, with warnings for what has no effect", () => {
    const warnings = warningsOf(
      "--logtostderr=false",
      "--log-dir=/data/galaxy-ipam/logs",
      "--profiling",
      "--v=4",
      "--config=/etc/galaxy/galaxy-ipam.json",
      "--port=9040",
      "--leader-elect",
    );
    assert.equal(warnings.length, 2);
    assert.match(warnings[0] ?? "", /^--logtostderr has no effect: logs are JSON lines/);
    assert.match(warnings[1] ?? "", /^--log_dir has no effect/);
  });

  test("D-37: --swagger is said to have no effect, --profiling is off unless it is asked for", () => {
    assert.match(warningsOf("--swagger")[0] ?? "", /^--swagger has no effect: the API description/);
    assert.deepEqual(warningsOf("--swagger=false", "--profiling=false", "--logtostderr"), []);
    for (const [argv, expected] of [
      [[], false],
      [["--profiling"], true],
      [["--profiling=false"], false],
    ] as const) {
      const parsed = parseIpamFlags(argv);
      assert.equal(parsed.kind === "flags" && parsed.flags.profiling, expected);
    }
  });

  test("other flags of klog are taken with a warning each", () => {
    const warnings = warningsOf(
      "--alsologtostderr",
      "--stderrthreshold=INFO",
      "--vmodule=a=1",
      "--log_file=/x",
      "--log-flush-frequency=5s",
      "--leader-elect-resource-lock=endpoints",
    );
    assert.equal(warnings.length, 6);
  });

  for (const [argv, problem] of [
    [["--prot=1"], "there is no flag --prot; see --help"],
    [["--apiport=1"], "there is no flag --apiport; did you mean --api-port?"],
    [["--leader", "x"], "there is no flag --leader; did you mean --leader-elect?"],
    [["serve"], '"serve" is not a flag; galaxy-ipam takes flags only, see --help'],
    [["--"], '"--" is not a flag; galaxy-ipam takes flags only, see --help'],
    [["--port"], "--port needs a value, for example --port=9040"],
    [["--port=70000"], "--port=70000: not a port from 0 (any free one) to 65535"],
    [["--port", "nine"], "--port=nine: not a port from 0 (any free one) to 65535"],
    [["--v=high"], "--v=high: not a whole number"],
    [["--leader-elect=maybe"], "--leader-elect=maybe: neither true nor false"],
    [["--hold-ttl=30"], "--hold-ttl=30: not a duration such as 500ms, 15s or 1m30s"],
    [["--hold-ttl=0"], "--hold-ttl must be above 0"],
    [["--kube-api-qps=0"], "--kube-api-qps must be above 0"],
    [["--resync-interval=0s"], "--resync-interval must be above 0"],
    [["--port=9041"], "--port and --api-port are both 9041; they are two servers"],
    [["--tls-cert-file=/c"], "--tls-cert-file and --tls-private-key-file are needed together"],
    [
      ["--leader-elect-lease-duration=5s"],
      "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline",
    ],
    [
      ["--leader-elect-retry-period=9s"],
      "--leader-elect-renew-deadline must be longer than 1.2 times --leader-elect-retry-period",
    ],
  ] as const) {
    test(`${argv.join(" ")} is refused with the way out`, () => {
      assert.deepEqual(problemsOf(...argv), [problem]);
    });
  }

  test("all problems are said at once", () => {
    assert.equal(problemsOf("--prot=1", "--v=x", "--port").length, 3);
  });

  test("--help lists every flag with its default, and those without effect", () => {
    const parse = parseIpamFlags(["--port=1", "-h"]);
    assert.equal(parse.kind, "help");
    const text = (parse as { text: string }).text;
    assert.match(text, / {2}--port port\n {8}port of the scheduler extender \(default 9040\)\n/);
    assert.match(text, / {2}--leader-elect\n/);
    assert.match(text, / {2}--swagger: the API description comes/);
    assert.ok(text.split("\n").every((line) => line.length < 140));
  });

  test("--vip-refuse takes addresses and blocks, and nothing else", () => {
    const parse = parseIpamFlags(["--vip-refuse=10.96.0.0/12, 2001:db8::1", "--vip=false"]);
    assert.equal(parse.kind, "flags");
    assert.deepEqual(parse.flags.vipRefused.map(formatCidr), ["10.96.0.0/12", "2001:db8::1/128"]);
    assert.equal(parse.flags.servesVips, false);
    const wrong = parseIpamFlags(["--vip-refuse=10.96.0.0/33"]);
    assert.equal(wrong.kind, "invalid");
    assert.match(
      wrong.problems.join(),
      /--vip-refuse=10\.96\.0\.0\/33: not addresses or CIDR blocks/,
    );
  });

  test("--version is seen beside other flags", () => {
    assert.deepEqual(parseIpamFlags(["--v=2", "--version"]), { kind: "version" });
  });

  test("no words make it fail otherwise than with problems", () => {
    const words = fc.oneof(
      fc.string(),
      fc.string().map((text) => `--${text}`),
      fc.constantFrom("--__proto__=1", "--constructor", "--toString=x", "-", "---v=1", "--=1"),
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 4 }), (argv) => {
        assert.ok(["flags", "invalid", "help", "version"].includes(parseIpamFlags(argv).kind));
      }),
    );
  });
});

describe("parseDurationMs", () => {
  for (const [text, ms] of [
    ["0", 0],
    ["0s", 0],
    ["15s", 15_000],
    ["1m30s", 90_000],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["250ms", 250],
    ["100us", 0.1],
    ["", undefined],
    ["15", undefined],
    ["-1s", undefined],
    ["1 s", undefined],
    ["s", undefined],
    ["1d", undefined],
    ["25000h", undefined],
  ] as const) {
    test(`"${text}" is ${ms} ms`, () => assert.equal(parseDurationMs(text), ms));
  }
});

describe("parseIpamFileConfig", () => {
  const parse = (text: string) => parseIpamFileConfig(text, "ipam.json");

  test("case 25: reads names, interval and inline subnets", () => {
    const floatingips = [{ nodeSubnets: ["10.0.0.0/16"], ips: ["10.0.70.2"] }];
    const text = JSON.stringify({
      schedule_plugin: {
        floatingips,
        resyncInterval: 3,
        configMapName: "c",
        configMapNamespace: "n",
        floatingipKey: "k",
      },
    });
    assert.deepEqual(parse(text), {
      kind: "config",
      config: {
        floatingipsText: JSON.stringify(floatingips),
        resyncIntervalMs: 180_000,
        configMapName: "c",
        configMapNamespace: "n",
        floatingipKey: "k",
      },
      warnings: [],
    });
  });

  test("what is absent, empty or null has the Go program's default", () => {
    for (const text of [
      "{}",
      '{"schedule_plugin":{}}',
      '{"schedule_plugin":null}',
      '{"schedule_plugin":{"configMapName":"","floatingips":[],"resyncInterval":0}}',
      '{"schedule_plugin":{"floatingips":null,"resyncInterval":0.2,"floatingipKey":null}}',
    ]) {
      assert.deepEqual(parse(text), { kind: "config", config: defaultFileConfig, warnings: [] });
    }
  });

  test("names are found in any case, as the Go program finds them", () => {
    const outcome = parse('{"Schedule_Plugin":{"configmapname":"c","RESYNCINTERVAL":2}}');
    assert.deepEqual(outcome, {
      kind: "config",
      config: { ...defaultFileConfig, configMapName: "c", resyncIntervalMs: 120_000 },
      warnings: [],
    });
  });

  test("unknown members, former ones and names that stand twice are warnings", () => {
    const outcome = parse(
      '{"other":1,"schedule_plugin":{"constructor":"x","cloudProviderGrpcAddr":"a","resyncInterval":1,"resyncInterval":2}}',
    );
    assert.equal(outcome.kind, "config");
    assert.deepEqual((outcome as { warnings: readonly string[] }).warnings, [
      "ipam.json: schedule_plugin.resyncInterval stands twice; the last counts",
      "ipam.json: unknown member other is ignored",
      "ipam.json: unknown member schedule_plugin.constructor is ignored",
      "ipam.json: schedule_plugin.cloudProviderGrpcAddr is ignored: there is no cloud provider any more",
    ]);
  });

  for (const [text, problem] of [
    ["{", /^ipam.json is no JSON: line 1, column 2/],
    ["", /^ipam.json is no JSON/],
    ["[]", /^ipam.json is \[\], not \{"schedule_plugin": \{…\}\}$/],
    ['{"schedule_plugin":[]}', /schedule_plugin is \[\], not an object/],
    [
      '{"schedule_plugin":{"configMapName":7}}',
      /configMapName is 7; write a text such as "floatingip-config" or leave it out/,
    ],
    [
      '{"schedule_plugin":{"resyncInterval":"5"}}',
      /resyncInterval is "5"; write minutes as a number from 1 to 1440 or leave it out/,
    ],
    ['{"schedule_plugin":{"resyncInterval":-1}}', /resyncInterval is -1; write minutes/],
    [
      '{"schedule_plugin":{"floatingips":"[]"}}',
      /floatingips is "\[\]"; write the list of pod subnets itself, not its text/,
    ],
  ] as const) {
    test(`${text || "an empty file"} is refused with one clear problem`, () => {
      const outcome = parse(text);
      assert.equal(outcome.kind, "invalid");
      const { problems } = outcome as { problems: readonly string[] };
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? "", problem);
    });
  }

  test("no text makes it fail otherwise than with problems", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        assert.ok(["config", "invalid"].includes(parse(text).kind));
        parse(`{"schedule_plugin":${text}}`);
      }),
    );
  });
});
