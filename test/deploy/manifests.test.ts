// What can be said about deploy/ without a cluster: it agrees with the sources. That it works is tested in test/e2e/install.test.ts.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { parseAllDocuments, parse as parseYaml } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { crdManifests } from "../../scripts/write-crds.ts";
import { mendPath, warnPath } from "../../src/adapters/http/webhook-server.ts";
import { PrometheusMetrics } from "../../src/adapters/metrics/prometheus-metrics.ts";
import { PrometheusNodeMetrics } from "../../src/adapters/metrics/prometheus-node-metrics.ts";
import { PrometheusVipNodeMetrics } from "../../src/adapters/metrics/prometheus-vip-metrics.ts";
import { parseFloatingIpConfig } from "../../src/wire/floatingip-config.ts";
import { parseNodeConfig } from "../../src/wire/node-config.ts";
import { parseNodeOptions } from "../../src/wire/node-options.ts";
import { parseWebhookOptions } from "../../src/wire/webhook-options.ts";
import { aPodSubnet, ip } from "../builders.ts";
import { readQuestion } from "./promql.ts";

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

test("the webhook's manifests name the port, paths, objects and Service that the program takes by itself, and it holds nothing up", () => {
  const objectsOf = (file: string) =>
    parseAllDocuments(read(`components/webhook/${file}`)).map(
      (document) => document.toJS() as unknown,
    );
  type Container = {
    command: string[];
    args?: string[];
    ports: { name: string; containerPort: number }[];
  };
  const [deployment] = objectsOf("deployment.yaml") as {
    metadata: { namespace: string };
    spec: { template: { spec: { serviceAccountName: string; containers: [Container] } } };
  }[];
  assert.ok(deployment !== undefined);
  const [{ command, args = [], ports }] = deployment.spec.template.spec.containers;
  assert.deepEqual(command, ["galaxy-webhook"]);
  const parsed = parseWebhookOptions(args, deployment.metadata.namespace);
  assert.ok(parsed.kind === "options", JSON.stringify(parsed));
  const { options } = parsed;
  assert.deepEqual(ports, [{ name: "webhook", containerPort: options.port }]);
  const [service] = objectsOf("service.yaml") as {
    metadata: { name: string; namespace: string };
    spec: { ports: { port: number; targetPort: string }[] };
  }[];
  assert.deepEqual(options.serverNames, [
    `${service?.metadata.name}.${service?.metadata.namespace}.svc`,
  ]);
  assert.deepEqual(
    service?.spec.ports.map(({ port, targetPort }) => [port, targetPort]),
    [[443, "webhook"]],
  );
  const configurations = objectsOf("configurations.yaml") as {
    kind: string;
    metadata: { name: string };
    webhooks: {
      failurePolicy: string;
      timeoutSeconds: number;
      clientConfig: { service: { name: string; namespace: string; path: string } };
    }[];
  }[];
  assert.deepEqual(
    configurations.map(({ kind, metadata }) => [kind, metadata.name]),
    [
      ["MutatingWebhookConfiguration", options.mutating],
      ["ValidatingWebhookConfiguration", options.validating],
    ],
  );
  const paths = configurations.flatMap(({ webhooks }) =>
    webhooks.map(({ failurePolicy, timeoutSeconds, clientConfig }) => {
      assert.equal(failurePolicy, "Ignore");
      assert.ok(timeoutSeconds <= 2);
      const { name, namespace, path } = clientConfig.service;
      assert.deepEqual(
        { name, namespace },
        { name: service?.metadata.name, namespace: options.namespace },
      );
      return path;
    }),
  );
  assert.deepEqual(paths, [mendPath, warnPath]);
  const rules = (
    objectsOf("roles.yaml") as { rules?: { resources: string[]; resourceNames?: string[] }[] }[]
  ).flatMap((role) => role.rules ?? []);
  for (const { resources, resourceNames } of rules) {
    const wanted = resources.includes("secrets") ? options.secretName : options.validating;
    if (resourceNames !== undefined) assert.deepEqual(resourceNames, [wanted]);
  }
});

