// The mixture of a seed: what one seed has, another has not, and what was thought of later leaves half of all seeds alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "./random.ts";
import type { OperationName } from "./swarm.ts";
import { drawSwarm } from "./swarm.ts";

const later: readonly OperationName[] = [
  "scale back",
  "stale workloads",
  "write quota",
  "delete quota",
];

test("half of all seeds have nothing of what was thought of later, and each of it is in enough of the others", () => {
  const swarms = Array.from({ length: 1_000 }, (_, seed) => drawSwarm(new Random(seed).fork()));
  const hasIt = (name: OperationName) => swarms.filter(({ operations }) => operations[name] > 0);
  const isPlain = swarms.filter(
    ({ operations, ttlShare }) => ttlShare === 0 && later.every((name) => operations[name] === 0),
  );
  assert.ok(isPlain.length >= 450 && isPlain.length < 700, `${isPlain.length} of 1000`);
  for (const name of later) assert.ok(hasIt(name).length >= 150, name);
  assert.ok(swarms.filter(({ ttlShare }) => ttlShare > 0).length >= 150);
});
