// Listing, looking at and releasing addresses over HTTP.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import type { Allocation } from "../../src/core/allocation.ts";
import type { Answer } from "../api-world.ts";
import { ApiWorld } from "../api-world.ts";
import {
  aDeploymentRef,
  aNode,
  anAllocation,
  aPod,
  aPodSubnet,
  aStatefulSetRef,
  controlledBy,
  podOwner,
} from "../builders.ts";
import { IpamWorld } from "../ipam-world.ts";

let api: ApiWorld;

/** Two subnets of 9 and 3 addresses; node n1 may use both. */
beforeEach(async () => {
  api = await ApiWorld.leading([
    aPodSubnet({ ranges: ["10.0.70.2~10.0.70.10"] }),
    aPodSubnet({ cidr: "10.0.71.0/24", ranges: ["10.0.71.2~10.0.71.4"] }),
  ]);
  api.world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await api.world.settle();
});
afterEach(() => api.close());

async function put(...records: readonly Allocation[]): Promise<void> {
  for (const record of records) await new MemoryAllocationStore(api.world.cluster).create(record);
  await api.world.settle();
}

/** Kept for the name of a pod that is gone. */
function kept(ip: string, name: string, more: Partial<Allocation> = {}): Allocation {
  const owner = podOwner({ namespace: "ns1", name, workload: aStatefulSetRef() });
  return anAllocation({ ip, owner, policy: "never", podUid: "", nodeName: "", ...more });
}

function ips(answer: Answer): readonly string[] {
  return answer.body.content.map(({ ip }: { ip: string }) => ip);
}

/** A pod of StatefulSet db that runs with an address. */
async function running(name: string) {
  api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 9 });
  return await api.world.schedule(
    aPod({ name, policy: "immutable", controller: controlledBy("apps/v1", "StatefulSet", "db") }),
  );
}