test("the component that takes the daemon's files off the nodes does so in the folders that the daemon put them", () => {
  type Mount = { readonly name: string; readonly mountPath: string };
  type Container = { readonly args: readonly string[]; readonly volumeMounts: readonly Mount[] };
  const daemonSet = parseYaml(read("base/node/daemon-set.yaml")) as {
    readonly spec: { readonly template: { readonly spec: { readonly containers: [Container] } } };
  };
  const [daemon] = daemonSet.spec.template.spec.containers;
  const { patches } = parseYaml(read("components/uninstall-nodes/kustomization.yaml")) as {
    readonly patches: readonly [{ readonly patch: string }];
  };
  const steps = parseYaml(patches[0].patch) as readonly { path: string; value?: [Container] }[];
  const [uninstall] =
    steps.find(({ path }) => path === "/spec/template/spec/initContainers")?.value ?? [];
  assert.ok(uninstall !== undefined);
  const [told, before] = [uninstall.args, daemon.args].map((args) => parseNodeOptions(args));
  assert.ok(told?.kind === "options" && before?.kind === "options");
  assert.ok(told.options.uninstalls);
  assert.equal(told.options.stateFolder, before.options.stateFolder);
  for (const mount of uninstall.volumeMounts) {
    assert.ok(
      daemon.volumeMounts.some((one) => isDeepStrictEqual(one, mount)),
      mount.name,
    );
  }
  const { programFolder, configFolder } = before.options.install;
  for (const folder of [told.options.stateFolder, programFolder, configFolder]) {
    assert.ok(
      uninstall.volumeMounts.some(({ mountPath }) => folder.startsWith(mountPath)),
      `${folder} is not mounted`,
    );
  }
});

/** Metrics of other programs that rules ask for, with their labels; kube-state-metrics has them. */
const foreign = new Map([
  ["kube_daemonset_status_number_unavailable", ["namespace", "daemonset"]],
  ["kube_deployment_status_replicas_available", ["namespace", "deployment"]],
]);

/** What programs export: names with their types, and for each series its labels. */
type Exported = {
  readonly names: ReadonlySet<string>;
  readonly series: ReadonlyMap<string, readonly ReadonlyMap<string, string>[]>;
};

