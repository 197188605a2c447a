// What a page may show of what was printed: the same but for addresses, names and times, and those one for one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compareOutput } from "./shown-output.ts";

const shown = `NAME                   IP          AGE
web-7df8d76448-cpxj8   10.0.70.2   1s
web-7df8d76448-g9wzw   10.0.70.3   1s
`;
const printed = `NAME IP AGE
web-965655d49-aaaaa 10.0.70.18 2m5s
web-965655d49-bbbbb 10.0.70.17 12s
`;

test("a run with other addresses, names, ages and blanks is what the page shows", () => {
  assert.equal(compareOutput(shown, printed).kind, "same");
  assert.equal(
    compareOutput("at 2026-11-21T08:30:00Z", "at 2027-01-02T03:04:05.678Z").kind,
    "same",
  );
});

test("lines may come in another order, and an ellipsis stands for lines or for text", () => {
  assert.equal(compareOutput("a\nb\n", "b\na\n").kind, "same");
  assert.equal(compareOutput("…\nb\n", "x\ny\nb\n").kind, "same");
  assert.equal(compareOutput("pod … runs", "pod web on n1 runs").kind, "same");
});

test("what is bound above on the page means the same below", () => {
  const first = compareOutput(shown, printed);
  assert.ok(first.kind === "same");
  const later = "web-7df8d76448-cpxj8 10.0.70.2";
  const { bindings } = first;
  assert.equal(compareOutput(later, "web-965655d49-aaaaa 10.0.70.18", bindings).kind, "same");
  assert.equal(compareOutput(later, "web-965655d49-aaaaa 10.0.70.17", bindings).kind, "different");
  assert.equal(compareOutput("10.0.70.9", "10.0.70.17", bindings).kind, "different");
});

test("missing, further and different lines are told", () => {
  assert.deepEqual(compareOutput("a\nb", "a"), {
    kind: "different",
    because: 'nothing printed is like "b"',
  });
  assert.deepEqual(compareOutput("a", "a\nb"), {
    kind: "different",
    because: 'the page does not show "b"',
  });
  assert.equal(compareOutput("Bound 10.0.70.2", "Reserved 10.0.70.2").kind, "different");
});
