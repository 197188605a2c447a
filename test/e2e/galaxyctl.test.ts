// galaxyctl as a program in front of the real HTTP API over the control plane in memory: what it prints, asks and ends with.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aNode, aPod, aPodSubnet, controlledBy } from "../builders.ts";
import { Galaxyctl, type Run } from "../control-plane/galaxyctl.ts";

let api: ApiWorld;
let ctl: Galaxyctl;

async function ok(...args: readonly string[]): Promise<Run> {
  const run = await ctl.run(args);
  assert.equal(run.code, 0, run.stderr);
  return run;
}

/** Runs commands that change nothing, all at once: each ends with a code and says what is wrong. */
async function refuses(
  cases: readonly (readonly [args: readonly string[], code: number, message: RegExp])[],
): Promise<void> {
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const run = await ctl.run(args);
      assert.deepEqual([args, run.code], [args, code], run.stderr);
      assert.match(run.stderr, message);
    }),
  );
}

describe("galaxyctl", () => {
  before(async () => {
    api = await ApiWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"], vlan: 2 })]);
    const { cluster } = api.world;
    cluster.putNode(aNode("n1", "10.0.1.1"));
    cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
    for (const name of ["db-0", "db-1"]) {
      const controller = controlledBy("apps/v1", "StatefulSet", "db");
      await api.world.schedule(aPod({ name, policy: "immutable", controller }));
    }
    ctl = new Galaxyctl({ GALAXY_SERVER: api.url });
  });
  after(() => api.close());

  describe("galaxyctl in front of the API", () => {
    test("lists addresses in use as a table", async () => {
      const { stdout, stderr } = await ok("ip", "list", "--state", "bound");
      assert.equal(
        stdout,
        [
          "IP         STATE  NAMESPACE  WORKLOAD        POD   POOL  POLICY     PHASE",
          "10.0.70.2  bound  ns1        statefulset/db  db-0  -     immutable  Running",
          "10.0.70.3  bound  ns1        statefulset/db  db-1  -     immutable  Running",
          "",
        ].join("\n"),
      );
      assert.equal(stderr, "");
    });

    test("fits the terminal, and cuts nothing when asked for wide", async () => {
      const narrow = await ctl.run(["ip", "list", "--app", "db"], { env: { COLUMNS: "60" } });
      for (const line of narrow.stdout.split("\n")) assert.ok(line.length <= 60, line);
      assert.match(narrow.stdout, /^10\.0\.70\.2 {2}bound /m);
      const wide = await ctl.run(["ip", "list", "--app", "db", "-o", "wide"], {
        env: { COLUMNS: "60" },
      });
      assert.match(wide.stdout, /10\.0\.70\.0\/24.*uid-ns1-db-0/);
    });

    test("colours only where it is asked to, or on a terminal", async () => {
      const color = (env: Readonly<Record<string, string>>, ...more: readonly string[]) =>
        ctl.run(["ip", "list", "--state", "bound", ...more], { env });
      const runs = await Promise.all([
        color({}),
        color({ FORCE_COLOR: "1" }),
        color({ FORCE_COLOR: "1", NO_COLOR: "1" }),
        color({ FORCE_COLOR: "1" }, "--no-color"),
      ]);
      assert.deepEqual(
        runs.map(({ stdout }) => stdout.includes("\u001b[")),
        [false, true, false, false],
      );
    });

    test("gives JSON and YAML of everything, and a table of as much as one reads", async () => {
      const json = JSON.parse((await ok("ip", "list", "-o", "json")).stdout) as { ip: string }[];
      assert.deepEqual(
        json.map(({ ip }) => ip),
        [2, 3, 4, 5, 6, 7, 8, 9].map((last) => `10.0.70.${last}`),
      );
      const none = await ok("ip", "list", "--app", "nobody", "-o", "json");
      assert.equal(none.stdout, "[]\n");
      const yaml = await ok("ip", "list", "-o", "yaml", "--limit", "1", "--sort", "ip desc");
      assert.match(yaml.stdout, /^- ip: 10\.0\.70\.9\n {2}policy: 0\n/);
      const table = await ok("ip", "list", "--limit", "3");
      assert.equal(table.stdout.split("\n").length, 1 + 3 + 1);
      assert.match(table.stderr, /^3 of 8 addresses; --all shows the rest/);
    });

    test("explains one address and one pod", async () => {
      const { stdout } = await ok("ip", "get", "10.0.70.2");
      assert.match(stdout, /^Address: +10\.0\.70\.2\nState: +bound\nNamespace: +ns1\n/);
      assert.match(stdout, /^- /m);
      const pod = await ok("explain", "pod", "ns1/db-0");
      assert.match(pod.stdout, /^Pod: +ns1\/db-0\nDecision: has address\n/);
      assert.match(pod.stdout, /10\.0\.70\.2 .*if the pod goes: /);
      const same = await ok("explain", "pod", "db-0", "-n", "ns1", "-o", "json");
      assert.equal((JSON.parse(same.stdout) as { decision: string }).decision, "has address");
      const gone = await ctl.run(["explain", "pod", "ns1/nobody"]);
      assert.equal(gone.code, 5);
      assert.match(gone.stdout, /Decision: not found/);
    });

    test("reserves and unreserves, and says of each address what became of it", async () => {
      const { stdout } = await ok("ip", "reserve", "10.0.70.8~10.0.70.9", "--reason", "printer");
      assert.equal(
        stdout,
        "IP         OUTCOME   REASON\n10.0.70.8  reserved  -\n10.0.70.9  reserved  -\n",
      );
      assert.match((await ok("ip", "get", "10.0.70.8")).stdout, /State: +admin\n[^]*printer/);
      const mixed = await ctl.run(["ip", "reserve", "10.0.70.2", "10.0.70.8"]);
      assert.equal(mixed.code, 1);
      assert.match(mixed.stdout, /^10\.0\.70\.2 {2}refused {3}.*db-0.*\n10\.0\.70\.8 {2}reserved/m);
      await ok("ip", "unreserve", "10.0.70.8", "10.0.70.9");
      const twice = await ctl.run(["ip", "unreserve", "10.0.70.8"]);
      assert.equal(twice.code, 5);
      assert.match(twice.stderr, /^galaxyctl: reservation of 10\.0\.70\.8: .*\(request /);
    });

    test("creates, lists and deletes pools, and says when addresses are missing", async () => {
      assert.match((await ok("pool", "create", "blue", "--size", "3")).stdout, /is set to size 3/);
      assert.match(
        (await ok("pool", "create", "blue", "--size", "4", "--dry-run")).stdout,
        /would be changed from size 3 to size 4/,
      );
      const short = await ctl.run(["pool", "create", "big", "--size", "99", "--pre-allocate"]);
      assert.equal(short.code, 1);
      assert.match(short.stdout, /has 6 of 99 addresses; free some or extend ips/);
      assert.match(
        (await ok("pool", "list")).stdout,
        /^NAME +SIZE .*\nbig +99 +yes +6 +0 +93 .*\nblue +3 +no +0 +0 +0 /,
      );
      const unasked = await ctl.run(["pool", "delete", "big", "--release"]);
      assert.equal(unasked.code, 2);
      assert.match(unasked.stderr, /Delete pool big and release its 6 addresses.*add --yes/);
      await ok("pool", "delete", "big", "--release", "--yes");
      await api.world.settle();
      await ok("pool", "delete", "blue", "--yes");
      assert.equal((await ctl.run(["pool", "delete", "blue", "--yes"])).code, 5);
      assert.match((await ok("pool", "list")).stderr, /^there are no pools; make one with/);
    });

    test("changes what is named of a pool and leaves the rest, its time of reservation too", async () => {
      const made = await ok("pool", "create", "blue", "--size", "3", "--reserve-ttl", "168h");
      assert.match(made.stdout, /is set to size 3; it has 0 addresses; reserve TTL 168h$/m);
      await ok("pool", "update", "blue", "--size", "2");
      const row = async () => (await ok("pool", "list")).stdout.split("\n")[1];
      assert.match(String(await row()), /^blue +2 +no +0 +0 +0 +168h/);
      await ok("pool", "update", "blue", "--reserve-ttl", "1h30m", "--pre-allocate");
      assert.match(String(await row()), /^blue +2 +yes +2 +0 +0 +1h30m/);
      const dry = await ok("pool", "update", "blue", "--reserve-ttl", "none", "--dry-run");
      assert.match(dry.stdout, /would be changed from size 2 to size 2; it has no reserve TTL/);
      await ok("pool", "update", "blue", "--reserve-ttl", "none", "--no-pre-allocate");
      assert.match(String(await row()), /^blue +2 +no +2 +0 +0 +- /);
      const grows = ["pool", "update", "blue", "--size", "none"];
      assert.match(
        (await ok(...grows, "--dry-run")).stdout,
        /would be changed from size 2 to growing with its workloads/,
      );
      await ok("pool", "update", "blue", "--pre-allocate");
      await refuses([[grows, 2, /pool blue takes its addresses before .* add --no-pre-allocate/]]);
      await ok(...grows, "--no-pre-allocate");
      assert.match(String(await row()), /^blue +grows +no +2 /);
      const update = ["pool", "update"];
      await refuses([
        [[...update, "blue", "--size", "-1"], 2, /'-1' is invalid.* from 0 on, or none\./],
        [[...update, "blue"], 2, /pool blue: nothing says what to change; name --size, --pre-/],
        [[...update, "blue", "--reserve-ttl", "1d"], 2, /--reserve-ttl: "1d" is no duration from/],
        [
          [...update, "green", "--size", "1"],
          5,
          /pool green: there is no Pool .*pool create green/,
        ],
      ]);
      await ok("pool", "delete", "blue", "--release", "--yes");
      await api.world.settle();
    });

    test("sets, lists and deletes quotas; raising one leaves whom it is for", async () => {
      assert.match((await ok("quota", "list")).stderr, /^there are no quotas; make one with/);
      const made = await ok("quota", "set", "team-a", "--limit", "2", "--for", "ns1", "ns2");
      assert.equal(made.stdout, "quota team-a: 2 addresses for ns1, ns2\n");
      await ok("quota", "set", "team-a", "--limit", "3");
      assert.equal(
        (await ok("quota", "list")).stdout.replace(/ +$/gm, ""),
        [
          "NAMESPACE  QUOTA   LIMIT  USED  PROMISED",
          "ns1        team-a      3     2         0",
          "ns2        team-a      3     0         0",
          "",
        ].join("\n"),
      );
      assert.match((await ok("quota", "list", "-n", "ns2")).stdout, /^NAMESPACE.*\nns2 .*\n$/);
      const all = await ok("quota", "set", "team-a", "--limit", "1", "--for-all");
      assert.match(all.stdout, /1 addresses for every namespace that no other quota names/);
      assert.match((await ok("quota", "list")).stdout, /^ns1 +team-a +1 +2 +0$/m);
      const set = ["quota", "set", "team-a", "--limit"];
      await refuses([
        [["quota", "set", "team-a"], 2, /required option '--limit <count>' not specified/],
        [[...set, "-1"], 2, /whole number/],
        [[...set, "1", "--for", "ns1", "--for-all"], 2, /--for and --for-all at once/],
        [["quota", "set", "Team", "--limit", "1"], 2, /quota Team: .*name must match pattern/],
        [[...set, "1", "--for", "A_b"], 2, /quota team-a: .*is "A_b"/],
        [["quota", "delete", "team-a"], 2, /Delete quota team-a\?.*add --yes/],
      ]);
      assert.match((await ok("quota", "delete", "team-a", "--yes")).stdout, /team-a is deleted/);
      const gone = await ctl.run(["quota", "delete", "team-a", "--yes"]);
      assert.equal(gone.code, 5);
      assert.match(gone.stderr, /there is no quota team-a/);
    });

    test("releases what no pod has, after showing it, and keeps what a pod has", async () => {
      assert.match((await ok("ip", "idle")).stderr, /^no reserved address is without a pod/);
      await api.world.deletePod({ namespace: "ns1", name: "db-1" });
      assert.match(
        (await ok("ip", "idle", "-n", "ns1")).stdout,
        /^IP +RESERVED FOR +IDLE SINCE +TTL .*\n10\.0\.70\.3 +pod ns1\/db-1 +\S+Z +none /,
      );
      const young = await ok("ip", "idle", "--longer-than", "24h", "-o", "json");
      assert.deepEqual(JSON.parse(young.stdout), []);
      const wrong = await ctl.run(["ip", "idle", "--longer-than", "soon"]);
      assert.equal(wrong.code, 2);
      assert.match(wrong.stderr, /idle addresses: .*"soon" is no duration such as 24h/);
      const dry = await ctl.run(["ip", "release", "--app", "db", "--dry-run"]);
      assert.equal(dry.code, 1);
      assert.match(
        dry.stdout,
        /10\.0\.70\.2 {2}kept .*Running.*\n10\.0\.70\.3 {2}would be released/,
      );
      const unasked = await ctl.run(["ip", "release", "10.0.70.3"]);
      assert.equal(unasked.code, 2);
      assert.match(unasked.stderr, /Release 1 address\? Nobody can answer here; add --yes/);
      const both = await ctl.run(["ip", "release", "-f", "-", "--yes"], {
        input: "10.0.70.2~10.0.70.3 # these two\n10.0.70.4",
      });
      assert.equal(both.code, 1);
      assert.equal(
        both.stdout.replace(/ +$/gm, ""),
        [
          "IP         OUTCOME   REASON",
          "10.0.70.2  kept      releasable is false, pod status Running (ns1/db-0)",
          "10.0.70.3  released  -",
          "10.0.70.4  released  it is free",
          "",
        ].join("\n"),
      );
      assert.match(both.stderr, /2 released, 1 kept/);
      const release = ["ip", "release", "--yes"];
      await refuses([
        [release, 2, /nothing says which addresses/],
        [
          [...release, "10.0.70.300"],
          2,
          /"10\.0\.70\.300" is neither one address nor a range.*Nothing was released/,
        ],
        [[...release, "10.0.70.2", "--app", "db"], 2, /named and filtered at once/],
        [[...release, "10.0.0.0~10.255.0.0"], 2, /more than 65536/],
      ]);
    });

    test("imports line by line and reports those that are refused", async () => {
      const csv =
        "ip,namespace,podName,appName,reserved\n10.0.70.5,ns1,db-1,db,\n10.9.9.9,ns1,db-0,db,\nx,,,,\n10.0.70.6,,,,yes\n";
      const dry = await ctl.run(["import", "-", "--dry-run"], { input: csv });
      assert.equal(dry.code, 1);
      assert.match(dry.stderr, /2 would be entered, 0 there already, 1 refused, 1 not readable/);
      const done = await ctl.run(["import", "-", "--yes"], { input: csv });
      assert.equal(done.code, 1);
      assert.match(done.stdout, /^line 4 +- +not readable +"x" is no address$/m);
      assert.match(done.stdout, /^line 3 +10\.9\.9\.9 +refused +/m);
      assert.match(done.stderr, /2 entered, 0 there already, 1 refused, 1 not readable/);
      const again = await ctl.run(["import", "-", "--yes", "-o", "json"], { input: csv });
      assert.match(again.stderr, /0 entered, 2 there already/);
      assert.equal((JSON.parse(again.stdout) as unknown[]).length, 4);
      const pods = JSON.stringify({ kind: "List", items: [{ kind: "Service", metadata: {} }] });
      const wrong = await ctl.run(["import", "-", "--yes"], { input: pods });
      assert.equal(wrong.code, 1);
      assert.match(wrong.stdout, /kind "Service" is not known/);
    });

    test("shows subnets, virtual IPs and the status", async () => {
      assert.match(
        (await ok("subnet", "list")).stdout,
        /^SUBNET +TOTAL +FREE .*\n10\.0\.70\.0\/24 +8 +\d /,
      );
      assert.match((await ok("vip", "list")).stderr, /there are no virtual IPs/);
      const { stdout } = await ok("status");
      assert.match(stdout, /^Server: +http:\/\/127\.0\.0\.1:\d+\/\nVersion: +1\.2\.3, embedded\n/);
      assert.match(stdout, /^Ready: +yes$/m);
    });

    test("checks, shows the plan, and repairs only when told to", async () => {
      const { cluster } = api.world;
      // The pod goes without an event: what a lost event leaves behind.
      cluster.live.pods.delete("ns1/db-0");
      cluster.cached.pods.delete("ns1/db-0");
      const found = await ctl.run(["check"]);
      assert.equal(found.code, 1);
      assert.match(found.stdout, /^warning +10\.0\.70\.2 +ns1\/db-0 +.*which is not there/m);
      assert.match(found.stderr, /--repair would repair 1 of them/);
      const unasked = await ctl.run(["check", "--repair"]);
      assert.equal(unasked.code, 2);
      assert.match(unasked.stderr, /what will be done:\n[^]*Do this repair\?/);
      assert.equal((await ctl.run(["check", "--repair", "--dry-run"])).code, 1);
      const repaired = await ok("check", "--repair", "--yes");
      assert.match(repaired.stdout, /^10\.0\.70\.2 +ns1\/db-0 +done /m);
      assert.match(repaired.stderr, /1 of 1 repairs done/);
      const clean = await ok("check");
      assert.match(clean.stderr, /^everything agrees$/m);
    });
  });

  describe("exit codes", () => {
    test("2 for a command line that is wrong, with what is there instead", async () => {
      await refuses([
        [["ip", "lits"], 2, /unknown command 'lits'[^]*Did you mean list\?/],
        [["ip", "list", "--limit", "0"], 2, /whole number from 1 on/],
        [["ip", "list", "-o", "xml"], 2, /Allowed choices are table, wide, json, yaml/],
        [["explain", "pod", "a/b/c"], 2, /"a\/b\/c" is no pod; write NAMESPACE\/NAME/],
        [["ip", "get", "10.0.70.256"], 2, /"10\.0\.70\.256" is not a valid ip/],
        [["history", "--at", "yesterday"], 2, /"yesterday" of --at is no time; write it like/],
        [
          ["config", "check", "/does/not/exist"],
          2,
          /\/does\/not\/exist .*cannot be read.*correct the path/,
        ],
      ]);
    });

    test("3 when no server answers, or something else does", async () => {
      const nobody = await ctl.run(["status", "--server", "http://127.0.0.1:1"]);
      assert.equal(nobody.code, 3);
      assert.match(
        nobody.stderr,
        /no answer from http:\/\/127\.0\.0\.1:1\/ \(--server\): .*ECONNREFUSED/,
      );
      const other = await ctl.run(["status", "--server", `${api.url}/elsewhere`]);
      assert.equal(other.code, 5);
    });

    test("3 while the server may not change anything, after some patience", async () => {
      api.world.leadership.become(false, "other-replica");
      try {
        const { code, stderr } = await ctl.run(["ip", "reserve", "10.0.70.7"]);
        assert.equal(code, 3, stderr);
        assert.match(stderr, /reservation of 10\.0\.70\.7: /);
      } finally {
        api.world.leadership.become(true, "self");
      }
    });

    test("5 for what is not there", async () => {
      const { code, stderr } = await ctl.run(["ip", "get", "10.9.9.9"]);
      assert.equal(code, 5);
      assert.match(stderr, /^galaxyctl: address 10\.9\.9\.9: no pod subnet lists 10\.9\.9\.9/);
      const sim = await ctl.run(["sim", "status"]);
      assert.equal(sim.code, 5);
      assert.match(sim.stderr, /works for a real cluster.*use kubectl/);
    });
  });

  describe("galaxyctl alone", () => {
    test("says its version and what there is without a server", async () => {
      const offline = new Galaxyctl({ GALAXY_SERVER: "http://127.0.0.1:1" });
      assert.match((await offline.run(["--version"])).stdout, /^galaxyctl \d+\.\d+\.\d+\n$/);
      const help = await offline.run(["--help"]);
      assert.equal(help.code, 0);
      for (const word of ["ip", "pool", "explain", "check", "import", "completion", "--server"]) {
        assert.ok(help.stdout.includes(word), word);
      }
      const script = await offline.run(["completion", "bash"]);
      assert.match(script.stdout, /complete -F _galaxyctl galaxyctl/);
    });

    test("ends quietly when its reader has enough", async () => {
      const child = ctl.start(["completion", "zsh"]);
      child.stdout.destroy();
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      const code = await new Promise((resolve) => child.once("close", resolve));
      assert.deepEqual([code, stderr], [0, ""]);
    });
  });
});
