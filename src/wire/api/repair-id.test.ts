// Ids of repairs there and back.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { arbIp, arbLabel, arbName } from "../../../test/contract/arbitraries.ts";
import { formatRepairId, parseRepairId } from "./repair-id.ts";

test("an id gives back what was proposed", () => {
  const pod = fc.record({ namespace: arbLabel, name: arbName });
  const repair = fc.oneof(
    fc.record({
      do: fc.constant("reclaim" as const),
      ip: arbIp,
      pod,
      version: fc.integer({ min: 0 }).map(String),
      outcome: fc.constantFrom("release" as const, "reserve" as const, "adopt" as const),
    }),
    fc.record({ do: fc.constant("adopt" as const), ip: arbIp, pod }),
    fc.record({ do: fc.constant("read again" as const), ip: arbIp }),
  );
  fc.assert(
    fc.property(repair, (proposed) => {
      assert.deepEqual(parseRepairId(formatRepairId(proposed)), structuredClone(proposed));
    }),
  );
});

test("anything else is no id", () => {
  for (const text of [
    "",
    "read",
    "read,10.0.0",
    "read,10.0.0.1,x/y",
    "adopt,10.0.0.1",
    "adopt,10.0.0.1,x",
    "adopt,10.0.0.1,x/y,1",
    "reclaim,10.0.0.1,x/y,1,destroy",
    "reclaim,10.0.0.1,x/y,1,release,more",
  ]) {
    assert.equal(parseRepairId(text), undefined, text);
  }
});