/** The registries of galaxy-ipam and of the daemon after everything that is counted happened once. */
async function exported(): Promise<Exported> {
  const metrics = new PrometheusMetrics({ version: "1", withProcessMetrics: true });
  const usage = { total: 1, bound: 0, reserved: 0, admin: 0, held: 0, free: 1, draining: 0 };
  metrics.addGauges({
    usage: () => [{ ...usage, subnet: aPodSubnet({ ranges: ["10.0.70.2"] }) }],
    reclaimQueueLength: () => 0,
    idle: () => ({
      bySubnet: [
        {
          usage: { ...usage, subnet: aPodSubnet({ ranges: ["10.0.70.2"] }) },
          age: "all",
          count: 1,
        },
      ],
      due: [{ usage: { ...usage, subnet: aPodSubnet({ ranges: ["10.0.70.2"] }) }, count: 1 }],
      byPool: new Map([["blue", 1]]),
    }),
    quotas: () => [{ quota: "team-a", namespace: "ns1", limit: 2, used: 1 }],
    findings: () =>
      ["error", "warning"].map((severity) => ({ kind: "double use", severity, count: 1 })),
    isLeader: () => true,
    isConfigValid: () => true,
    watchStaleness: () => new Map([["pods", 1]]),
  });
  metrics.addVipGauges(() => [
    {
      ip: ip("192.0.2.50"),
      bornMs: 0,
      epoch: 1,
      holder: {
        pod: { namespace: "a", name: "b" },
        podUid: "c",
        podIp: ip("10.0.70.2"),
        nodeName: "n1",
        session: 1,
      },
      release: "none",
      next: undefined,
      grantedAtMs: 0,
      voters: [],
      isDeleted: false,
      losses: [],
      transition: undefined,
      foreignOwner: undefined,
      unable: undefined,
      look: { state: "Held", reason: "Ready", message: "", candidates: [] },
      version: "1",
    },
  ]);
  metrics.count("api_errors", { code: "500" });
  metrics.count("refusals", { reason: "no node" });
  metrics.count("bad_input", { input: "body" });
  metrics.count("changes", { change: "taken" });
  metrics.count("conflicts", { kind: "address in two pods" });
  for (const kind of ["record recreated", "record deleted"]) metrics.count("repairs", { kind });
  metrics.count("rollout_deadlocks");
  metrics.count("idle_reservations", { outcome: "released" });
  metrics.count("vip_transitions", { reason: "NodeLost" });
  metrics.count("vip_conflicts");
  metrics.time("schedule_latency", 0.1, { func: "filter" });
  metrics.time("reclaim_latency", 0.1);
  metrics.time("resync_duration", 0.1);
  metrics.time("vip_gap", 0.1, { func: "NodeLost" });
  const node = new PrometheusNodeMetrics("1");
  node.addGauges({
    attachments: async () => 1,
    containers: async () => 1,
    isRuntimeReachable: () => true,
    secondsSinceLook: () => 1,
  });
  new PrometheusVipNodeMetrics(node.registry, {
    held: () => 1,
    leaseLeftSeconds: () => 1,
  }).count("opened", 1);
  for (const outcome of ["removed", "failed"]) node.count("garbage", { outcome });
  for (const outcome of ["restored", "failed"]) node.count("repairs", { outcome });
  for (const outcome of ["answered", "failed"]) node.count("runtime_questions", { outcome });
  for (const outcome of ["written", "gone", "failed"]) node.count("network_statuses", { outcome });
  node.count("api_errors", { code: "0" });
  for (const command of ["ADD", "DEL"]) node.time("cni_duration", 1, { command, result: "ok" });
  const lines = [await metrics.text(), (await node.text()).text].join("\n").split("\n");
  const names = new Set<string>();
  const series = new Map<string, ReadonlyMap<string, string>[]>();
  for (const line of lines) {
    const type = /^# TYPE (\w+) (\w+)$/.exec(line);
    const sample = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line);
    if (type !== null) {
      const [, name = "", kind] = type;
      const ends = kind === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
      for (const end of ends) names.add(`${name}${end}`);
    } else if (sample !== null) {
      const [, name = "", labels = ""] = sample;
      const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)];
      const all = series.get(name) ?? [];
      series.set(name, all);
      all.push(new Map(pairs.map(([, label = "", value = ""]) => [label, value])));
    }
  }
  return { names, series };
}

/** What is wrong with an expression, in the light of what is exported; `shown` are labels that a text about its result has. */
function problemsOf(expression: string, shown: readonly string[], all: Exported): string[] {
  const { selectors, grouped } = readQuestion(expression);
  const problems = selectors.length === 0 ? ["it asks for no metric"] : [];
  /** The scraper's own labels come to every series. */
  const known = new Set(["instance", "job"]);
  for (const { name, matchers } of selectors) {
    const series = all.series.get(name) ?? [];
    const labels = foreign.get(name) ?? series.flatMap((each) => [...each.keys()]);
    for (const label of labels) known.add(label);
    if (!all.names.has(name) && !foreign.has(name)) problems.push(`nobody exports ${name}`);
    else if (series.length === 0 && !foreign.has(name)) problems.push(`${name} has no series`);
    for (const { label, operator, value } of matchers) {
      if (!labels.includes(label)) problems.push(`${name} has no label ${label}`);
      if (foreign.has(name)) continue;
      for (const wanted of operator.endsWith("~") ? value.split("|") : [value]) {
        if (!series.some((each) => each.get(label) === wanted)) {
          problems.push(`${name} never has ${label}="${wanted}"`);
        }
      }
    }
  }
  problems.push(...grouped.filter((each) => !known.has(each)).map((each) => `no label ${each}`));
  for (const label of shown) {
    if (!grouped.includes(label)) problems.push(`${label} is shown but not kept`);
  }
  return problems;
}

