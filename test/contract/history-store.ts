// The promises of src/ports/history-store.ts as tests, for every adapter that keeps who had an address when.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { builtInWorkload } from "../../src/core/owner.ts";
import type { HistoryBounds, Holder, HolderChange, TenureFilter } from "../../src/core/tenure.ts";
import type { HistoryStore } from "../../src/ports/history-store.ts";
import { ip } from "../builders.ts";

/** Two stores on one history, as two processes have them. */
export type HistoryStoreBench = {
  readonly store: HistoryStore;
  /** A store that is opened now: what it finds was kept. */
  readonly reopen: () => Promise<HistoryStore>;
  readonly stop: () => Promise<void>;
};

const hourMs = 3_600_000;
const startMs = 1_700_000_000_000;
const all = { offset: 0, limit: 1_000 };

/** A pod of StatefulSet ns1/web. */
function podHolder(name: string, uid = `uid-${name}`): Holder {
  const workload = builtInWorkload("statefulset", { namespace: "ns1", name: "web" });
  const owner = {
    kind: "pod",
    pod: { namespace: "ns1", name },
    workload,
    pool: undefined,
  } as const;
  return { owner, podUid: uid, nodeName: "n1" };
}

/** The address goes from one to the next at so many hours after the start. */
function change(
  ipText: string,
  atHour: number,
  before: readonly [holder: Holder, fromHour: number] | undefined,
  after: Holder | undefined,
): HolderChange {
  return {
    ip: ip(ipText),
    atMs: startMs + atHour * hourMs,
    isAbout: false,
    before:
      before === undefined
        ? undefined
        : { holder: before[0], fromMs: startMs + before[1] * hourMs, fromIsAbout: false },
    after,
  };
}

/** A pool's address, two pods one after the other with the first, another pod with the second. */
function aStory(): readonly HolderChange[] {
  const [a, b] = [podHolder("web-0"), podHolder("web-1")];
  const pool: Holder = { owner: { kind: "pool", pool: "blue" }, podUid: "", nodeName: "" };
  const custom: Holder = {
    owner: {
      kind: "pod",
      pod: { namespace: "ns2", name: "job-7" },
      workload: {
        type: "custom",
        kind: "tapp",
        apiGroup: "apps.tkestack.io",
        namespace: "ns2",
        name: "job",
      },
      pool: "blue",
    },
    podUid: "u7",
    nodeName: "n2",
  };
  return [
    change("10.0.70.2", 0, undefined, a),
    change("10.0.70.3", 1, undefined, pool),
    change("10.0.70.2", 2, [a, 0], b),
    change("10.0.70.3", 3, [pool, 1], custom),
    change("10.0.70.2", 4, [b, 2], undefined),
    { ...change("fd00::2", 5, [custom, 4], a), isAbout: true },
  ];
}

