// Metrics as a scraper sees them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aPodSubnet } from "../../../test/builders.ts";
import { PrometheusMetrics } from "./prometheus-metrics.ts";

const aMetrics = () => new PrometheusMetrics({ version: "1.2.3", withProcessMetrics: false });

/** The lines of one metric, without help and type. */
async function linesOf(metrics: PrometheusMetrics, name: string): Promise<string[]> {
  const text = await metrics.text();
  return text.split("\n").filter((line) => line.startsWith(name) && /^[a-z_]+[{ ]/.test(line));
}

const usage = {
  subnet: aPodSubnet({ ranges: ["10.0.70.2~10.0.70.241"] }),
  total: 240,
  bound: 100,
  reserved: 20,
  admin: 3,
  held: 2,
  free: 115,
  draining: 4,
};

describe("PrometheusMetrics", () => {
  test("case 135: galaxy_ip_counter has the Go system's types and labels, and ours", async () => {
    const metrics = aMetrics();
    metrics.addGauges({
      usage: () => [usage],
      reclaimQueueLength: () => 7,
      isLeader: () => true,
      isConfigValid: () => false,
      watchStaleness: () => new Map([["pods", 1.5]]),
    });
    const labels = 'subnet="10.0.70.0/24",first_ip="10.0.70.2"';
    assert.deepEqual((await linesOf(metrics, "galaxy_ip_counter")).toSorted(), [
      `galaxy_ip_counter{type="admin",${labels}} 3`,
      `galaxy_ip_counter{type="allocated",${labels}} 123`,
      `galaxy_ip_counter{type="bound",${labels}} 100`,
      `galaxy_ip_counter{type="draining",${labels}} 4`,
      `galaxy_ip_counter{type="free",${labels}} 115`,
      `galaxy_ip_counter{type="held",${labels}} 2`,
      `galaxy_ip_counter{type="reserved",${labels}} 20`,
      `galaxy_ip_counter{type="total",${labels}} 240`,
    ]);
    assert.deepEqual(await linesOf(metrics, "galaxy_subnet_free_ratio"), [
      `galaxy_subnet_free_ratio{${labels}} ${115 / 240}`,
    ]);
    assert.deepEqual(await linesOf(metrics, "galaxy_holds"), ["galaxy_holds 2"]);
    assert.deepEqual(await linesOf(metrics, "galaxy_reclaim"), ["galaxy_reclaim_queue_length 7"]);
    assert.deepEqual(await linesOf(metrics, "galaxy_leader"), ["galaxy_leader 1"]);
    assert.deepEqual(await linesOf(metrics, "galaxy_config"), ["galaxy_config_valid 0"]);
    assert.deepEqual(await linesOf(metrics, "galaxy_watch"), [
      'galaxy_watch_staleness_seconds{resource="pods"} 1.5',
    ]);
  });

  test("a subnet that left the configuration leaves the metrics", async () => {
    const metrics = aMetrics();
    let subnets = [usage];
    metrics.addGauges({
      usage: () => subnets,
      reclaimQueueLength: () => 0,
      isLeader: () => false,
      isConfigValid: () => true,
      watchStaleness: () => new Map(),
    });
    assert.equal((await linesOf(metrics, "galaxy_ip_counter")).length, 8);
    subnets = [];
    assert.deepEqual(await linesOf(metrics, "galaxy_ip_counter"), []);
  });

  test("case 135: galaxy_schedule_latency has every bucket of the Go system", async () => {
    const metrics = aMetrics();
    metrics.time("schedule_latency", 0.15, { func: "filter" });
    const lines = await linesOf(metrics, "galaxy_schedule_latency");
    for (const [bound, count] of [
      ["0.1", 0],
      ["0.2", 1],
      ["0.4", 1],
      ["0.8", 1],
      ["1.6", 1],
      ["3.2", 1],
      ["6.4", 1],
      ["+Inf", 1],
    ] as const) {
      assert.ok(
        lines.includes(`galaxy_schedule_latency_bucket{le="${bound}",func="filter"} ${count}`),
        lines.join("\n"),
      );
    }
    assert.ok(lines.includes('galaxy_schedule_latency_count{func="filter"} 1'));
    assert.match(await metrics.text(), /# TYPE galaxy_cloud_provider_latency histogram/);
  });

  test("counters of the port are galaxy_NAME_total", async () => {
    const metrics = aMetrics();
    metrics.count("bad_input", { input: "body" });
    metrics.count("bad_input", { input: "body" }, 2);
    metrics.count("rollout_deadlocks");
    assert.deepEqual(await linesOf(metrics, "galaxy_bad_input_total"), [
      'galaxy_bad_input_total{input="body"} 3',
    ]);
    assert.deepEqual(await linesOf(metrics, "galaxy_rollout_deadlocks_total"), [
      "galaxy_rollout_deadlocks_total 1",
    ]);
  });

  test("unknown labels, senseless amounts and any text do not throw", () => {
    const metrics = aMetrics();
    metrics.count("changes", { change: "taken", ip: "10.0.0.1" });
    metrics.count("changes", {}, -1);
    metrics.count("changes", {}, Number.NaN);
    metrics.time("schedule_latency", Number.NaN, { func: "bind" });
    metrics.time("resync_duration", 1, { other: "x" });
    metrics.count("refusals", { reason: '"\n\\{}' });
  });

  test("a label that takes ever new values is counted as other", async () => {
    const metrics = aMetrics();
    for (let index = 0; index < 1_000; index += 1) {
      metrics.count("refusals", { reason: `pod ${index}` });
    }
    const lines = await linesOf(metrics, "galaxy_refusals_total");
    assert.equal(lines.length, 65);
    assert.ok(lines.includes('galaxy_refusals_total{reason="other"} 936'));
  });

  test("the version is a label of galaxy_build_info", async () => {
    assert.deepEqual(await linesOf(aMetrics(), "galaxy_build_info"), [
      'galaxy_build_info{version="1.2.3"} 1',
    ]);
  });
});
