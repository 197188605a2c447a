// Tests of reading a stream of events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEventBlock } from "./live.ts";

test("a block gives its id and event, a sign of life neither, foreign data no event", () => {
  assert.deepEqual(parseEventBlock('id: 7\nevent: pool\ndata: {"kind":"pool","name":"p"}'), {
    id: "7",
    data: { kind: "pool", name: "p" },
  });
  assert.deepEqual(parseEventBlock(":"), { id: undefined, data: undefined });
  assert.deepEqual(parseEventBlock("data: {"), { id: undefined, data: undefined });
  assert.deepEqual(parseEventBlock("data: 5"), { id: undefined, data: undefined });
});
