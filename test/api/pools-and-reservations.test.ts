// Pools and the administrator's reservations over HTTP.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aDeploymentRef, aNode, aPod, aPodSubnet, controlledBy } from "../builders.ts";

let api: ApiWorld;

/** Five addresses, one node. */
beforeEach(async () => {
  api = await ApiWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.6"] })]);
  api.world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await api.world.settle();
});
afterEach(() => api.close());

const pool = (body: object) => api.call("/v1/pool", { body });

describe("/v1/pool", () => {
  test("is created, read, changed and deleted as in the Go system", async () => {
    const created = await pool({ name: "p1", size: 2 });
    assert.deepEqual(
      [created.status, created.body],
      [200, { code: 200, message: "", realPoolSize: 0 }],
    );
    const get = async () => (await api.call("/v1/pool/p1")).body;
    assert.deepEqual(await get(), {
      code: 200,
      message: "",
      pool: { name: "p1", size: 2, preAllocateIP: false },
    });
    assert.equal((await pool({ name: "p1", size: 5, preAllocateIP: false })).status, 200);
    assert.equal((await get()).pool.size, 5);
    const deleted = await api.call("/v1/pool/p1", { method: "DELETE" });
    assert.deepEqual([deleted.status, deleted.body], [200, { code: 200, message: "" }]);
    for (const method of ["GET", "DELETE"]) {
      const { status, body } = await api.call("/v1/pool/p1", { method });
      assert.deepEqual([status, body.message], [404, "not found: pool p1"]);
    }
  });

  test("a name or size that cannot be is 400 with the field", async () => {
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ size: 1 }, /^bad request: pool name is empty$/],
      [{ name: "", size: 1 }, /^bad request: pool name is empty$/],
      [{ name: "a_b", size: 1 }, /"a_b".*"a-b"/],
      [{ name: "Upper", size: 1 }, /DNS-1123/],
      [{ name: "p", size: "1" }, /size must be integer, and is "1"/],
      [{ name: "p", size: -1 }, /size must be >= 0, and is -1/],
      [{ name: "p", size: 1.5 }, /size must be integer/],
      [{ name: "p", preAllocateIP: "yes" }, /preAllocateIP must be boolean/],
    ];
    for (const [body, message] of cases) {
      const answer = await pool(body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.match(answer.body.message, message);
    }
    assert.deepEqual((await api.call("/v1/pool")).body, { pools: [] });
  });

  test("pre-allocation fills at once, repeats without change, and says when there are not enough", async () => {
    const wanted = { name: "p1", size: 3, preAllocateIP: true };
    for (let time = 1; time <= 2; time += 1) {
      const { status, body } = await pool(wanted);
      assert.deepEqual([status, body], [200, { code: 200, message: "", realPoolSize: 3 }]);
    }
    assert.equal(api.world.records().length, 3);
    const more = await pool({ ...wanted, size: 9 });
    assert.deepEqual(
      [more.status, more.body],
      [202, { code: 202, message: "No enough IPs", realPoolSize: 5 }],
    );
    const [listed] = (await api.call("/v1/pool")).body.pools;
    assert.deepEqual(
      [listed.name, listed.size, listed.allocated, listed.used, listed.missing],
      ["p1", 9, 5, 0, 4],
    );
    assert.match(listed.problem, /No enough IPs: 4 of 9/);
    const less = await pool({ ...wanted, size: 1 });
    assert.deepEqual([less.status, less.body.realPoolSize], [200, 1]);
  });

  test("addresses are counted when the view of pools shows what was written, and not before", async () => {
    api.world.cluster.freezeCache();
    let isAnswered = false;
    const answer = pool({ name: "p1", size: 3, preAllocateIP: true }).finally(() => {
      isAnswered = true;
    });
    while (!api.world.cluster.live.pools.has("kube-system/p1")) await api.call("/v1/vip");
    assert.equal(isAnswered, false);
    api.world.cluster.thawCache();
    const { status, body } = await answer;
    assert.deepEqual([status, body.realPoolSize], [200, 3]);
  });

  test("deleting a pool keeps its addresses, to be released by the pool's name or with it", async () => {
    await pool({ name: "p1", size: 2, preAllocateIP: true });
    await api.call("/v1/pool/p1", { method: "DELETE" });
    const listed = (await api.call("/v1/ip?poolName=p1")).body.content;
    assert.equal(listed.length, 2);
    assert.deepEqual((await api.call("/v1/pool")).body.pools[0].namespace, undefined);
    const ips = listed.map(({ ip }: { ip: string }) => ({ ip, poolName: "p1" }));
    assert.equal((await api.call("/v1/ip", { body: { ips } })).status, 200);
    await pool({ name: "p2", size: 2, preAllocateIP: true });
    const withRelease = await api.call("/v1/pool/p2?release=true", { method: "DELETE" });
    assert.equal(withRelease.status, 200);
    await api.world.settle();
    assert.equal(api.world.records().length, 0);
    assert.equal((await api.call("/v1/pool/p2?release=perhaps", { method: "DELETE" })).status, 400);
  });

  test("an address that a pod of the pool has stays when the pool is deleted with its addresses", async () => {
    await pool({ name: "p1", size: 2, preAllocateIP: true });
    api.world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 1 });
    api.world.cluster.putReplicaSet({
      namespace: "ns1",
      name: "web-1",
      owner: controlledBy("apps/v1", "Deployment", aDeploymentRef().name),
    });
    await api.world.schedule(
      aPod({
        name: "web-1-x",
        pool: "p1",
        controller: controlledBy("apps/v1", "ReplicaSet", "web-1"),
      }),
    );
    await api.call("/v1/pool/p1?release=true", { method: "DELETE" });
    await api.world.settle();
    assert.deepEqual(
      api.world.records().map(({ podUid }) => podUid !== ""),
      [true],
    );
  });
});

