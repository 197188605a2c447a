// Plays a scenario: what happens in it on a simulated cluster, what it expects against what is there. The first difference ends it, with
// the file, the line and both tables.

import { readFileSync } from "node:fs";
import { stateOf } from "../../src/core/allocation.ts";
import { podIsFinished } from "../../src/core/facts.ts";
import type { Owner } from "../../src/core/owner.ts";
import { podIdText } from "../../src/core/owner.ts";
import { Violation } from "../violation.ts";
import { Impossible, ScenarioCluster } from "./cluster.ts";
import { createdManifest } from "./created-manifest.ts";
import type { JsonObject } from "./manifests.ts";
import { parseManifests, typeOf } from "./manifests.ts";
import type {
  Action,
  ExpectationName,
  ObjectName,
  Scenario,
  ScenarioWorkloadKind,
  StepItem,
  Table,
} from "./scenario.ts";
import { tableColumns } from "./scenario.ts";
import type { Bindings } from "./table-match.ts";
import { fillIn, matchTable } from "./table-match.ts";

/** What playing a scenario came to. */
export type PlayReport = {
  /** What went wrong, with file and line; undefined when nothing did. */
  readonly failure: string | undefined;
  /** Files that were applied. */
  readonly applied: readonly string[];
  /** Simulated time. */
  readonly seconds: number;
};

/** Where lines go that tell what is played, and each line of the simulated cluster's trace. */
export type PlayOutput = {
  readonly tell: (line: string) => void;
  readonly trace: (line: string) => void;
};

/** The folder in which the paths of `apply` begin. */
const root = new URL("../../", import.meta.url);

const silent: PlayOutput = { tell: () => {}, trace: () => {} };

/** Plays a scenario from its beginning. */
export async function playScenario(scenario: Scenario, output = silent): Promise<PlayReport> {
  return await new Player(scenario, output).play();
}

class Player {
  readonly #scenario: Scenario;
  readonly #output: PlayOutput;
  readonly #cluster: ScenarioCluster;
  readonly #applied: string[] = [];
  /** Manifests of workloads, by kind and name, so that a part of one can be changed. */
  readonly #manifests = new Map<string, JsonObject>();
  #bindings: Bindings = new Map();
  #line = 1;

  constructor(scenario: Scenario, output: PlayOutput) {
    this.#scenario = scenario;
    this.#output = output;
    this.#cluster = new ScenarioCluster(output.trace);
  }

