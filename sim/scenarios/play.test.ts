// The player: how a scenario ends that does not go as written, and that it always goes the same way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { playScenario } from "./play.ts";
import { parseScenario } from "./scenario.ts";

const head = `title: A story
subnets:
| ips                 | subnet       | gateway   | vlan | node subnets |
| 10.0.70.2~10.0.70.9 | 10.0.70.0/24 | 10.0.70.1 | 0    | 10.0.0.0/24  |
nodes:
| node | address  |
| n1   | 10.0.0.1 |
step: it begins
`;

/** How a story ends whose first step, from line 9 on, is this. */
async function failureOf(lines: string): Promise<string | undefined> {
  const parsed = parseScenario("a.scenario", `${head}${lines}\n`);
  if (parsed.kind === "problems") assert.fail(parsed.problems.join("\n"));
  return (await playScenario(parsed.scenario)).failure;
}

test("a difference ends a scenario with file, line and what there is", async () => {
  const failure = await failureOf(`create statefulset default/db replicas=1
settle
expect addresses:
| address   | owner            |
| 10.0.70.3 | pod default/db-0 |`);
  assert.equal(
    failure,
    `a.scenario:11: addresses are not as expected
  nothing fits
  | 10.0.70.3 | pod default/db-0 |
  there is
  | address | owner |
  | 10.0.70.2 | pod default/db-0 |`,
  );
});

test("a row too many is a difference", async () => {
  const failure = await failureOf(`create pod default/a
settle
expect no pods`);
  assert.match(failure ?? "", /^a\.scenario:11: pods are not as expected/);
});

test("what cannot be done is said with its line", async () => {
  const expect = "\nexpect no pods";
  assert.equal(
    await failureOf(`scale deployment shop/web to 3${expect}`),
    "a.scenario:9: there is no Deployment shop/web to scale",
  );
  assert.equal(await failureOf(`stop node n9${expect}`), "a.scenario:9: there is no node n9");
  assert.equal(
    await failureOf(`delete pod shop/$web${expect}`),
    'a.scenario:9: "$web" has a name without value; a table of "expect" has to give it one first (known: )',
  );
  assert.equal(
    await failureOf(`apply examples/nothing.yaml${expect}`),
    "a.scenario:9: examples/nothing.yaml cannot be read; paths start at the repository's root",
  );
});

test("the same scenario always goes the same way", async () => {
  const tracesOf = async () => {
    const parsed = parseScenario(
      "a.scenario",
      `${head}create deployment default/web replicas=3 policy=immutable
roll deployment default/web
wait 60s
expect pods:
| pod |
| *   |
| *   |
| *   |
`,
    );
    if (parsed.kind === "problems") assert.fail(parsed.problems.join("\n"));
    const lines: string[] = [];
    await playScenario(parsed.scenario, { tell: () => {}, trace: (line) => lines.push(line) });
    return lines;
  };
  const first = await tracesOf();
  assert.ok(first.length > 20);
  assert.deepEqual(await tracesOf(), first);
});