/** Runs the suite. @param pass moves the adapter's time, if a test can; bounds are given with it */
export function describeHistoryStore(
  name: string,
  makeBench: (options: {
    readonly bounds: HistoryBounds;
    readonly nowMs: number;
  }) => Promise<HistoryStoreBench>,
): void {
  const bounds = { mostChanges: 10_000, longestMs: 1_000 * hourMs };
  const withBench = async (
    use: (bench: HistoryStoreBench) => Promise<void>,
    options: Partial<HistoryBounds> = {},
  ) => {
    const bench = await makeBench({
      bounds: { ...bounds, ...options },
      nowMs: startMs + 100 * hourMs,
    });
    try {
      await use(bench);
    } finally {
      await bench.stop();
    }
  };
  const found = async (store: HistoryStore, filter: TenureFilter) => {
    const { tenures, totalCount } = await store.ended(filter, all);
    assert.equal(totalCount, tenures.length);
    return tenures.map(({ ip: address, holder, untilMs }) => {
      const { owner } = holder;
      const who = owner.kind === "pod" ? owner.pod.name : owner.kind;
      return `${address} ${who} ${((untilMs ?? 0) - startMs) / hourMs}`;
    });
  };

  describe(`${name} as HistoryStore`, () => {
    it("tells tenures that ended, the last first, also after it was opened again", () =>
      withBench(async ({ store, reopen }) => {
        assert.deepEqual((await store.ended({}, all)).tenures, []);
        await store.append(aStory().slice(0, 2));
        await store.append(aStory().slice(2));
        for (const each of [store, await reopen()]) {
          const { tenures, totalCount, keptSinceMs } = await each.ended({}, all);
          assert.equal(totalCount, 4);
          assert.equal(keptSinceMs, undefined);
          assert.deepEqual(
            tenures,
            aStory()
              .toReversed()
              .flatMap(({ ip: address, atMs, isAbout, before }) =>
                before === undefined
                  ? []
                  : [{ ...before, ip: address, untilMs: atMs, untilIsAbout: isAbout }],
              ),
          );
        }
      }));

    it("narrows by address, namespace, pod, workload and time", () =>
      withBench(async ({ store }) => {
        await store.append(aStory());
        assert.deepEqual(await found(store, { ip: ip("10.0.70.2") }), [
          "10.0.70.2 web-1 4",
          "10.0.70.2 web-0 2",
        ]);
        assert.deepEqual(await found(store, { namespace: "ns2" }), ["fd00::2 job-7 5"]);
        assert.deepEqual(await found(store, { podName: "web-0" }), ["10.0.70.2 web-0 2"]);
        assert.deepEqual(await found(store, { appName: "web", appType: "statefulset" }), [
          "10.0.70.2 web-1 4",
          "10.0.70.2 web-0 2",
        ]);
        assert.deepEqual(await found(store, { appName: "web", appType: "deployment" }), []);
        const at = (hour: number) => {
          const ms = startMs + hour * hourMs;
          return found(store, { ip: ip("10.0.70.2"), fromMs: ms, untilMs: ms });
        };
        assert.deepEqual(await at(-1), []);
        assert.deepEqual(await at(0), ["10.0.70.2 web-0 2"]);
        // The moment of a change belongs to who comes.
        assert.deepEqual(await at(2), ["10.0.70.2 web-1 4"]);
        assert.deepEqual(await at(4), []);
      }));

    it("tells pages and how many there are", () =>
      withBench(async ({ store }) => {
        await store.append(aStory());
        const page = await store.ended({}, { offset: 1, limit: 2 });
        assert.equal(page.totalCount, 4);
        assert.deepEqual(
          page.tenures.map(({ ip: address }) => address),
          ["10.0.70.2", "10.0.70.3"],
        );
        assert.deepEqual((await store.ended({}, { offset: 9, limit: 2 })).tenures, []);
      }));

    it("tells who has each address according to it", () =>
      withBench(async ({ store, reopen }) => {
        await store.append(aStory());
        for (const each of [store, await reopen()]) {
          const holders = await each.lastHolders();
          assert.deepEqual([...holders.keys()].toSorted(), ["10.0.70.3", "fd00::2"]);
          assert.deepEqual(holders.get(ip("fd00::2")), {
            holder: podHolder("web-0"),
            fromMs: startMs + 5 * hourMs,
            fromIsAbout: true,
          });
        }
      }));

    it("forgets the oldest when there are too many, says since when it knows, and keeps the bound", () =>
      withBench(
        async ({ store, reopen }) => {
          const holder = podHolder("web-0");
          for (let round = 0; round < 8; round += 1) {
            await store.append(
              Array.from({ length: 1_000 }, (_, index) => {
                const hour = (round * 1_000 + index) / 100;
                return change("10.0.70.2", hour, [holder, hour - 0.01], undefined);
              }),
            );
          }
          for (const each of [store, await reopen()]) {
            const { totalCount, keptSinceMs } = await each.ended({}, { offset: 0, limit: 1 });
            assert.ok(totalCount >= 2_000 && totalCount <= 4_500, `${totalCount} are kept`);
            assert.ok((keptSinceMs ?? 0) >= startMs + 30 * hourMs, `kept since ${keptSinceMs}`);
          }
        },
        { mostChanges: 2_500 },
      ));

    it("forgets what is too old", () =>
      withBench(
        async ({ store, reopen }) => {
          const holder = podHolder("web-0");
          const old = Array.from({ length: 1_500 }, (_, index) =>
            change("10.0.70.2", index / 100, [holder, 0], undefined),
          );
          await store.append(old);
          await store.append([change("10.0.70.3", 99, [holder, 98], undefined)]);
          for (const each of [store, await reopen()]) {
            const { tenures, totalCount } = await each.ended({}, all);
            assert.ok(totalCount < 1_000, `${totalCount} are kept`);
            assert.equal(tenures[0]?.ip, "10.0.70.3");
          }
        },
        { longestMs: 50 * hourMs },
      ));

    it("takes all changes of a large addition, in order", () =>
      withBench(async ({ store, reopen }) => {
        const holder = podHolder("web-0");
        const many = Array.from({ length: 2_345 }, (_, index) =>
          change("10.0.70.2", index / 100, [holder, (index - 1) / 100], holder),
        );
        await store.append(many);
        await store.append([change("10.0.70.2", 90, [holder, 50], undefined)]);
        const again = await reopen();
        const { tenures, totalCount } = await again.ended({}, { offset: 0, limit: 5_000 });
        assert.equal(totalCount, 2_346);
        const times = tenures.map(({ untilMs }) => untilMs ?? 0);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => b - a),
        );
      }));
  });
}