describe("GET /v1/ip", () => {
  test("without parameters it lists every configured address, free ones too", async () => {
    await put(kept("10.0.70.5", "db-0"));
    const answer = await api.call("/v1/ip?size=100");
    assert.equal(answer.body.totalElements, 12);
    assert.deepEqual(answer.body.content[0], { ip: "10.0.70.2", policy: 0 });
    assert.equal(answer.body.content[3].podName, "db-0");
    assert.equal(ips(answer).at(-1), "10.0.71.4");
  });

  test("every filter narrows on its own and together with others", async () => {
    await put(
      kept("10.0.70.4", "db-0"),
      kept("10.0.70.5", "db-1"),
      anAllocation({
        ip: "10.0.70.6",
        owner: { kind: "workload", workload: aDeploymentRef({ namespace: "ns2" }) },
        policy: "never",
        podUid: "",
      }),
      anAllocation({ ip: "10.0.70.7", owner: { kind: "pool", pool: "blue" }, policy: "never" }),
    );
    const found = async (query: string) => ips(await api.call(`/v1/ip?${query}`));
    assert.deepEqual(await found("namespace=ns1"), ["10.0.70.4", "10.0.70.5"]);
    assert.deepEqual(await found("appName=db"), ["10.0.70.4", "10.0.70.5"]);
    assert.deepEqual(await found("podName=db-1"), ["10.0.70.5"]);
    assert.deepEqual(await found("poolName=blue"), ["10.0.70.7"]);
    assert.deepEqual(await found("appType=Deployments"), ["10.0.70.6"]);
    assert.deepEqual(await found("isDeployment=true"), ["10.0.70.6"]);
    assert.deepEqual(await found("isDeployment=false"), ["10.0.70.4", "10.0.70.5"]);
    assert.deepEqual(await found("isDeployment=true&appType=statefulset"), [
      "10.0.70.4",
      "10.0.70.5",
    ]);
    assert.deepEqual(await found("keyword=sts_ns1_db_db-1"), ["10.0.70.5"]);
    assert.deepEqual(await found("keyword=s1_db"), ["10.0.70.4", "10.0.70.5"]);
    assert.deepEqual(await found("keyword=pool__blue_"), ["10.0.70.7"]);
    assert.deepEqual(await found("namespace=ns1&podName=db-0&appType=tapp"), []);
    assert.deepEqual(await found("state=reserved&subnet=10.0.70.4/31"), ["10.0.70.4", "10.0.70.5"]);
    assert.deepEqual(await found("namespace=&appName=&podName=db-0"), ["10.0.70.4"]);
  });

  test("page and size are clamped as in the Go system, and the last page ends the list", async () => {
    const page = async (query: string) => {
      const { content, ...rest } = (await api.call(`/v1/ip?${query}`)).body;
      return [rest, content.length];
    };
    const usual = { totalElements: 12, totalPages: 2, first: true, last: false, number: 0 };
    const ten = [{ ...usual, numberOfElements: 10, size: 10 }, 10];
    for (const query of ["", "size=0", "size=-3", "size=x", "page=-1", "page=x", "page=1.5"]) {
      assert.deepEqual(await page(query), ten, query);
    }
    const all = { ...usual, last: true, totalPages: 1, numberOfElements: 12, size: 9999 };
    assert.deepEqual(await page("size=10000"), [all, 12]);
    const second = { ...usual, first: false, last: true, number: 1, size: 10, numberOfElements: 2 };
    assert.deepEqual(await page("page=1"), [second, 2]);
    const beyond = { ...second, numberOfElements: 0, number: 99_999 };
    assert.deepEqual(await page("page=100000"), [beyond, 0]);
  });

  test("sorts by numbers, both ways, and takes an unknown sort for ip asc", async () => {
    api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 9 });
    await put(kept("10.0.70.10", "db-0"), kept("10.0.70.9", "db-1", { policy: "immutable" }));
    const sorted = async (sort: string) =>
      ips(await api.call(`/v1/ip?state=reserved&sort=${encodeURIComponent(sort)}`));
    assert.deepEqual(await sorted("ip"), ["10.0.70.9", "10.0.70.10"]);
    assert.deepEqual(await sorted("IP DESC"), ["10.0.70.10", "10.0.70.9"]);
    assert.deepEqual(await sorted("podname"), ["10.0.70.10", "10.0.70.9"]);
    assert.deepEqual(await sorted("podname desc"), ["10.0.70.9", "10.0.70.10"]);
    assert.deepEqual(await sorted("policy desc"), ["10.0.70.10", "10.0.70.9"]);
    assert.deepEqual(await sorted("namespace"), ["10.0.70.9", "10.0.70.10"]);
    assert.deepEqual(await sorted("nonsense desc"), ["10.0.70.9", "10.0.70.10"]);
  });

  test("what cannot be meant is 400 with the field", async () => {
    for (const [query, field] of [
      ["isDeployment=maybe", "isDeployment"],
      ["state=lost", "state"],
      ["subnet=10.0.0.0", undefined],
      ["subnet=here", "subnet"],
      ["wide=2", "wide"],
    ] as const) {
      const { status, body } = await api.call(`/v1/ip?${query}`);
      assert.deepEqual([status, body.field], field === undefined ? [200, undefined] : [400, field]);
    }
    const { body } = await api.call("/v1/ip?isDeployment=maybe");
    assert.equal(body.message, "bad request: invalid isDeployment(bool field): maybe");
    assert.equal(typeof body.requestId, "string");
  });

  test("a pod that runs is not releasable; wide tells where it is", async () => {
    const pod = await running("db-0");
    const { body } = await api.call("/v1/ip?podName=db-0&wide=true");
    const [line] = body.content;
    assert.equal(line.status, "Running");
    assert.equal(line.releasable, undefined);
    assert.equal(line.attr, JSON.stringify({ NodeName: "n1", Uid: pod.uid }));
    assert.deepEqual([line.state, line.nodeName, line.podUid], ["bound", "n1", pod.uid]);
    const narrow = (await api.call("/v1/ip?podName=db-0")).body.content[0];
    assert.equal(narrow.nodeName, undefined);
  });

  test("a /8 is listed without its addresses being made", async () => {
    api.world.configure([aPodSubnet({ cidr: "10.0.0.0/8" })]);
    const { body } = await api.call("/v1/ip?sort=ip%20desc&size=1");
    assert.equal(body.totalElements, 2 ** 24 - 3);
    assert.deepEqual(body.content, [{ ip: "10.255.255.254", policy: 0 }]);
  });
});

describe("GET /v1/ip/{ip}", () => {
  test("tells the state of an address and why it is so", async () => {
    await put(kept("10.0.70.5", "db-0"));
    const reserved = (await api.call("/v1/ip/10.0.70.5")).body;
    assert.deepEqual(
      [reserved.state, reserved.key, reserved.gateway, reserved.isConfigured, reserved.subnet],
      ["reserved", "sts_ns1_db_db-0", "10.0.70.1", true, "10.0.70.0/24"],
    );
    assert.match(
      reserved.reasons.join("; "),
      /kept for the next pod called ns1\/db-0.*policy never/,
    );
    const free = (await api.call("/v1/ip/10.0.70.6")).body;
    assert.deepEqual([free.state, free.reasons.length > 0], ["free", true]);
    assert.equal((await api.call("/v1/ip/10.9.9.9")).status, 404);
    const bad = await api.call("/v1/ip/10.0.0");
    assert.deepEqual([bad.status, bad.body.message], [400, '"10.0.0" is not a valid ip']);
  });
});

