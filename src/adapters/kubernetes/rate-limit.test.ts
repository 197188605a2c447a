// The token bucket and the pauses between attempts, on times that the test hands in.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Backoff, pause } from "./backoff.ts";
import { RateLimit } from "./rate-limit.ts";

test("over any time no more go than the burst and what the rate allows", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 200 }),
      (perSecond, burst, gaps) => {
        const limit = new RateLimit({ perSecond, burst });
        let nowMs = 1000;
        const goesAt: number[] = [];
        for (const gap of gaps) {
          nowMs += gap;
          const waitMs = limit.take(nowMs, Number.POSITIVE_INFINITY);
          assert.ok(waitMs !== undefined && waitMs >= 0);
          goesAt.push(nowMs + waitMs);
        }
        const lastMs = Math.max(...goesAt);
        assert.ok(goesAt.length <= burst + ((lastMs - 1000) / 1000) * perSecond + 1e-6);
      },
    ),
  );
});

test("whoever would have to wait too long takes nothing", () => {
  const limit = new RateLimit({ perSecond: 10, burst: 1 });
  assert.equal(limit.take(0, 0), 0);
  assert.equal(limit.take(0, 50), undefined);
  assert.equal(limit.take(0, 100), 100);
  assert.equal(limit.take(0, 150), undefined);
  assert.equal(limit.take(200, 0), 0);
});

test("rate 0 is no limit", () => {
  const limit = new RateLimit({ perSecond: 0, burst: 1 });
  for (let index = 0; index < 1000; index += 1) assert.equal(limit.take(0, 0), 0);
});

test("pauses double up to the longest, are shortened at random, and obey Retry-After", () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1000 });
  for (const fullMs of [100, 200, 400, 800, 1000, 1000]) {
    const ms = backoff.nextMs(undefined);
    assert.ok(ms >= fullMs / 2 && ms <= fullMs, `${ms} of ${fullMs}`);
  }
  assert.ok(backoff.nextMs(5000) >= 5000);
  backoff.reset();
  assert.ok(backoff.nextMs(undefined) <= 100);
});

test("a pause ends early when it is stopped, and does not begin when it was", async () => {
  const stopping = new AbortController();
  const paused = pause(60_000, stopping.signal);
  stopping.abort();
  await paused;
  await pause(60_000, stopping.signal);
});
