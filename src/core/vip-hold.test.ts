// Who may hold on without the API server.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HoldWord } from "./vip-hold.ts";
import { mayHoldOn } from "./vip-hold.ts";

const word = (from: string, wish: Partial<HoldWord> = {}): HoldWord => ({
  from,
  reachesApi: false,
  knowsLater: false,
  ...wish,
});

describe("holding on without the API server", () => {
  const voters = ["a", "b", "c", "d", "e"];
  const cases: readonly (readonly [string, readonly string[], readonly HoldWord[], boolean])[] = [
    ["alone among one", ["a"], [], true],
    ["alone among three", ["a", "b", "c"], [], false],
    ["with one of two others", ["a", "b", "c"], [word("b")], true],
    ["with a minority", voters, [word("b")], false],
    ["with a majority", voters, [word("b"), word("c")], true],
    ["with half of an even number", ["a", "b", "c", "d"], [word("b")], false],
    ["one word twice", voters, [word("b"), word("b")], false],
    ["with words of others than voters", voters, [word("b"), word("x")], false],
    ["as no voter itself", ["b", "c", "d"], [word("b"), word("c")], true],
    [
      "a majority, and one that reaches the API server",
      voters,
      [word("b"), word("c"), word("d", { reachesApi: true })],
      false,
    ],
    [
      "a majority, and one that knows better",
      voters,
      [word("b"), word("c"), word("d", { knowsLater: true })],
      false,
    ],
  ];
  for (const [name, who, words, expected] of cases) {
    it(`is ${expected ? "right" : "wrong"} ${name}`, () => {
      assert.equal(mayHoldOn("a", who, words), expected);
    });
  }
});