  async play(): Promise<PlayReport> {
    const cluster = this.#cluster;
    let failure: string | undefined;
    try {
      await this.#playAll();
    } catch (error) {
      failure = this.#failureOf(error);
    } finally {
      cluster.stop();
    }
    return { failure, applied: this.#applied, seconds: Math.round(cluster.seconds) };
  }

  #failureOf(error: unknown): string {
    const at = `${this.#scenario.file}:${this.#line}`;
    if (error instanceof Impossible) return `${at}: ${error.message}`;
    if (error instanceof Violation) return `${at}: a rule was broken: ${error.message}`;
    return `${at}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }

  async #playAll(): Promise<void> {
    const { nodes, steps, subnets, title } = this.#scenario;
    this.#output.tell(title);
    for (const row of nodes.rows) {
      this.#line = row.line;
      this.#cluster.addNode(cellOf(nodes, row, "node"), cellOf(nodes, row, "address"));
    }
    if (subnets !== undefined) this.#configure(subnets);
    await this.#cluster.start();
    for (const step of steps) {
      this.#line = step.line;
      this.#output.tell(`  ${step.title}`);
      for (const item of step.items) {
        this.#line = item.line;
        await this.#item(item);
      }
    }
    await this.#cluster.settle();
    const problems = this.#cluster.quietProblems();
    if (problems.length > 0) {
      throw new Impossible(`after the last step something is wrong:\n  ${problems.join("\n  ")}`);
    }
  }

  async #item(item: StepItem): Promise<void> {
    if (item.kind === "action") await this.#act(item.action);
    else await this.#compare(item.about, item.table);
  }

  async #act(action: Action): Promise<void> {
    const cluster = this.#cluster;
    switch (action.kind) {
      case "apply":
        this.#applyFile(action.path);
        return;
      case "create": {
        const json = createdManifest(action.what, this.#object(action.object), action.fields);
        this.#apply(json);
        return;
      }
      case "scale": {
        const object = this.#object(action.object);
        const key = manifestKey(typeOf(action.what).kind, object);
        const json = this.#manifests.get(key);
        if (json === undefined) throw new Impossible(`there is no ${key} to scale`);
        const counted = action.what === "job" ? "completions" : "replicas";
        const spec = { ...(json["spec"] as JsonObject), [counted]: action.replicas };
        this.#apply({ ...json, spec });
        return;
      }
      case "roll":
        cluster.roll(action.what, this.#object(action.object));
        return;
      case "delete workload":
        this.#deleteWorkload(action.what, this.#object(action.object));
        return;
      case "delete pod":
        cluster.deletePod(this.#object(action.object), action.isForced);
        return;
      case "evict pod":
        cluster.evictPod(this.#object(action.object));
        return;
      case "delete pool":
        cluster.deletePool(this.#object(action.object));
        return;
      case "add node":
        cluster.addNode(action.node, action.address);
        return;
      case "stop node":
      case "start node":
      case "delete node":
        cluster.changeNode(this.#filled(action.node), action.kind);
        return;
      case "reserve":
        this.#apply({
          apiVersion: "galaxy.k8s.io/v1alpha1",
          kind: "FloatingIP",
          metadata: { name: this.#filled(action.address), labels: { reserved: "by-scenario" } },
          spec: { key: "pool__reserved-for-node_", policy: 2 },
        });
        return;
      case "delete record":
        cluster.deleteRecord(this.#filled(action.address));
        return;
      case "configure":
        this.#configure(action.subnets);
        return;
      case "kill leader":
        cluster.killLeader();
        return;
      case "settle":
        await cluster.settle();
        return;
      case "wait":
        await cluster.pass(action.ms);
        return;
      default:
        action satisfies never;
    }
  }

  #deleteWorkload(kind: ScenarioWorkloadKind, object: ObjectName): void {
    this.#cluster.deleteWorkload(kind, object);
    this.#manifests.delete(manifestKey(typeOf(kind).kind, object));
  }

  #applyFile(path: string): void {
    let text: string;
    try {
      text = readFileSync(new URL(path, root), "utf8");
    } catch {
      throw new Impossible(`${path} cannot be read; paths start at the repository's root`);
    }
    const parsed = parseManifests(path, text);
    if (parsed.kind === "problem") throw new Impossible(parsed.problem);
    this.#applied.push(path);
    for (const { json, line } of parsed.manifests) {
      try {
        this.#apply(json);
      } catch (error) {
        if (!(error instanceof Impossible)) throw error;
        throw new Impossible(`${path}:${line}: ${error.message}`);
      }
    }
  }

  #apply(json: JsonObject): void {
    this.#cluster.apply(json);
    const { name, namespace } = (json["metadata"] ?? {}) as {
      readonly name?: string;
      readonly namespace?: string;
    };
    const object = { namespace: namespace ?? "default", name: name ?? "" };
    this.#manifests.set(manifestKey(String(json["kind"]), object), json);
  }

  #configure(table: Table): void {
    const entries = table.rows.map((row) => {
      const vlan = cellOf(table, row, "vlan");
      return {
        nodeSubnets: listOf(cellOf(table, row, "node subnets")),
        ips: listOf(cellOf(table, row, "ips")),
        subnet: cellOf(table, row, "subnet"),
        gateway: cellOf(table, row, "gateway"),
        vlan: /^\d+$/.test(vlan) ? Number(vlan) : vlan,
      };
    });
    this.#apply({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "floatingip-config", namespace: "kube-system" },
      data: { floatingips: JSON.stringify(entries) },
    });
  }

  #object({ namespace, name }: ObjectName): ObjectName {
    return { namespace: this.#filled(namespace), name: this.#filled(name) };
  }

  #filled(text: string): string {
    const filled = fillIn(text, this.#bindings);
    if (filled === undefined) {
      throw new Impossible(
        `"${text}" has a name without value; a table of "expect" has to give it one first (known: ${[...this.#bindings.keys()].map((name) => `$${name}`).join(", ")})`,
      );
    }
    return filled;
  }

  async #compare(about: ExpectationName, table: Table): Promise<void> {
    const all: readonly string[] = tableColumns[about];
    const actual = await this.#tableOf(about);
    let rows = actual.map((row) => table.columns.map((column) => row[all.indexOf(column)] ?? ""));
    const isRepeatable = about === "events" || about === "waiting";
    if (isRepeatable) {
      rows = [...new Map(rows.map((row) => [row.join("\n"), row])).values()];
    }
    const expected = table.rows.map(({ cells }) => cells);
    const match = matchTable(expected, rows, this.#bindings, { isRepeatable });
    if (match.kind === "equal") {
      this.#bindings = match.bindings;
      return;
    }
    const lines = [`${about} are not as expected`];
    if (match.closest.length > 0) {
      lines.push("nothing fits", ...match.closest.map((index) => rowText(expected[index] ?? [])));
    }
    lines.push("there is", rowText(table.columns), ...rows.map(rowText));
    const known = [...this.#bindings].map(([name, value]) => `$${name} is ${value}`);
    if (known.length > 0) lines.push(`where ${known.join(", ")}`);
    throw new Impossible(lines.join("\n  "));
  }

  /** What there is, with all columns. */
  async #tableOf(about: ExpectationName): Promise<readonly (readonly string[])[]> {
    switch (about) {
      case "pods":
        return this.#podRows();
      case "addresses":
        return this.#addressRows();
      case "waiting":
        return await this.#waitingRows();
      case "events":
        return this.#cluster.events
          .splice(0)
          .map(({ about: object, message, reason }) => [
            reason,
            `${object.kind} ${object.namespace}/${object.name}`,
            message,
          ]);
      case "pools":
        return this.#poolRows();
      default:
        return about satisfies never;
    }
  }

  #podRows(): readonly (readonly string[])[] {
    return this.#cluster.api
      .list("pods")
      .map(({ deletedAtMs, facts, isReady }) => {
        const state =
          deletedAtMs !== undefined
            ? "Terminating"
            : facts.phase === "Running" && !isReady
              ? "NotReady"
              : facts.phase;
        return [
          podIdText(facts.id),
          state,
          orDash(facts.nodeName),
          orDash(facts.assignedIps.join(",")),
        ];
      })
      .toSorted(byFirstCell);
  }

  #addressRows(): readonly (readonly string[])[] {
    return this.#cluster.api
      .list("records")
      .map((record) => [
        record.ip,
        stateOf(record),
        ownerText(record.owner),
        record.policy,
        orDash(record.nodeName),
      ])
      .toSorted(byFirstCell);
  }

  #poolRows(): readonly (readonly string[])[] {
    return this.#cluster.api
      .list("pools")
      .map(({ name, namespace, size }) => {
        const key = `${namespace}/${name}`;
        const status = this.#cluster.poolStatus(key);
        return [
          key,
          orDash(String(size ?? "")),
          orDash(String(status?.allocated ?? "")),
          orDash(String(status?.used ?? "")),
          status?.condition.reason ?? "-",
        ];
      })
      .toSorted(byFirstCell);
  }

  /** Asks for every pod that has no node what the scheduler would be told now. */
  async #waitingRows(): Promise<readonly (readonly string[])[]> {
    const cluster = this.#cluster;
    const leader = cluster.leader();
    if (leader === undefined) throw new Impossible("no process answers the scheduler");
    const nodeNames = cluster.api
      .list("nodes")
      .filter(({ isUp }) => isUp)
      .map(({ facts }) => facts.name);
    const rows: (readonly string[])[] = [];
    for (const { deletedAtMs, facts } of cluster.api.list("pods")) {
      if (facts.nodeName !== "" || deletedAtMs !== undefined || podIsFinished(facts)) continue;
      const pod = podIdText(facts.id);
      const reply = await cluster.answer(
        leader.service.scheduling.filter({
          pod: facts,
          nodeNames,
          internalIpsOf: () => undefined,
        }),
      );
      if (reply.kind === "refused") rows.push([pod, "-", reply.error]);
      else if (reply.kind === "nodes") {
        for (const [node, because] of reply.failed) rows.push([pod, node, because]);
        for (const index of reply.passed) rows.push([pod, nodeNames[index] ?? "", "nothing"]);
      }
    }
    return rows.toSorted(byFirstCell);
  }
}

function ownerText(owner: Owner): string {
  switch (owner.kind) {
    case "pod":
      return `pod ${podIdText(owner.pod)}${owner.pool === undefined ? "" : ` in pool ${owner.pool}`}`;
    case "workload":
      return `${owner.workload.kind} ${owner.workload.namespace}/${owner.workload.name}`;
    case "pool":
      return `pool ${owner.pool}`;
    case "admin":
      return "administrator";
    case "foreign":
      return owner.key;
    default:
      return owner satisfies never;
  }
}

function manifestKey(kind: string, { namespace, name }: ObjectName): string {
  return `${kind} ${namespace}/${name}`;
}

function cellOf(table: Table, row: { readonly cells: readonly string[] }, column: string): string {
  return row.cells[table.columns.indexOf(column)] ?? "";
}

function listOf(cell: string): readonly string[] {
  return cell.split(",").map((part) => part.trim());
}

function orDash(text: string): string {
  return text === "" ? "-" : text;
}

function rowText(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function byFirstCell(a: readonly string[], b: readonly string[]): number {
  return (a[0] ?? "").localeCompare(b[0] ?? "", "en", { numeric: true });
}
