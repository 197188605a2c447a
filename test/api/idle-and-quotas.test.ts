// Idle addresses, times of reservation and quotas over HTTP.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aNode, aPod, aPodSubnet } from "../builders.ts";

let api: ApiWorld;

const hourMs = 3_600_000;

/** Five addresses, one node. */
beforeEach(async () => {
  api = await ApiWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.6"] })]);
  api.world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await api.world.settle();
});
afterEach(() => api.close());

/** The pod has an address and is deleted: its address is reserved. */
async function reserve(parts: { readonly app: string; readonly reserveTtl?: number }) {
  const { app, reserveTtl } = parts;
  const { controller } = api.world.cluster.putStatefulSet({ namespace: "ns1", name: app });
  const workloads = api.world.cluster.live.workloads;
  if (reserveTtl !== undefined) {
    for (const [key, state] of workloads) {
      if (key.endsWith(app)) workloads.set(key, { ...state, reserveTtl });
    }
  }
  const pod = aPod({
    name: `${app}-0`,
    controller,
    policy: "never",
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
  });
  await api.world.schedule(pod);
  await api.world.deletePod(pod.id);
}

async function look(): Promise<void> {
  api.world.service.idle.look();
  await api.world.service.idle.whenIdle();
  await api.world.settle();
}

const refused = async (path: string, body: object, method = "PUT") => {
  const answer = await api.call(path, { method, body });
  assert.equal(answer.status, 400, JSON.stringify([path, body]));
  return String(answer.body.message);
};

describe("/v1/idle", () => {
  test("lists what no pod uses with its time, the longest idle first, and counts what is not shown", async () => {
    await reserve({ app: "old" });
    api.world.clock.advance(5 * hourMs);
    await reserve({ app: "young", reserveTtl: 8 * hourMs });
    const { status, body } = await api.call("/v1/idle");
    assert.equal(status, 200);
    assert.equal(body.total, 2);
    const [old, young] = body.addresses;
    assert.deepEqual(
      [old.podName, old.namespace, old.appType, old.appName, old.policy, old.reserveTTL],
      ["old-0", "ns1", "statefulset", "old", "never", undefined],
    );
    const nowMs = api.world.clock.nowMs();
    assert.deepEqual(
      [young.reserveTTL, young.ttlFrom, Date.parse(young.releaseAt) - nowMs, young.warnedAt],
      ["8h", "annotation", 8 * hourMs, undefined],
    );
    const first = (await api.call("/v1/idle?limit=1")).body;
    assert.deepEqual([first.total, first.addresses], [2, [old]]);
  });

  test("narrows by namespace, pool and time, and refuses a time that is none", async () => {
    await reserve({ app: "old" });
    api.world.clock.advance(5 * hourMs);
    await reserve({ app: "young" });
    const made = await api.call("/v1/pool", { body: { name: "p", size: 1, preAllocateIP: true } });
    assert.equal(made.status, 200);
    const shown = async (query: string) =>
      (await api.call(`/v1/idle?${query}`)).body.addresses.map(
        (each: { podName?: string; poolName?: string }) => each.podName ?? each.poolName,
      );
    assert.deepEqual(await shown(""), ["old-0", "young-0", "p"]);
    assert.deepEqual(await shown("namespace=ns1"), ["old-0", "young-0"]);
    assert.deepEqual(await shown("namespace=elsewhere"), []);
    assert.deepEqual(await shown("pool=p"), ["p"]);
    assert.deepEqual(await shown("longerThan=5h"), ["old-0"]);
    assert.deepEqual(await shown("longerThan=5h1m"), []);
    for (const wrong of ["never", "soon", "-1h", "5"]) {
      const { status, body } = await api.call(`/v1/idle?longerThan=${wrong}`);
      assert.deepEqual([status, body.field], [400, "longerThan"], wrong);
      assert.match(body.message, /"(never|soon|-1h|5)" is no duration such as 24h/);
    }
    assert.equal((await api.call("/v1/idle?limit=0")).status, 400);
    assert.equal((await api.call("/v1/idle?older=1h")).status, 400);
  });

  test("says when the owner was told, and what keeps an address although a time is set", async () => {
    await reserve({ app: "db", reserveTtl: 8 * hourMs });
    api.world.clock.advance(7 * hourMs);
    await look();
    const [warned] = (await api.call("/v1/idle")).body.addresses;
    assert.equal(Date.parse(warned.warnedAt), api.world.clock.nowMs());
    // Told late: the whole time of the warning passes all the same.
    assert.equal(Date.parse(warned.releaseAt), api.world.clock.nowMs() + 2 * hourMs);
    await api.call("/v1/pool", {
      body: { name: "p", size: 1, preAllocateIP: true, reserveTTL: "1h" },
    });
    const [kept] = (await api.call("/v1/idle?pool=p")).body.addresses;
    assert.deepEqual([kept.reserveTTL, kept.ttlFrom, kept.releaseAt], ["1h", "pool", undefined]);
    assert.match(kept.keptBecause, /Pool p asks for it/);
    api.world.clock.advance(2 * hourMs);
    await look();
    assert.deepEqual((await api.call("/v1/idle?namespace=ns1")).body, { total: 0, addresses: [] });
  });
});

