// What tests can ask the in-memory metrics, log and leadership for.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FixedLeadership } from "./leadership.ts";
import { MemoryLog } from "./log.ts";
import { MemoryMetrics } from "./metrics.ts";

describe("MemoryMetrics", () => {
  it("adds up a counter over the series that carry the labels asked for", () => {
    const metrics = new MemoryMetrics();
    metrics.count("changes", { change: "taken" });
    metrics.count("changes", { change: "released", why: "resync" }, 3);
    metrics.count("repairs", { kind: "found" });
    assert.equal(metrics.countOf("changes"), 4);
    assert.equal(metrics.countOf("changes", { change: "released" }), 3);
    assert.equal(metrics.countOf("changes", { change: "adopted" }), 0);
  });

  it("keeps times in order", () => {
    const metrics = new MemoryMetrics();
    metrics.time("schedule_latency", 0.2, { func: "filter" });
    metrics.time("schedule_latency", 0.1, { func: "bind" });
    metrics.time("schedule_latency", 0.3, { func: "filter" });
    assert.deepEqual(metrics.timesOf("schedule_latency", { func: "filter" }), [0.2, 0.3]);
    assert.deepEqual(metrics.timesOf("reclaim_latency"), []);
  });
});

describe("MemoryLog", () => {
  it("keeps lines with level, fields and cause, and finds those of a level", () => {
    const log = new MemoryLog();
    const cause = new Error("why");
    log.info("address taken", { ip: "10.0.70.2" });
    log.warn("write failed", { ip: "10.0.70.2" }, cause);
    log.error("someone must act");
    log.debug("the rest");
    assert.deepEqual(log.lines("warn"), [
      { level: "warn", message: "write failed", fields: { ip: "10.0.70.2" }, cause },
    ]);
    assert.deepEqual(
      log.lines().map((line) => line.level),
      ["info", "warn", "error", "debug"],
    );
  });
});

describe("FixedLeadership", () => {
  it("says what it was told, and what it is told later", () => {
    const leadership = new FixedLeadership();
    assert.deepEqual([leadership.isLeader(), leadership.leaderName()], [true, "self"]);
    leadership.become(false, "other");
    assert.deepEqual([leadership.isLeader(), leadership.leaderName()], [false, "other"]);
    assert.equal(new FixedLeadership(false).leaderName(), "");
  });
});
