// docs/api.md: every command of the page is executed, and the answers are those that the page shows.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ApiWorld } from "../api-world.ts";
import { aNode, aPod, aPodSubnet, controlledBy } from "../builders.ts";

const page = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");

/** Each block of commands with the answers below it. */
const examples = [...page.matchAll(/```sh\n([\s\S]*?)```\n\n```json\n([\s\S]*?)```/g)].map(
  ([, commands = "", answers = ""]) => ({
    commands: commands.trim().split("\n"),
    answers: splitAnswers(answers),
  }),
);

/** JSON values one after the other. */
function splitAnswers(text: string): readonly unknown[] {
  const values: unknown[] = [];
  let part = "";
  for (const line of text.trim().split("\n")) {
    part += line;
    try {
      values.push(JSON.parse(part));
      part = "";
    } catch {
      // The value goes on in the next line.
    }
  }
  assert.equal(part, "", "an answer of the page is not JSON");
  return values;
}

/** What the page shows is there; `…` stands for any text. Lists are as long as shown. */
function assertShown(actual: unknown, shown: unknown, where: string): void {
  if (typeof shown === "string" && typeof actual === "string" && shown.includes("…")) {
    const pattern = shown.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    assert.match(actual, new RegExp(`^${pattern.join(".*")}$`), where);
  } else if (Array.isArray(shown)) {
    assert.ok(Array.isArray(actual) && actual.length === shown.length, where);
    for (const [index, item] of shown.entries())
      assertShown(actual[index], item, `${where}[${index}]`);
  } else if (typeof shown === "object" && shown !== null) {
    assert.ok(typeof actual === "object" && actual !== null, where);
    for (const [name, value] of Object.entries(shown)) {
      assertShown((actual as Record<string, unknown>)[name], value, `${where}.${name}`);
    }
  } else assert.deepEqual(actual, shown, where);
}

describe("docs/api.md", () => {
  let api: ApiWorld;

  /** StatefulSet db with a pod that runs and one that is gone, and a pod that waits for a pool without room. */
  before(async () => {
    api = await ApiWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"] })]);
    const { cluster } = api.world;
    cluster.putNode(aNode("n1", "10.0.1.1"));
    cluster.putStatefulSet({ namespace: "default", name: "db", replicas: 2 });
    const controller = controlledBy("apps/v1", "StatefulSet", "db");
    for (const name of ["db-0", "db-1"]) {
      await api.world.schedule(aPod({ namespace: "default", name, policy: "never", controller }));
    }
    await api.world.deletePod({ namespace: "default", name: "db-1" });
    cluster.putPool({ name: "tiny", namespace: "kube-system", size: 0 });
    cluster.putPod(aPod({ namespace: "default", name: "waiting", pool: "tiny", controller }));
    await api.world.settle();
  });
  after(() => api.close());

  test("every command gives the answer that is shown", async () => {
    assert.ok(examples.length >= 8);
    for (const { commands, answers } of examples) {
      assert.equal(commands.length, answers.length, commands[0]);
      for (const [index, command] of commands.entries()) {
        const { body } = await api.curl(command);
        assertShown(body, answers[index], command);
        await api.world.settle();
      }
    }
  });

  test("every command of the page has an answer below it", () => {
    const commands = page.split("\n").filter((line) => line.startsWith("curl "));
    assert.equal(commands.length, examples.flatMap((example) => example.commands).length);
  });
});