describe("reserveTTL of /v1/pool", () => {
  const put = (body: object) => api.call("/v1/pool", { body: { name: "p1", size: 2, ...body } });
  const ttlOf = async () => {
    const [listed] = (await api.call("/v1/pool")).body.pools;
    const one = (await api.call("/v1/pool/p1")).body.pool;
    assert.equal(one.reserveTTL, listed.reserveTTL);
    return listed.reserveTTL;
  };

  test("is set, shown, left alone by who does not name it, changed and removed", async () => {
    assert.equal((await put({})).status, 200);
    assert.equal(await ttlOf(), undefined);
    assert.equal((await put({ reserveTTL: "90m" })).status, 200);
    assert.equal(await ttlOf(), "1h30m");
    // A client of the Go system does not know it.
    assert.equal((await put({ size: 3 })).status, 200);
    assert.equal(await ttlOf(), "1h30m");
    await put({ reserveTTL: "never" });
    assert.equal(await ttlOf(), "never");
    await put({ reserveTTL: "" });
    assert.equal(await ttlOf(), undefined);
    assert.equal(api.world.cluster.live.pools.get("kube-system/p1")?.reserveTtl, undefined);
  });

  test("is 400 with pool, value and an example when it is none, and nothing is changed", async () => {
    await put({ reserveTTL: "1h" });
    for (const reserveTTL of ["soon", "1d", "0s", "500ms", "-1h", "87601h"]) {
      const { status, body } = await put({ size: 9, reserveTTL });
      assert.deepEqual([status, body.field], [400, "reserveTTL"], reserveTTL);
      assert.match(
        body.message,
        /pool p1: reserveTTL: ".*" is no duration from 1s to 87600h: write for example "168h"/,
      );
    }
    assert.equal((await put({ reserveTTL: 5 })).status, 400);
    const { pool } = (await api.call("/v1/pool/p1")).body;
    assert.deepEqual([pool.size, pool.reserveTTL], [2, "1h"]);
  });

  test("that an operator wrote and nobody understands is shown as the pool's problem until it is replaced", async () => {
    const reserveTtlProblem = 'Pool kube-system/p1: reserveTTL: "soon" is no duration';
    api.world.cluster.putPool({ name: "p1", size: 2, reserveTtl: "never", reserveTtlProblem });
    await api.world.settle();
    const listed = async () => (await api.call("/v1/pool")).body.pools[0];
    assert.deepEqual(
      [(await listed()).reserveTTL, (await listed()).problem],
      [undefined, reserveTtlProblem],
    );
    await put({ size: 3 });
    assert.equal((await listed()).problem, reserveTtlProblem);
    await put({ reserveTTL: "24h" });
    assert.deepEqual([(await listed()).reserveTTL, (await listed()).problem], ["24h", undefined]);
  });
});

