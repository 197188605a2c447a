// The contract of the history by the Kubernetes adapter on a real API server, and what happens to it when writers are killed or meet.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ApiClient } from "../../src/adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../../src/adapters/kubernetes/credentials.ts";
import { KubernetesHistoryStore } from "../../src/adapters/kubernetes/history-store.ts";
import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { FixedLeadership } from "../../src/adapters/memory/leadership.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import type { HolderChange } from "../../src/core/tenure.ts";
import { ip } from "../builders.ts";
import { describeHistoryStore } from "../contract/history-store.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { startFaultyApiProxy } from "../control-plane/faulty-api-proxy.ts";
import { customKind } from "../control-plane/kinds.ts";

const skip = await reasonToSkip();
const histories = customKind(
  "galaxy.k8s.io/v1alpha1",
  "FloatingIPHistory",
  "floatingiphistories",
  "Cluster",
);

describe("history on a real API server", { skip }, () => {
  let plane: ControlPlane;
  let client: ApiClient;
  const log = new MemoryLog();

  before(async () => {
    plane = await startControlPlane({ hasControllers: false });
    client = new ApiClient({
      access: await openApiAccess({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), master: "" }),
    });
    await storeOf("installer").lastHolders();
  });

  after(async () => {
    client?.close();
    await plane?.stop();
  });

  const usual = { mostChanges: 10_000, longestMs: 3_600_000_000 };

  function storeOf(identity: string, bounds = usual, by = client, nowMs?: number) {
    const clock = new ManualClock(nowMs);
    const leadership = new FixedLeadership();
    return new KubernetesHistoryStore({ client: by, log, clock, leadership, identity, bounds });
  }

  async function clear(): Promise<void> {
    for (const { metadata } of await plane.api.list({ kind: histories })) {
      await plane.api.delete(histories, metadata);
    }
  }

  const reserved = (key: string) => ({
    owner: { kind: "admin", key } as const,
    podUid: "",
    nodeName: "",
  });
  const note = (atMs: number, key: string): HolderChange => ({
    ip: ip("10.0.70.2"),
    atMs,
    isAbout: false,
    before: { holder: reserved(key), fromMs: atMs - 1, fromIsAbout: false },
    after: undefined,
  });
  async function keys(): Promise<readonly string[]> {
    const { tenures } = await storeOf("reader").ended({}, { offset: 0, limit: 10_000 });
    return tenures.map(({ holder }) => (holder.owner.kind === "admin" ? holder.owner.key : ""));
  }

  describeHistoryStore("KubernetesHistoryStore", async ({ bounds, nowMs }) => ({
    store: storeOf("one", bounds, client, nowMs),
    reopen: async () => storeOf("other", bounds, client, nowMs),
    stop: clear,
  }));

  test("two that write at once lose nothing and repeat nothing", async () => {
    const [one, other] = [storeOf("one"), storeOf("other")];
    const write = async (store: KubernetesHistoryStore, name: string) => {
      for (let index = 0; index < 10; index += 1) {
        const change = [note(1_700_000_000_000 + index, `${name}-${index}`)];
        for (let attempt = 0; ; attempt += 1) {
          try {
            await store.append(change);
            break;
          } catch (error) {
            if (attempt === 100) throw error;
          }
        }
      }
    };
    await Promise.all([write(one, "one"), write(other, "other")]);
    const expected = ["one", "other"].flatMap((name) =>
      Array.from({ length: 10 }, (_, index) => `${name}-${index}`),
    );
    assert.deepEqual((await keys()).toSorted(), expected.toSorted());
    await clear();
  });

  test("a write that was made although its answer was lost is not made again", async () => {
    const proxy = await startFaultyApiProxy();
    proxy.forwardTo(plane.api.address);
    const throughProxy = new ApiClient({
      access: await openApiAccess({
        kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
        master: proxy.url,
      }),
      timeLimitMs: 3_000,
    });
    try {
      const store = storeOf("one", usual, throughProxy);
      await store.append([note(1_700_000_000_000, "first")]);
      const changes = [note(1_700_000_000_001, "second"), note(1_700_000_000_002, "third")];
      const rule = proxy.break(
        ({ method, path }) => method === "PUT" && path.includes("floatingiphistories"),
        { kind: "lose answer" },
        { times: 1 },
      );
      await assert.rejects(store.append(changes));
      assert.equal(rule.count(), 1);
      await store.append([...changes, note(1_700_000_000_003, "fourth")]);
      assert.deepEqual(await keys(), ["fourth", "third", "second", "first"]);
    } finally {
      throughProxy.close();
      await proxy.stop();
      await clear();
    }
  });

  test("a chunk that somebody spoiled is left as it is, and what comes goes on behind it", async () => {
    await storeOf("one").append([note(1_700_000_000_000, "first")]);
    const [chunk] = await plane.api.list({ kind: histories });
    const name = chunk?.metadata.name ?? "";
    await plane.api.patch(histories, { name }, { spec: { changes: "bm8gZ3ppcA==" } });
    await storeOf("other").append([note(1_700_000_000_001, "second")]);
    assert.deepEqual(await keys(), ["second"]);
    const left = await plane.api.get<{ spec: { changes: string } } & typeof chunk & object>(
      histories as never,
      { name },
    );
    assert.equal(left?.spec.changes, "bm8gZ3ppcA==");
    await clear();
  });
});
