// The daemon's metrics as text: names and labels that dashboards rely on, gauges without a value, and labels that others choose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PrometheusNodeMetrics } from "./prometheus-node-metrics.ts";

test("counts, times and gauges have the names and labels of docs/node.md", async () => {
  const metrics = new PrometheusNodeMetrics("1.2.3");
  metrics.addGauges({
    attachments: async () => 3,
    containers: async () => 2,
    isRuntimeReachable: () => true,
    secondsSinceLook: () => 1.5,
  });
  metrics.time("cni_duration", 0.03, { command: "ADD", result: "ok" });
  metrics.count("repairs", { outcome: "restored" }, 2);
  metrics.count("garbage", { outcome: "removed" });
  metrics.count("runtime_questions", { outcome: "failed" });
  metrics.count("network_statuses", { outcome: "written" });
  metrics.count("api_errors", { code: "0" });
  const { contentType, text } = await metrics.text();
  assert.match(contentType, /^text\/plain/);
  for (const line of [
    'galaxy_node_cni_duration_seconds_bucket{le="0.05",command="ADD",result="ok"} 1',
    'galaxy_node_cni_duration_seconds_count{command="ADD",result="ok"} 1',
    'galaxy_node_repairs_total{outcome="restored"} 2',
    'galaxy_node_garbage_total{outcome="removed"} 1',
    'galaxy_node_runtime_questions_total{outcome="failed"} 1',
    'galaxy_node_network_statuses_total{outcome="written"} 1',
    'galaxy_node_api_errors_total{code="0"} 1',
    "galaxy_node_attachments 3",
    "galaxy_node_containers 2",
    "galaxy_node_runtime_reachable 1",
    "galaxy_node_last_look_seconds 1.5",
    'galaxy_build_info{version="1.2.3"} 1',
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} in\n${text}`);
  }
});

test("a gauge without a value is left out, also when it had one", async () => {
  const metrics = new PrometheusNodeMetrics("1");
  let isReachable: boolean | undefined = false;
  metrics.addGauges({
    attachments: async () => undefined,
    containers: async () => undefined,
    isRuntimeReachable: () => isReachable,
    secondsSinceLook: () => undefined,
  });
  assert.match((await metrics.text()).text, /^galaxy_node_runtime_reachable 0$/m);
  isReachable = undefined;
  const { text } = await metrics.text();
  for (const name of ["runtime_reachable", "attachments", "containers", "last_look_seconds"]) {
    assert.doesNotMatch(text, new RegExp(`^galaxy_node_${name} `, "m"));
  }
});

test("codes that other people's plugins invent do not fill the memory", async () => {
  const metrics = new PrometheusNodeMetrics("1");
  for (let code = 0; code < 1_000; code += 1) {
    metrics.time("cni_duration", 1, { command: "ADD", result: String(code) });
  }
  const { text } = await metrics.text();
  const series = text.split("\n").filter((line) => /_duration_seconds_count/.test(line));
  assert.equal(series.length, 65);
  assert.match(text, /_count\{command="ADD",result="other"\} 936/);
});