describe("/v1/quota", () => {
  const put = (name: string, body: object) =>
    api.call(`/v1/quota/${name}`, { method: "PUT", body });
  const schedule = (name: string) => api.world.schedule(aPod({ name }));
  const useOf = async () =>
    (await api.call("/v1/quota")).body.namespaces.map(
      (use: { namespace: string; quota: string; limit: number; used: number; promised: number }) =>
        `${use.namespace} ${use.quota} ${use.used}+${use.promised}/${use.limit}`,
    );

  test("is made, listed with what each namespace has, changed and deleted", async () => {
    assert.deepEqual((await api.call("/v1/quota")).body, { quotas: [], namespaces: [] });
    const made = await put("team-a", { limit: 2, namespaces: ["ns1", "ns2"] });
    assert.deepEqual(
      [made.status, made.body],
      [200, { name: "team-a", limit: 2, namespaces: ["ns1", "ns2"] }],
    );
    await put("everybody", { limit: 1 });
    await schedule("a");
    const waiting = aPod({ name: "b" });
    api.world.cluster.putPod(waiting);
    assert.deepEqual(await api.world.passing(waiting), ["n1"]);
    assert.deepEqual(await useOf(), ["ns1 team-a 1+1/2", "ns2 team-a 0+0/2"]);
    assert.deepEqual((await api.call("/v1/quota")).body.quotas, [
      { name: "everybody", limit: 1, namespaces: [] },
      { name: "team-a", limit: 2, namespaces: ["ns1", "ns2"] },
    ]);
    const deleted = await api.call("/v1/quota/team-a", { method: "DELETE" });
    assert.deepEqual([deleted.status, deleted.body], [200, { name: "team-a" }]);
    assert.deepEqual(await useOf(), ["ns1 everybody 1+1/1"]);
    const again = await api.call("/v1/quota/team-a", { method: "DELETE" });
    assert.deepEqual([again.status, again.body.message], [404, "there is no quota team-a"]);
  });

  test("lowered below what is used takes nothing away, refuses further pods and says why; raised it lets them in", async () => {
    await put("team-a", { limit: 3, namespaces: ["ns1"] });
    for (const name of ["a", "b", "c"]) await schedule(name);
    assert.equal((await put("team-a", { limit: 1, namespaces: ["ns1"] })).status, 200);
    await api.world.resync();
    assert.equal(api.world.records().length, 3);
    assert.deepEqual(await useOf(), ["ns1 team-a 3+0/1"]);
    const further = aPod({ name: "d" });
    api.world.cluster.putPod(further);
    assert.match(
      String(await api.world.passing(further)),
      /namespace ns1 reached its quota: FloatingIPQuota team-a allows 1.*3 are used.*raise spec\.limit/,
    );
    const explained = (await api.call(`/v1/explain/pod/ns1/d`)).body;
    assert.equal(explained.decision, "refused");
    assert.match(explained.because, /FloatingIPQuota team-a allows 1/);
    // Below the new limit only when more than two are gone.
    for (const name of ["a", "b"]) await api.world.deletePod({ namespace: "ns1", name });
    assert.match(String(await api.world.passing(further)), /1 are used/);
    assert.deepEqual((await put("team-a", { limit: 2 })).body.namespaces, ["ns1"]);
    assert.deepEqual(await api.world.passing(further), ["n1"]);
  });

  test("that cannot be meant is 400 with the field and the value, and changes nothing", async () => {
    await put("team-a", { limit: 1 });
    const cases: readonly (readonly [object, RegExp])[] = [
      [{}, /limit is missing/],
      [{ limit: -1 }, /limit must be >= 0, and is -1/],
      [{ limit: "2" }, /limit must be integer, and is "2"/],
      [{ limit: 1.5 }, /limit must be integer/],
      [{ limit: 2 ** 31 }, /limit must be <= 2147483647/],
      [{ limit: 1, namespaces: "ns1" }, /namespaces must be array, and is "ns1"/],
      [
        { limit: 1, namespaces: ["Team_A"] },
        /namespaces\[0\] must match pattern .*, and is "Team_A"/,
      ],
      [{ limit: 1, namespaces: ["a", "a"] }, /namespaces must not have duplicate items/],
      [{ limit: 1, selector: {} }, /there is no field selector/],
    ];
    for (const [body, message] of cases) {
      assert.match(await refused("/v1/quota/team-a", body), message);
    }
    for (const name of ["Team", "-a", "a..b", "a_b"]) {
      assert.match(await refused(`/v1/quota/${name}`, { limit: 1 }), /name must match pattern/);
    }
    assert.deepEqual((await api.call("/v1/quota")).body.quotas, [
      { name: "team-a", limit: 1, namespaces: [] },
    ]);
  });

  test("is 503 with the leader's name on a replica that does not lead", async () => {
    api.world.leadership.become(false, "other");
    const { status, body } = await put("team-a", { limit: 1 });
    assert.deepEqual([status, body.leader], [503, "other"]);
    assert.equal((await api.call("/v1/quota")).status, 200);
    api.world.leadership.become(true, "self");
  });
});
