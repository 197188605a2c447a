// The index of carriers against looking through all pods, after any changes.

import assert from "node:assert/strict";
import { it } from "node:test";
import * as fc from "fast-check";
import { aPod, ip } from "../../test/builders.ts";
import { CarrierIndex } from "./carrier-index.ts";
import type { PodFacts } from "./facts.ts";

const texts = ["10.0.70.2", "10.0.70.3", "fd00:70::2"];
const names = ["a", "b", "c"];

it("finds the same pods as looking through all of them, whatever comes, changes and goes", () => {
  const arbChange = fc.record({
    name: fc.constantFrom(...names),
    assignedIps: fc.option(fc.array(fc.constantFrom(...texts), { maxLength: 3 })),
  });
  fc.assert(
    fc.property(fc.array(arbChange, { maxLength: 30 }), (changes) => {
      const index = new CarrierIndex();
      const pods = new Map<string, PodFacts>();
      for (const { name, assignedIps } of changes) {
        const before = pods.get(name);
        const after = assignedIps === null ? undefined : aPod({ name, assignedIps });
        if (after === undefined) pods.delete(name);
        else pods.set(name, after);
        index.replace(before, after);
        for (const text of texts) {
          const expected = [...pods.values()].filter((pod) => pod.assignedIps.includes(ip(text)));
          assert.deepEqual(new Set(index.of(ip(text))), new Set(expected), text);
          assert.equal(index.of(ip(text)).length, expected.length, text);
        }
      }
    }),
  );
});
