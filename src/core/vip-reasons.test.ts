// The words about claimants: each word of vip-holder.ts has a sentence of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ip } from "../../test/builders.ts";
import type { VipClaimant, VipRecord } from "./vip.ts";
import { newVipRecord } from "./vip.ts";
import { explainClaimant } from "./vip-reasons.ts";

const address = ip("192.0.2.50");
const words = [
  "PodTerminating",
  "PodNotRunning",
  "PodNotReady",
  "ProbeFailing",
  "NoAddressOfFamily",
  "NodeNotReady",
  "NoFreshAgent",
  "NoPool",
  "NamespaceNotAllowed",
  "AddressForbidden",
];

function aClaimant(name: string, reason: string | undefined): VipClaimant {
  return { pod: { namespace: "shop", name }, nodeName: "n1", reason };
}

function aRecord(holder: string | undefined, candidates: readonly VipClaimant[]): VipRecord {
  const record = newVipRecord(address, 0);
  const pod = { namespace: "shop", name: holder ?? "" };
  const held = { pod, podUid: "u", podIp: ip("10.0.0.1"), nodeName: "n1", session: 1 };
  return {
    ...record,
    holder: holder === undefined ? undefined : held,
    look: { ...record.look, state: holder === undefined ? "Unheld" : "Held", candidates },
  };
}

test("each reason is a sentence that names pod and address, and not the bare word", () => {
  for (const reason of words) {
    const text = explainClaimant(aRecord(undefined, []), aClaimant("web-0", reason));
    assert.match(text, /^pod shop\/web-0 may not hold 192\.0\.2\.50: [a-zA-Z0-9]/);
    assert.ok(!text.includes(reason), text);
  }
});

test("a holder holds, another that may stands by, and a word of another version is told as it is", () => {
  const record = aRecord("a", []);
  assert.equal(explainClaimant(record, aClaimant("a", undefined)), "pod shop/a holds 192.0.2.50");
  assert.match(explainClaimant(record, aClaimant("b", undefined)), /stands by/);
  assert.match(explainClaimant(record, aClaimant("b", "Strange")), /: Strange$/);
});