describe("POST /v1/ip", () => {
  const release = (entries: unknown, more: object = {}) =>
    api.call("/v1/ip", { body: { ips: entries, ...more } });

  test("an entry posted as it was listed is released, whoever it was kept for", async () => {
    await put(
      kept("10.0.70.4", "db-0"),
      anAllocation({
        ip: "10.0.70.5",
        owner: { kind: "workload", workload: aDeploymentRef() },
        policy: "never",
        podUid: "",
      }),
      anAllocation({ ip: "10.0.70.6", owner: { kind: "pool", pool: "blue" }, policy: "never" }),
      kept("10.0.70.7", "bare-0", { owner: podOwner({ name: "bare-0" }) }),
    );
    const listed = (await api.call("/v1/ip?state=reserved&wide=true")).body.content;
    assert.equal(listed.length, 4);
    const answer = await release(listed);
    assert.deepEqual([answer.status, answer.body], [200, { code: 200, message: "" }]);
    await api.world.settle();
    assert.deepEqual(api.world.lines(), []);
  });

  test("a pod that runs keeps its address, and the others of the batch go", async () => {
    const pod = await running("db-0");
    const [own] = api.world.records();
    await put(kept("10.0.70.9", "db-5"));
    const entry = { appName: "db", namespace: "ns1" };
    const { status, body } = await release([
      { ...entry, ip: own?.ip, podName: pod.id.name },
      { ...entry, ip: "10.0.70.9", podName: "db-5" },
    ]);
    assert.deepEqual(
      [status, body],
      [
        202,
        {
          code: 202,
          message: "Released 1 ips, 1 ips failed, please check the reasons why they failed",
          unreleased: [own?.ip],
          reasons: ["releasable is false, pod status Running (ns1/db-0)"],
        },
      ],
    );
    assert.deepEqual(
      api.world.records().map(({ ip }) => ip),
      [own?.ip],
    );
  });

  test("a pod that the cache has not seen yet is asked for: its name's address is not robbed", async () => {
    await put(kept("10.0.70.4", "db-0"));
    api.world.cluster.freezeCache();
    api.world.cluster.putPod(aPod({ name: "db-0", policy: "never" }));
    const entry = { ip: "10.0.70.4", appName: "db", namespace: "ns1", podName: "db-0" };
    const { status, body } = await release([entry]);
    assert.deepEqual(
      [status, body.reasons],
      [202, ["releasable is false, pod status Pending (ns1/db-0)"]],
    );
    api.world.cluster.thawCache();
  });

  test("a release that meets the bind of its pod waits for it, and then refuses", async () => {
    api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 1 });
    await api.world.settle();
    const pod = aPod({
      name: "db-0",
      policy: "immutable",
      controller: controlledBy("apps/v1", "StatefulSet", "db"),
    });
    api.world.cluster.putPod(pod);
    await api.world.settle();
    await api.world.filter(pod);
    const entry = { ip: "10.0.70.2", appName: "db", namespace: "ns1", podName: "db-0" };
    const [bound, answer] = await Promise.all([api.world.bind(pod, "n1"), release([entry])]);
    assert.equal(bound.kind, "bound");
    assert.equal(answer.status, 202);
    assert.equal(api.world.records().length, 1);
  });

  test("an address that is promised to a pod is not released from under it", async () => {
    api.world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 1 });
    api.world.cluster.putReplicaSet({
      namespace: "ns1",
      name: "web-1",
      owner: controlledBy("apps/v1", "Deployment", "web"),
    });
    await put(
      anAllocation({
        ip: "10.0.70.5",
        owner: { kind: "workload", workload: aDeploymentRef() },
        policy: "never",
        podUid: "",
      }),
    );
    const controller = controlledBy("apps/v1", "ReplicaSet", "web-1");
    const pod = aPod({ name: "web-1-x", policy: "never", controller });
    api.world.cluster.putPod(pod);
    await api.world.settle();
    await api.world.filter(pod);
    const entry = { ip: "10.0.70.5", appName: "web", namespace: "ns1", appType: "deployment" };
    const { status, body } = await release([entry]);
    assert.equal(status, 202);
    assert.match(body.reasons[0], /being given to a pod/);
  });

  test("reasons stand in the order of the addresses, one for each way to fail", async () => {
    await put(
      kept("10.0.70.4", "db-0"),
      anAllocation({ ip: "10.0.70.5", owner: { kind: "admin", key: "router" }, policy: "never" }),
    );
    const { status, body } = await release([
      { ip: "10.0.70.4", appName: "other", namespace: "ns1", podName: "db-0" },
      { ip: "10.0.70.4", appName: "db", namespace: "ns1", podName: "db-0", poolName: "blue" },
      { ip: "10.0.70.4", appName: "db", namespace: "ns1", podName: "db-0", appType: "deployment" },
      { ip: "10.0.70.5" },
      { ip: "10.0.70.6" },
      { ip: "10.1.1.1" },
    ]);
    assert.equal(status, 202);
    assert.equal(body.unreleased.length, 6);
    assert.deepEqual(body.reasons.slice(0, 3), [
      "ip allocated to another pod sts_ns1_db_db-0",
      "ip allocated to another pod sts_ns1_db_db-0",
      "ip allocated to another pod sts_ns1_db_db-0",
    ]);
    assert.match(body.reasons[3], /reserved by the administrator \(router\)/);
    assert.match(body.reasons[4], /free and belongs to nobody/);
    assert.match(body.reasons[5], /not within valid range/);
    assert.equal(api.world.records().length, 2);
  });

  test("nothing of a batch that cannot be meant is released", async () => {
    await put(kept("10.0.70.4", "db-0"));
    const good = { ip: "10.0.70.4", appName: "db", namespace: "ns1", podName: "db-0" };
    const cases: readonly (readonly [unknown, number, RegExp])[] = [
      [[good, { ...good, ip: "10.0.0" }], 400, /^bad request: "10.0.0" is not a valid ip$/],
      [[good, { ...good, appType: "nonsense" }], 400, /unknown app type "nonsense"/],
      [[good, { ...good, ip: 7 }], 400, /ips\[1\]\.ip must be string, and is 7/],
      [[good, "x"], 400, /ips\[1\] must be object/],
      ["x", 400, /ips must be array/],
      [undefined, 400, /ips is missing/],
    ];
    for (const [entries, status, message] of cases) {
      const answer = await release(entries);
      assert.equal(answer.status, status);
      assert.match(answer.body.message, message);
    }
    const raw = async (rawBody: string, headers = {}) =>
      (await api.call("/v1/ip", { rawBody, headers })).status;
    assert.equal(await raw('{"ips":['), 400);
    assert.equal(await raw(JSON.stringify({ ips: [good] }), { "content-type": "text/plain" }), 415);
    assert.equal(await raw("ips=1", { "content-type": "application/x-www-form-urlencoded" }), 415);
    assert.equal(api.world.records().length, 1);
    // Fields that are null or unknown say nothing, as in Go.
    assert.equal((await release([{ ...good, poolName: null, extra: 1 }])).status, 200);
  });

  test("a dry run says what would happen and releases nothing", async () => {
    await put(kept("10.0.70.4", "db-0"));
    const entry = { ip: "10.0.70.4", appName: "db", namespace: "ns1", podName: "db-0" };
    assert.equal((await release([entry], { dryRun: true })).status, 200);
    assert.equal(api.world.records().length, 1);
  });

  test("an empty list releases nothing and is no error", async () => {
    assert.equal((await release([])).status, 200);
  });
});

