// What can be said about deploy/ without a cluster: it agrees with the sources. That it works is tested in test/e2e/install.test.ts.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseAllDocuments, parse as parseYaml } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { crdManifests } from "../../scripts/write-crds.ts";
import { PrometheusMetrics } from "../../src/adapters/metrics/prometheus-metrics.ts";
import { parseFloatingIpConfig } from "../../src/wire/floatingip-config.ts";
import { parseNodeConfig } from "../../src/wire/node-config.ts";
import { aPodSubnet } from "../builders.ts";

const deploy = fileURLToPath(new URL("../../deploy", import.meta.url));
const read = (path: string) => readFileSync(join(deploy, path), "utf8");

test("the definitions in deploy are those of the sources", () => {
  const written = crdManifests();
  const files = globSync("base/crds/*.yaml", { cwd: deploy }).map((path) => basename(path));
  assert.deepEqual(
    files.filter((name) => name !== "kustomization.yaml").toSorted(),
    [...written.keys()].toSorted(),
  );
  const { resources } = parseYaml(read("base/crds/kustomization.yaml")) as { resources: string[] };
  assert.deepEqual(resources.toSorted(), [...written.keys()].toSorted());
  for (const [name, text] of written) {
    assert.equal(read(`base/crds/${name}`), text, `${name}: run node scripts/write-crds.ts`);
  }
});

test("the scheduler's configurations say the same in every version of the format", () => {
  type Extender = Readonly<Record<string, unknown>>;
  const versions = ["v1beta1", "v1beta2", "v1beta3", "v1"];
  const configurations = versions.map(
    (version) => parseYaml(read(`scheduler/${version}.yaml`)) as Readonly<Record<string, unknown>>,
  );
  const [first] = configurations;
  for (const [index, configuration] of configurations.entries()) {
    const apiVersion = `kubescheduler.config.k8s.io/${versions[index]}`;
    assert.deepEqual(configuration, { ...first, apiVersion });
  }
  const [extender] = (first?.["extenders"] ?? []) as Extender[];
  const policy = JSON.parse(read("scheduler/policy.json")) as { extenders: Extender[] };
  // The old format counts nanoseconds, and spells one field otherwise.
  const { httpTimeout, enableHttps, ...rest } = policy.extenders[0] ?? {};
  assert.deepEqual({ ...rest, httpTimeout: `${Number(httpTimeout) / 1e9}s` }, { ...extender });
  assert.equal(enableHttps, false);
});

test("the example has this version's images and configurations that are accepted", () => {
  const { images } = parseYaml(read("overlays/example/kustomization.yaml")) as {
    images: { name: string; newTag: string }[];
  };
  for (const { name, newTag } of images) assert.equal(newTag, manifest.version, name);
  const objects = ["overlays/example/pod-subnets.yaml", "overlays/example/networks.yaml"].flatMap(
    (path) => parseAllDocuments(read(path)).map((document) => document.toJS() as unknown),
  ) as { data: Readonly<Record<string, string>> }[];
  const texts = Object.assign({}, ...objects.map(({ data }) => data)) as Record<string, string>;
  const subnets = parseFloatingIpConfig(texts["floatingips"] ?? "");
  assert.equal(subnets.kind, "valid", JSON.stringify(subnets));
  const networks = parseNodeConfig(texts["galaxy.json"] ?? "", "networks.yaml");
  assert.equal(networks.kind, "config", JSON.stringify(networks));
});

test("alerts ask only for metrics that there are, with labels that they have", async () => {
  const rules = parseYaml(read("components/monitoring/rules.yaml")) as {
    groups: { rules: { alert: string; expr: string; annotations: object }[] }[];
  };
  const operator = parseYaml(read("components/prometheus-operator/prometheus-rule.yaml")) as {
    spec: unknown;
  };
  assert.deepEqual(operator.spec, rules, "the operator's rules are a copy");
  const metrics = new PrometheusMetrics({ version: "1", withProcessMetrics: false });
  const usage = { total: 1, bound: 0, reserved: 0, admin: 0, held: 0, free: 1, draining: 0 };
  metrics.addGauges({
    usage: () => [{ ...usage, subnet: aPodSubnet({ ranges: ["10.0.70.2"] }) }],
    reclaimQueueLength: () => 0,
    isLeader: () => true,
    isConfigValid: () => true,
    watchStaleness: () => new Map([["pods", 1]]),
  });
  metrics.count("api_errors", { code: "500" });
  const text = await metrics.text();
  const all = rules.groups.flatMap((group) => group.rules);
  assert.ok(all.length > 0);
  for (const { alert, expr, annotations } of all) {
    const names = expr.match(/\bgalaxy_\w+/g) ?? [];
    assert.ok(names.length > 0, alert);
    for (const name of names) assert.match(text, new RegExp(`^# TYPE ${name} `, "m"), alert);
    const kept = /by \(([^)]*)\)/.exec(expr)?.[1]?.split(", ") ?? [];
    for (const [, label] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)) {
      assert.ok(kept.includes(label ?? ""), `${alert} shows ${label}`);
    }
    for (const label of kept) {
      assert.match(
        text,
        new RegExp(`^${names[0]}\\{[^}]*\\b${label}="`, "m"),
        `${alert}: ${label}`,
      );
    }
  }
});
