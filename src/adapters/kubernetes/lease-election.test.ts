// Who leads when the lease is slow, lost, fought over or given back. Times are short, their order is that of production.

import assert from "node:assert/strict";
import { test } from "node:test";
import { waitUntil } from "../../../test/control-plane/api.ts";
import {
  type Script,
  type ScriptedServer,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { LeaseElection } from "./lease-election.ts";

type Lease = {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly spec: Readonly<Record<string, unknown>>;
};

/** A peer that keeps one Lease with optimistic locking, as the API server does. */
class LeaseKeeper {
  lease: Lease | undefined;
  #version = 0;

  readonly answer: Script = (request, response) => {
    if (request.method === "GET") {
      if (this.lease === undefined) sendStatus(response, 404, { name: "lock" });
      else sendJson(response, 200, this.lease);
      return;
    }
    const wanted = request.body as Lease;
    const isCreate = request.method === "POST";
    if (isCreate && this.lease !== undefined) {
      sendStatus(response, 409, { reason: "AlreadyExists", name: "lock" });
      return;
    }
    if (!isCreate && wanted.metadata.resourceVersion !== this.lease?.metadata.resourceVersion) {
      sendStatus(response, 409, { reason: "Conflict", name: "lock" });
      return;
    }
    this.put(wanted.spec);
    sendJson(response, isCreate ? 201 : 200, this.lease);
  };

  /** When it was written last, on the clock of `performance.now()`. */
  writtenMs = 0;

  put(spec: Readonly<Record<string, unknown>>): void {
    this.writtenMs = performance.now();
    this.#version += 1;
    const resourceVersion = String(this.#version);
    this.lease = { metadata: { name: "lock", resourceVersion }, spec };
  }
}

type Bench = {
  readonly server: ScriptedServer;
  readonly keeper: LeaseKeeper;
  /** A candidate that says when it starts and stops to lead; its lease does not run out in a test unless it is {@link short}. */
  readonly join: (identity: string, times?: Times) => LeaseElection;
  /** `first+` when the first starts to lead, `first-` when it stops. */
  readonly told: string[];
};

type Times = { readonly leaseMs: number; readonly renewLimitMs: number };
const long: Times = { leaseMs: 3_600_000, renewLimitMs: 3_000_000 };
/** Much longer than the pause between renewals: a machine that stands still for a second must not end a leadership. */
const short: Times = { leaseMs: 3_000, renewLimitMs: 2_000 };

async function withKeeper(use: (bench: Bench) => Promise<void>): Promise<void> {
  const keeper = new LeaseKeeper();
  await using server = await startScriptedServer(keeper.answer);
  const client = new ApiClient({ access: server.access });
  const told: string[] = [];
  const joined: LeaseElection[] = [];
  const join = (identity: string, times = long): LeaseElection => {
    const election = new LeaseElection({
      client,
      log: new MemoryLog(),
      namespace: "kube-system",
      name: "lock",
      identity,
      ...times,
      retryMs: 60,
      onStarted: () => told.push(`${identity}+`),
      onStopped: () => told.push(`${identity}-`),
    });
    joined.push(election);
    election.start();
    return election;
  };
  try {
    await use({ server, keeper, join, told });
  } finally {
    client.close();
    await Promise.all(joined.map((election) => election.stop()));
  }
}

function leads(election: LeaseElection, wanted = true): Promise<boolean> {
  return waitUntil(
    wanted ? "leadership" : "the end of leadership",
    () => election.isLeader(),
    (seen) => seen === wanted,
    { everyMs: 3 },
  );
}

test("the first candidate makes the lease and keeps it; the second one sees its name", async () => {
  await withKeeper(async ({ keeper, join, told, server }) => {
    const first = join("first");
    await leads(first);
    const second = join("second");
    await waitUntil(
      "its name",
      () => second.leaderName(),
      (name) => name === "first",
    );
    const renewed = server.seen.length;
    await waitUntil(
      "renewals",
      () => server.seen.length,
      (count) => count > renewed + 20,
    );
    assert.deepEqual(told, ["first+"]);
    assert.equal(second.isLeader(), false);
    assert.equal(keeper.lease?.spec["holderIdentity"], "first");
    assert.equal(keeper.lease?.spec["leaseTransitions"], 0);
    assert.match(String(keeper.lease?.spec["renewTime"]), /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z$/);
  });
});

test("a renewal costs one request", async () => {
  await withKeeper(async ({ join, server }) => {
    await leads(join("first"));
    const from = server.seen.length;
    await waitUntil(
      "renewals",
      () => server.seen.length,
      (count) => count > from + 5,
    );
    assert.ok(server.seen.slice(from).every(({ method }) => method === "PUT"));
  });
});

test("a lease that is given back is taken long before it would have run out", async () => {
  await withKeeper(async ({ keeper, join, told }) => {
    const first = join("first");
    await leads(first);
    const second = join("second");
    await waitUntil(
      "its name",
      () => second.leaderName(),
      (name) => name === "first",
    );
    await first.stop();
    await leads(second);
    assert.deepEqual(told, ["first+", "first-", "second+"]);
    assert.equal(keeper.lease?.spec["leaseTransitions"], 1);
  });
});

test("a leader whose renewals fail stops before another one may take over", async () => {
  await withKeeper(async ({ server, keeper, join, told }) => {
    const first = join("first", short);
    await leads(first);
    // From here on the first one's requests fail and the second one's work.
    server.script = (request, response) => {
      const holder = (request.body as Lease | undefined)?.spec["holderIdentity"];
      if (holder === "first") sendStatus(response, 500);
      else void keeper.answer(request, response);
    };
    const renewedMs = keeper.writtenMs;
    const second = join("second", short);
    await leads(first, false);
    await leads(second);
    assert.ok(keeper.writtenMs - renewedMs >= short.leaseMs, "not before the lease ended");
    assert.deepEqual(told, ["first+", "first-", "second+"]);
  });
});

test("a leader whose renewals are not answered at all stops by itself", async () => {
  await withKeeper(async ({ server, keeper, join, told }) => {
    const first = join("first", short);
    await leads(first);
    server.script = () => {};
    await leads(first, false);
    assert.equal(first.leaderName(), "", "nobody knows who leads now");
    server.script = keeper.answer;
    await leads(first);
    assert.deepEqual(told, ["first+", "first-", "first+"]);
  });
});

test("a leader stops at once when it sees that another one has the lease", async () => {
  await withKeeper(async ({ keeper, join, told }) => {
    const first = join("first");
    await leads(first);
    keeper.put({ holderIdentity: "thief", leaseDurationSeconds: 15, leaseTransitions: 7 });
    await leads(first, false);
    await waitUntil(
      "the thief's name",
      () => first.leaderName(),
      (name) => name === "thief",
    );
    assert.deepEqual(told, ["first+", "first-"]);
  });
});

test("a renewal that happened although its answer was lost does not end leadership", async () => {
  await withKeeper(async ({ server, keeper, join, told }) => {
    const first = join("first");
    await leads(first);
    let lost = 0;
    server.script = (request, response) => {
      if (request.method === "PUT" && lost < 2) {
        lost += 1;
        keeper.put((request.body as Lease).spec);
        response.socket?.destroy();
      } else {
        void keeper.answer(request, response);
      }
    };
    await waitUntil(
      "the lost answers",
      () => lost,
      (count) => count === 2,
    );
    const from = server.seen.length;
    await waitUntil(
      "more renewals",
      () => server.seen.length,
      (count) => count > from + 10,
    );
    assert.equal(first.isLeader(), true);
    assert.deepEqual(told, ["first+"]);
  });
});

test("a lease of a leader that died is taken when its own duration is over, whatever its clock said", async () => {
  await withKeeper(async ({ keeper, join }) => {
    keeper.put({
      holderIdentity: "dead",
      leaseDurationSeconds: 1,
      renewTime: "2199-01-01T00:00:00.000000Z",
      leaseTransitions: 4,
    });
    const startedMs = performance.now();
    const first = join("first");
    await waitUntil(
      "the dead one's name",
      () => first.leaderName(),
      (name) => name === "dead",
    );
    await leads(first);
    assert.ok(performance.now() - startedMs >= 990);
    assert.equal(keeper.lease?.spec["leaseTransitions"], 5);
  });
});

test("of many candidates one leads at any time, through 5 changes of leader", async () => {
  await withKeeper(async ({ join, told }) => {
    const candidates = Array.from({ length: 5 }, (_, index) => join(`c${index}`));
    for (let round = 0; round < 5; round += 1) {
      const leader = await waitUntil(
        "a leader",
        () => candidates.filter((candidate) => candidate.isLeader()),
        (seen) => seen.length > 0,
        { everyMs: 1 },
      );
      assert.equal(leader.length, 1);
      await leader[0]?.stop();
    }
    assert.equal(told.length, 10);
    for (let at = 0; at < 10; at += 2) {
      assert.equal(told[at]?.replace("+", "-"), told[at + 1], "each ends before the next begins");
    }
  });
});

test("times that would let two lead at once are refused", () => {
  assert.throws(
    () =>
      new LeaseElection({
        client: undefined as never,
        log: new MemoryLog(),
        namespace: "kube-system",
        name: "lock",
        identity: "first",
        leaseMs: 10_000,
        renewLimitMs: 10_000,
      }),
    /retry 2000 ms < renew limit 10000 ms < lease 10000 ms/,
  );
});