describe("a replica that may not change anything", () => {
  test("a follower answers questions, and says who leads when asked to change something", async () => {
    await put(kept("10.0.70.4", "db-0"));
    api.world.leadership.become(false, "other");
    assert.equal((await api.call("/v1/ip?podName=db-0")).body.totalElements, 1);
    assert.equal((await api.call("/v1/subnet")).status, 200);
    for (const [path, method] of [
      ["/v1/ip", "POST"],
      ["/v1/pool", "POST"],
      ["/v1/reservation/10.0.70.9", "PUT"],
      ["/v1/import", "POST"],
      ["/v1/check/repair", "POST"],
    ] as const) {
      const { status, body } = await api.call(path, { method, body: {} });
      assert.deepEqual([status, body.errorCode, body.leader], [503, "NOT_LEADER", "other"], path);
      assert.match(body.message, /nothing was changed/);
    }
    assert.equal(api.world.records().length, 1);
  });

  test("the leader refuses changes while it is not ready, and names nobody else to ask", async () => {
    const unconfigured = await ApiWorld.over(new IpamWorld());
    try {
      const { status, body } = await unconfigured.call("/v1/ip", { body: { ips: [] } });
      assert.deepEqual([status, body.errorCode, body.leader], [503, undefined, undefined]);
      assert.match(body.message, /not configured.*nothing was changed: try again/);
    } finally {
      await unconfigured.close();
    }
  });

  test("before the records were read nothing is told, but the documents", async () => {
    api.readProblem = "the cluster is being read";
    const { status, body } = await api.call("/v1/ip");
    assert.equal(status, 503);
    assert.match(body.message, /the cluster is being read/);
    assert.equal((await api.call("/openapi.json")).status, 200);
  });
});
