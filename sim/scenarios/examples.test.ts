// Looks after the folder examples: each manifest is applied by a scenario, and each scheduler configuration is answered by the extender.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { createExtenderServer } from "../../src/adapters/http/extender-server.ts";
import { addressResource } from "../../src/wire/established-names.ts";
import { parseIpamFlags } from "../../src/wire/ipam-options.ts";
import type { JsonObject } from "./manifests.ts";
import { clusterObjectOf, parseManifests } from "./manifests.ts";
import { parseScenario } from "./scenario.ts";

const root = new URL("../../", import.meta.url);

function manifestsOf(path: string): readonly JsonObject[] {
  const parsed = parseManifests(path, readFileSync(new URL(path, root), "utf8"));
  if (parsed.kind === "problem") assert.fail(parsed.problem);
  return parsed.manifests.map(({ json }) => json);
}

function isSchedulerConfig(json: JsonObject): boolean {
  return json["kind"] === "KubeSchedulerConfiguration";
}

/** The simulator has neither kube-scheduler nor virtual addresses; an example of these is played in test/e2e/vip.test.ts. */
function isOfOthers(json: JsonObject): boolean {
  return isSchedulerConfig(json) || json["kind"] === "VIPPool";
}

const examples = readdirSync(new URL("examples/", root))
  .map((name) => `examples/${name}`)
  .filter((path) => path.endsWith(".yaml"));

test("every example is applied by a scenario, and scenarios apply nothing that is not there", () => {
  const folder = new URL("sim/scenarios/", root);
  const applied = new Set<string>();
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".scenario"))) {
    const parsed = parseScenario(name, readFileSync(new URL(name, folder), "utf8"));
    if (parsed.kind === "problems") assert.fail(parsed.problems.join("\n"));
    for (const { items } of parsed.scenario.steps) {
      for (const item of items) {
        if (item.kind === "action" && item.action.kind === "apply") applied.add(item.action.path);
      }
    }
  }
  const playable = examples.filter((path) => !manifestsOf(path).some(isOfOthers));
  assert.ok(playable.length > 10);
  assert.deepEqual(
    playable.filter((path) => !applied.has(path)),
    [],
    "examples that no scenario applies",
  );
});

test("every example says in its first line what it is for, and is understood", () => {
  for (const path of examples) {
    const text = readFileSync(new URL(path, root), "utf8");
    assert.match(text, /^# [A-Z].*\n/, path);
    for (const json of manifestsOf(path).filter((each) => !isOfOthers(each))) {
      const made = clusterObjectOf(json);
      if (made.kind === "problem") assert.fail(`${path}: ${made.problem}`);
      if (made.kind === "config") assert.equal(made.config.kind, "valid", path);
    }
  }
});

test("the list of the examples has each file", () => {
  const list = readFileSync(new URL("examples/README.md", root), "utf8");
  const named = [...list.matchAll(/`([\w-]+\.yaml)`/g)].map(([, name]) => `examples/${name}`);
  assert.deepEqual(named.toSorted(), examples.toSorted());
});

/** An extender as a scheduler configuration has it. */
type ExtenderConfig = {
  readonly urlPrefix: string;
  readonly filterVerb: string;
  readonly prioritizeVerb: string;
  readonly preemptVerb: string;
  readonly bindVerb: string;
  readonly nodeCacheCapable: boolean;
  readonly managedResources: readonly {
    readonly name: string;
    readonly ignoredByScheduler: boolean;
  }[];
};

test("every verb of the scheduler configurations is answered where galaxy-ipam listens", async () => {
  const configs = examples.flatMap((path) => manifestsOf(path).filter(isSchedulerConfig));
  assert.deepEqual(configs.map((config) => String(config["apiVersion"])).toSorted(), [
    "kubescheduler.config.k8s.io/v1",
    "kubescheduler.config.k8s.io/v1beta1",
  ]);
  const parsed = parseIpamFlags([]);
  assert.ok(parsed.kind === "flags", JSON.stringify(parsed));
  const door = createExtenderServer({
    scheduling: {
      filter: () =>
        Promise.resolve({ kind: "nodes", passed: [1], failed: new Map([["n1", "full"]]) }),
      prioritize: () => Promise.resolve([{ nodeName: "n2", score: 7 }]),
      bind: () => Promise.resolve({ kind: "bound" }),
      preempt: () => Promise.resolve(["n1"]),
    },
    health: {
      livenessProblem: () => undefined,
      healthProblem: () => undefined,
      readinessProblem: () => undefined,
    },
    leadership: { isLeader: () => true, leaderName: () => "ipam-0" },
    metrics: { count: () => {}, time: () => {} },
    log: { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} },
  });
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  try {
    for (const config of configs) {
      const extenders = config["extenders"] as readonly ExtenderConfig[];
      assert.equal(extenders.length, 1);
      const [extender] = extenders;
      assert.ok(extender !== undefined);
      assert.deepEqual(extender.managedResources, [
        { name: addressResource, ignoredByScheduler: true },
      ]);
      const url = new URL(extender.urlPrefix);
      assert.equal(Number(url.port), parsed.flags.port);
      url.port = String(port);
      const ask = async (verb: string, body: object): Promise<JsonObject> => {
        const response = await fetch(`${url.href}/${verb}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
        assert.equal(response.status, 200, `${url.href}/${verb}`);
        return (await response.json()) as JsonObject;
      };
      const Pod = { metadata: { name: "p", namespace: "default", uid: "u" }, spec: {} };
      assert.equal(extender.nodeCacheCapable, true);
      const nodes = { Pod, NodeNames: ["n1", "n2"] };
      const filtered = await ask(extender.filterVerb, nodes);
      assert.deepEqual(filtered["NodeNames"], ["n2"]);
      assert.deepEqual(await ask(extender.prioritizeVerb, nodes), [{ Host: "n2", Score: 7 }]);
      const victims = { n1: { Pods: [{ UID: "v" }], NumPDBViolations: 0 } };
      const kept = await ask(extender.preemptVerb, { Pod, NodeNameToMetaVictims: victims });
      assert.deepEqual(Object.keys(kept["NodeNameToMetaVictims"] as object), ["n1"]);
      const binding = { PodName: "p", PodNamespace: "default", PodUID: "u", Node: "n2" };
      assert.deepEqual(await ask(extender.bindVerb, binding), { Error: "" });
    }
  } finally {
    await door.close(0);
  }
});
