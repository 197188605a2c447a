// That the label follows the leadership through failures. That a Service then leads to the leader is tested in test/e2e.

import assert from "node:assert/strict";
import { test } from "node:test";
import { waitUntil } from "../../../test/control-plane/api.ts";
import { sendJson, sendStatus, startScriptedServer } from "../../../test/scripted-api-server.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { LeaderLabel, leaderLabel } from "./leader-label.ts";

/** Pods with and without the label behind a server that refuses the first `failures` requests. */
async function withPods(
  given: { readonly labelled: readonly string[]; readonly failures?: number },
  use: (bench: {
    readonly label: LeaderLabel;
    readonly labelled: Set<string>;
    readonly lead: (leads: boolean) => void;
    readonly log: MemoryLog;
    readonly requests: () => number;
  }) => Promise<void>,
): Promise<void> {
  const pods = new Set(["one", "two", "three"]);
  const labelled = new Set(given.labelled);
  let failures = given.failures ?? 0;
  await using server = await startScriptedServer((request, response) => {
    failures -= 1;
    if (failures >= 0) {
      sendStatus(response, 403, { message: "pods is forbidden" });
      return;
    }
    if (request.method === "GET") {
      assert.equal(request.query.get("labelSelector"), `${leaderLabel}=true`);
      sendJson(response, 200, { items: [...labelled].map((name) => ({ metadata: { name } })) });
      return;
    }
    const name = request.path.split("/").at(-1) ?? "";
    if (!pods.has(name)) {
      sendStatus(response, 404, { name });
      return;
    }
    const body = request.body as { metadata: { labels: Record<string, unknown> } };
    if (body.metadata.labels[leaderLabel] === "true") labelled.add(name);
    else labelled.delete(name);
    sendJson(response, 200, {});
  });
  const client = new ApiClient({ access: server.access });
  const log = new MemoryLog();
  let leads = false;
  const label = new LeaderLabel({
    client,
    log,
    namespace: "kube-system",
    podName: "one",
    isLeader: () => leads,
    times: { firstPauseMs: 1, maxPauseMs: 5 },
  });
  try {
    await use({
      label,
      labelled,
      lead: (value) => {
        leads = value;
        label.changed();
      },
      log,
      requests: () => server.seen.length,
    });
  } finally {
    await label.stop();
    client.close();
  }
}

const becomes = (labelled: ReadonlySet<string>, names: readonly string[]) =>
  waitUntil(
    `the label on ${names.join() || "nobody"}`,
    async () => [...labelled].toSorted().join(),
    (text) => text === names.join(),
    { everyMs: 2 },
  );

test("who begins to lead takes the label from a dead leader, and loses it when it leads no more", async () => {
  await withPods({ labelled: ["two"] }, async ({ labelled, lead }) => {
    lead(true);
    await becomes(labelled, ["one"]);
    lead(false);
    await becomes(labelled, []);
  });
});

test("a label that an earlier process of the pod left is taken away at start", async () => {
  await withPods({ labelled: ["one"] }, async ({ label, labelled }) => {
    label.changed();
    await becomes(labelled, []);
  });
});

test("while the API server refuses, the label is tried again, and the reason is said once", async () => {
  await withPods({ labelled: [], failures: 4 }, async ({ labelled, lead, log }) => {
    lead(true);
    await becomes(labelled, ["one"]);
    const warnings = log.lines("warn");
    assert.equal(warnings.length, 1);
    assert.match(JSON.stringify(warnings[0]), /pods is forbidden.*ClusterRole/);
  });
});

test("stopping takes the label away", async () => {
  await withPods({ labelled: [] }, async ({ label, labelled, lead }) => {
    lead(true);
    await becomes(labelled, ["one"]);
    await label.stop();
    assert.deepEqual([...labelled], []);
  });
});