test("what an expression asks for that nobody exports is noticed", async () => {
  const all = await exported();
  const good =
    'sum by (le, func) (rate(galaxy_schedule_latency_bucket{func="filter"}[$__rate_interval])) > 1';
  assert.deepEqual(problemsOf(good, ["func"], all), []);
  for (const [expression, shown, problem] of [
    ["vector(1)", [], "it asks for no metric"],
    ["rate(galaxy_schedule_latency[5m])", [], "nobody exports galaxy_schedule_latency"],
    ["galaxy_leader and galaxy_leaders", [], "nobody exports galaxy_leaders"],
    ['max(galaxy_vips{what="Held"})', [], "galaxy_vips has no label what"],
    ['max(galaxy_vips{state=~"Held|Lost"})', [], 'galaxy_vips never has state="Lost"'],
    ["sum by (reason) (galaxy_api_errors_total)", [], "no label reason"],
    ["sum(galaxy_api_errors_total)", ["code"], "code is shown but not kept"],
  ] as const) {
    assert.ok(problemsOf(expression, shown, all).includes(problem), `${expression}: ${problem}`);
  }
});

test("alerts ask only for metrics that there are, with labels that they have", async () => {
  const rules = parseYaml(read("components/monitoring/rules.yaml")) as {
    groups: { rules: { alert: string; expr: string; annotations: object }[] }[];
  };
  const operator = parseYaml(read("components/prometheus-operator/prometheus-rule.yaml")) as {
    spec: unknown;
  };
  assert.deepEqual(operator.spec, rules, "the operator's rules are a copy");
  const everything = await exported();
  const all = rules.groups.flatMap((group) => group.rules);
  assert.ok(all.length > 0);
  assert.equal(new Set(all.map(({ alert }) => alert)).size, all.length, "each name once");
  for (const { alert, expr, annotations } of all) {
    const shown = [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)];
    const labels = shown.map(([, label]) => label ?? "");
    assert.deepEqual(problemsOf(expr, labels, everything), [], alert);
    assert.ok(
      readFileSync(join(deploy, "../docs/troubleshooting.md"), "utf8").includes(`\`${alert}\``),
      `${alert} stands in docs/troubleshooting.md`,
    );
  }
});

test("the dashboard asks only for metrics that there are, and shows each that operators watch", async () => {
  type Panel = {
    id: number;
    title: string;
    type: string;
    targets?: { expr: string; legendFormat: string }[];
    gridPos: { x: number; w: number };
  };
  const dashboard = JSON.parse(read("components/monitoring/dashboard.json")) as {
    panels: Panel[];
    templating: { list: { name: string }[] };
  };
  const { panels } = dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, "each id once");
  assert.deepEqual(
    dashboard.templating.list.map(({ name }) => name),
    ["datasource"],
  );
  const everything = await exported();
  const asked = new Set<string>();
  for (const { title, type, targets, gridPos } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, `${title} is wider than the page`);
    assert.equal(type === "row", targets === undefined, title);
    for (const { expr, legendFormat } of targets ?? []) {
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label ?? "");
      assert.deepEqual(problemsOf(expr, shown, everything), [], `${title}: ${expr}`);
      for (const { name } of readQuestion(expr).selectors) asked.add(name);
    }
  }
  // What is not on it is of no use to who watches, or is seen through another one.
  const left = [...everything.names].filter(
    (name) => name.startsWith("galaxy_") && !asked.has(name) && !/_(bucket|sum|count)$/.test(name),
  );
  assert.deepEqual(left.toSorted(), [
    "galaxy_build_info",
    "galaxy_node_network_statuses_total",
    "galaxy_node_runtime_questions_total",
    "galaxy_node_vip_happenings_total",
  ]);
  const { configMapGenerator } = parseYaml(read("components/monitoring/kustomization.yaml")) as {
    configMapGenerator: { files: string[]; options: { labels: object } }[];
  };
  const delivered = configMapGenerator.find(({ files }) =>
    files.some((file) => file.endsWith("=dashboard.json")),
  );
  assert.deepEqual(delivered?.options.labels, { grafana_dashboard: "1" });
});