describe("/v1/reservation/{ip}", () => {
  const put = (ip: string, body?: object) =>
    api.call(`/v1/reservation/${ip}`, { method: "PUT", ...(body === undefined ? {} : { body }) });
  const remove = (ip: string) => api.call(`/v1/reservation/${ip}`, { method: "DELETE" });

  test("takes an address out of allocation and gives it back; twice is as once", async () => {
    for (let time = 1; time <= 2; time += 1) {
      assert.equal((await put("10.0.70.3", { reason: "the router" })).status, 200);
    }
    assert.deepEqual(api.world.lines(), ["10.0.70.3 admin the router - - never"]);
    assert.equal((await api.call("/v1/ip/10.0.70.3")).body.state, "admin");
    assert.equal((await remove("10.0.70.3")).status, 200);
    assert.deepEqual(api.world.lines(), []);
    assert.equal((await remove("10.0.70.3")).status, 404);
  });

  test("needs no body, and refuses what is no address, not listed or in use", async () => {
    assert.equal((await put("10.0.70.3")).status, 200);
    assert.equal((await put("10.0.70")).status, 400);
    assert.equal((await put("10.9.9.9")).status, 404);
    const unknown = await put("10.0.70.4", { why: "x" });
    assert.deepEqual([unknown.status, unknown.body.field], [400, "why"]);
    const pod = await api.world.schedule(aPod());
    const { status, body } = await put("10.0.70.2");
    assert.equal(status, 409);
    assert.match(body.message, new RegExp(`belongs to pod ns1/${pod.id.name}`));
  });

  test("an address that is promised to a pod is not taken from under it", async () => {
    const pod = aPod();
    api.world.cluster.putPod(pod);
    await api.world.settle();
    await api.world.filter(pod);
    assert.equal((await put("10.0.70.2")).status, 409);
    assert.equal((await api.call("/v1/ip/10.0.70.2")).body.state, "held");
  });
});
