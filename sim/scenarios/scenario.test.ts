// The format: what is read, and how a wrong line is named.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Scenario } from "./scenario.ts";
import { parseScenario } from "./scenario.ts";

const head = `title: A story
nodes:
| node | address  |
| n1   | 10.0.0.1 |
`;

function scenarioOf(text: string): Scenario {
  const parsed = parseScenario("a.scenario", text);
  if (parsed.kind === "problems") throw new Error(parsed.problems.join("\n"));
  return parsed.scenario;
}

function problemsOf(text: string): readonly string[] {
  const parsed = parseScenario("a.scenario", text);
  return parsed.kind === "problems" ? parsed.problems : [];
}

/** The problem of one line in a step of an otherwise right scenario; it stands on line 6. */
function problemOf(line: string): string {
  const problems = problemsOf(`${head}step: something\n  ${line}\n  expect no pods\n`);
  assert.equal(problems.length, 1, problems.join("\n"));
  return problems[0] ?? "";
}

test("a scenario is read with its tables and the lines that they stand on", () => {
  const text = `# a comment
${head}
step: create
  create statefulset shop/db replicas=2 policy=immutable  
  settle

  expect pods:
  | pod       | addresses |
  # between rows
  | shop/db-0 | $a        |
`;
  const { nodes, steps, subnets, title } = scenarioOf(text);
  assert.equal(title, "A story");
  assert.equal(subnets, undefined);
  assert.deepEqual(nodes, {
    columns: ["node", "address"],
    rows: [{ line: 5, cells: ["n1", "10.0.0.1"] }],
  });
  const [step] = steps;
  assert.equal(step?.title, "create");
  assert.deepEqual(step.items, [
    {
      line: 8,
      kind: "action",
      action: {
        kind: "create",
        what: "statefulset",
        object: { namespace: "shop", name: "db" },
        fields: new Map([
          ["replicas", "2"],
          ["policy", "immutable"],
        ]),
      },
    },
    { line: 9, kind: "action", action: { kind: "settle" } },
    {
      line: 11,
      kind: "expectation",
      about: "pods",
      table: {
        columns: ["pod", "addresses"],
        rows: [{ line: 14, cells: ["shop/db-0", "$a"] }],
      },
    },
  ]);
});

test("every action is understood", () => {
  const lines: readonly (readonly [string, object])[] = [
    ["apply examples/pool.yaml", { kind: "apply", path: "examples/pool.yaml" }],
    [
      "scale tapp a/b to 3",
      { kind: "scale", what: "tapp", object: { namespace: "a", name: "b" }, replicas: 3 },
    ],
    [
      "roll deployment a/b",
      { kind: "roll", what: "deployment", object: { namespace: "a", name: "b" }, replicas: 0 },
    ],
    [
      "delete job a/b",
      { kind: "delete workload", what: "job", object: { namespace: "a", name: "b" }, replicas: 0 },
    ],
    [
      "delete pod a/$b",
      { kind: "delete pod", object: { namespace: "a", name: "$b" }, isForced: false },
    ],
    [
      "delete pod a/b by force",
      { kind: "delete pod", object: { namespace: "a", name: "b" }, isForced: true },
    ],
    ["evict pod a/b", { kind: "evict pod", object: { namespace: "a", name: "b" } }],
    ["delete pool a/b", { kind: "delete pool", object: { namespace: "a", name: "b" } }],
    ["delete node n1", { kind: "delete node", node: "n1" }],
    ["stop node $n", { kind: "stop node", node: "$n" }],
    ["start node n1", { kind: "start node", node: "n1" }],
    ["add node n2 10.0.0.2", { kind: "add node", node: "n2", address: "10.0.0.2" }],
    ["reserve 10.0.0.9", { kind: "reserve", address: "10.0.0.9" }],
    ["delete record 10.0.0.9", { kind: "delete record", address: "10.0.0.9" }],
    ["kill leader", { kind: "kill leader" }],
    ["wait 30s", { kind: "wait", ms: 30_000 }],
    ["settle", { kind: "settle" }],
  ];
  for (const [line, action] of lines) {
    const { steps } = scenarioOf(`${head}step: one\n${line}\nexpect no pods\n`);
    assert.deepEqual(steps[0]?.items[0], { line: 6, kind: "action", action });
  }
});

test("a wrong line names file, line, reason and what is allowed", () => {
  assert.equal(
    problemOf("wait 30"),
    'a.scenario:6: "30" is no time; write seconds, for example "wait 30s"',
  );
  assert.match(problemOf("destroy everything"), /^a\.scenario:6: .* allowed in a step are: apply /);
  assert.match(problemOf("scale deployment a/b 3"), /write "scale KIND NAMESPACE\/NAME to N"/);
  assert.match(problemOf("delete thing a/b"), /no kind "thing" to delete; kinds are deployment, /);
  assert.match(problemOf("create widget a/b"), /write "create deployment\|/);
  assert.match(
    problemOf("create pod a/b replicas=2"),
    /a pod has no field "replicas"; fields are policy=, pool=, /,
  );
  assert.match(
    problemOf("create deployment a/b policy=sometimes"),
    /"sometimes" is no value of policy; it has to fit .*immutable\|never/,
  );
  assert.match(problemOf("create deployment a/b replicas=1 replicas=2"), /stands there twice/);
  assert.match(problemOf("roll deployment web"), /"web" names no object; write NAMESPACE\/NAME/);
  assert.match(
    problemOf("expect weather:"),
    /"weather" cannot be expected; allowed are .*"expect pods:"/,
  );
  assert.match(
    problemOf("expect pods:"),
    /the table of pods is missing; below it belongs \| pod \|/,
  );
  assert.match(problemOf("| a | b |"), /a table row stands alone/);
  assert.match(problemOf("subnets:"), /"subnets:" belongs before the first step/);
  assert.match(problemOf("add node n1"), /allowed here are: add node NAME ADDRESS/);
});

test("a wrong table names the row and the columns", () => {
  const tableProblem = (rows: string) => problemsOf(`${head}step: one\nexpect pods:\n${rows}`);
  assert.deepEqual(tableProblem("| pod | colour |\n"), [
    'a.scenario:7: pods have no column "colour"; columns are | pod | state | node | addresses |',
  ]);
  assert.deepEqual(tableProblem("| state |\n| Running |\n"), [
    'a.scenario:7: the column "pod" of pods is missing; columns are | pod | state | node | addresses |',
  ]);
  assert.deepEqual(tableProblem("| pod | state |\n| a/b |\n"), [
    "a.scenario:8: the row has 1 cells, but the table has 2 columns: pod, state",
  ]);
  assert.match(
    tableProblem("| pod | state |\n| a/b | Running\n")[0] ?? "",
    /does not end with "\|"/,
  );
  assert.match(tableProblem("| pod | pod |\n")[0] ?? "", /stands there twice/);
});

test("all problems of a file are named at once, in the order of its lines", () => {
  const problems = problemsOf("step: one\n  jump\n  settle now\nstep: two\n");
  assert.deepEqual(
    problems.map((problem) => problem.split(" ")[0]),
    [1, 1, 1, 1, 2, 3, 4].map((line) => `a.scenario:${line}:`),
  );
});

test("a scenario that could not fail is refused", () => {
  assert.deepEqual(problemsOf(`${head}step: one\nsettle\n`), [
    'a.scenario:1: nothing is expected; add "expect …:" tables, or it could never fail',
  ]);
  assert.deepEqual(problemsOf(head), [
    'a.scenario:1: there is no "step: …"; nothing would be played',
  ]);
});
