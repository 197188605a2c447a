// The text of a scenario -> its parts, every line checked; each problem names file, line, reason and what is allowed there. Plays nothing.

/** Kinds of workload that a scenario may create, as the simulated cluster knows them. */
const workloadKinds = [
  "deployment",
  "replicaset",
  "statefulset",
  "daemonset",
  "job",
  "tapp",
  "plain",
] as const;

/** A kind of workload. */
export type ScenarioWorkloadKind = (typeof workloadKinds)[number];

/** The columns of each table; a scenario may leave out those that it does not care for, but the first. */
export const tableColumns = {
  subnets: ["ips", "subnet", "gateway", "vlan", "node subnets"],
  nodes: ["node", "address"],
  pods: ["pod", "state", "node", "addresses"],
  addresses: ["address", "state", "owner", "policy", "node"],
  waiting: ["pod", "node", "because"],
  events: ["reason", "object", "message"],
  pools: ["pool", "size", "allocated", "used", "condition"],
} as const;

/** What a table may be about. */
export type TableName = keyof typeof tableColumns;

/** What may be expected. */
export type ExpectationName = Exclude<TableName, "subnets" | "nodes">;

/** A row of a table with the line that it stands on. */
export type TableRow = { readonly line: number; readonly cells: readonly string[] };

/** A table; every row has as many cells as there are columns. */
export type Table = { readonly columns: readonly string[]; readonly rows: readonly TableRow[] };

/** A namespaced object by name; the name may have a `$variable` in it. */
export type ObjectName = { readonly namespace: string; readonly name: string };

/** What happens in a step. */
export type Action =
  | { readonly kind: "apply"; readonly path: string }
  | {
      readonly kind: "create";
      readonly what: ScenarioWorkloadKind | "pod" | "pool";
      readonly object: ObjectName;
      readonly fields: ReadonlyMap<string, string>;
    }
  | {
      readonly kind: "scale" | "roll" | "delete workload";
      readonly what: ScenarioWorkloadKind;
      readonly object: ObjectName;
      /** Wanted replicas of `scale`; 0 otherwise. */
      readonly replicas: number;
    }
  | { readonly kind: "delete pod"; readonly object: ObjectName; readonly isForced: boolean }
  | { readonly kind: "evict pod" | "delete pool"; readonly object: ObjectName }
  | { readonly kind: "stop node" | "start node" | "delete node"; readonly node: string }
  | { readonly kind: "add node"; readonly node: string; readonly address: string }
  | { readonly kind: "reserve" | "delete record"; readonly address: string }
  | { readonly kind: "configure"; readonly subnets: Table }
  | { readonly kind: "kill leader" | "settle" }
  | { readonly kind: "wait"; readonly ms: number };

/** A line of a step: something that happens, or something that is expected then. */
export type StepItem =
  | { readonly line: number; readonly kind: "action"; readonly action: Action }
  | {
      readonly line: number;
      readonly kind: "expectation";
      readonly about: ExpectationName;
      readonly table: Table;
    };

/** A step. */
export type Step = {
  readonly line: number;
  readonly title: string;
  readonly items: readonly StepItem[];
};

/** A scenario. */
export type Scenario = {
  readonly file: string;
  readonly title: string;
  /** Pod subnets of the beginning; undefined: a step applies or configures them. */
  readonly subnets: Table | undefined;
  readonly nodes: Table;
  readonly steps: readonly Step[];
};

/** The scenario, or every problem as `file:line: reason; what is allowed`. */
export type ScenarioParse =
  | { readonly kind: "scenario"; readonly scenario: Scenario }
  | { readonly kind: "problems"; readonly problems: readonly string[] };

/** Fields that `create` takes, by what is created, each with what it wants. */
const createFields: Readonly<Record<string, RegExp>> = {
  replicas: /^\d{1,4}$/,
  "first-ordinal": /^\d{1,4}$/,
  policy: /^(?:immutable|never)$/,
  pool: /^[^\s_/]+$/,
  families: /^IPv[46](?:,IPv[46])?$/,
  ranges: /^\S+$/,
  float: /^no$/,
  surge: /^\d+%?$/,
  unavailable: /^\d+%?$/,
  size: /^\d{1,6}$/,
  "pre-allocate": /^yes$/,
  "surge-ips": /^\d{1,3}$/,
  "reserve-ttl": /^(?:never|[\d.hms]+)$/,
};

const templateFields = ["policy", "pool", "families", "ranges", "float", "reserve-ttl"];

const fieldsOf: Readonly<Record<string, readonly string[]>> = {
  deployment: ["replicas", "surge", "unavailable", "surge-ips", ...templateFields],
  replicaset: ["replicas", ...templateFields],
  statefulset: ["replicas", "first-ordinal", ...templateFields],
  daemonset: templateFields,
  job: ["replicas", ...templateFields],
  tapp: ["replicas", ...templateFields],
  plain: ["replicas", ...templateFields],
  pod: templateFields,
  pool: ["size", "pre-allocate", "reserve-ttl"],
};

/** Every action with its form, for messages. */
const actionForms: readonly string[] = [
  "apply FILE",
  `create ${[...workloadKinds, "pod", "pool"].join("|")} NAMESPACE/NAME [FIELD=VALUE …]`,
  "scale KIND NAMESPACE/NAME to N",
  "roll KIND NAMESPACE/NAME",
  "delete KIND NAMESPACE/NAME",
  "delete pod NAMESPACE/NAME [by force]",
  "delete pool NAMESPACE/NAME",
  "delete node NAME",
  "delete record ADDRESS",
  "evict pod NAMESPACE/NAME",
  "stop node NAME",
  "start node NAME",
  "add node NAME ADDRESS",
  "reserve ADDRESS",
  "configure:",
  "kill leader",
  "wait Ns",
  "settle",
];

/** A line that is wrong. */
class LineProblem extends Error {}

/**
 * Reads a scenario.
 * @param file as messages name it
 */
export function parseScenario(file: string, text: string): ScenarioParse {
  return new Reader(file, text).read();
}

class Reader {
  readonly #file: string;
  readonly #lines: readonly string[];
  readonly #problems: { readonly line: number; readonly text: string }[] = [];
  #at = 0;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#lines = text.split("\n");
  }

  read(): ScenarioParse {
    let title: string | undefined;
    let subnets: Table | undefined;
    let nodes: Table | undefined;
    const steps: { readonly line: number; readonly title: string; readonly items: StepItem[] }[] =
      [];
    for (let text = this.#next(); text !== undefined; text = this.#next()) {
      const line = this.#at;
      this.#try(line, () => {
        const step = steps.at(-1);
        const [, heading, rest = ""] = /^(title|subnets|nodes|step):\s*(.*)$/.exec(text) ?? [];
        if (heading === "title") {
          if (title !== undefined) throw new LineProblem("a scenario has one title");
          title = required(rest, "title: what the scenario tells");
        } else if (heading === "step") {
          steps.push({ line, title: required(rest, "step: what happens"), items: [] });
        } else if (heading === "subnets" || heading === "nodes") {
          if (step !== undefined) {
            throw new LineProblem(
              `"${heading}:" belongs before the first step; in a step allowed are: ${actionForms.join(", ")}, expect …`,
            );
          }
          const table = this.#table(heading);
          if (heading === "subnets") subnets = table;
          else nodes = table;
        } else if (text.startsWith("|")) {
          throw new LineProblem(
            'a table row stands alone; it belongs below "subnets:", "nodes:", "configure:" or "expect …:"',
          );
        } else if (step === undefined) {
          throw new LineProblem(
            `"${text}" is not understood before the first step; allowed are "title: …", "subnets:", "nodes:" and "step: …"`,
          );
        } else step.items.push(this.#item(text, line));
      });
    }
    if (title === undefined) this.#problem(1, 'there is no "title: …"; begin the file with one');
    if (nodes === undefined) this.#problem(1, 'there is no "nodes:" table; the cluster needs one');
    if (steps.length === 0) this.#problem(1, 'there is no "step: …"; nothing would be played');
    for (const { line, items } of steps) {
      if (items.length === 0) this.#problem(line, "the step is empty; let something happen in it");
    }
    const expected = steps.some(({ items }) => items.some(({ kind }) => kind === "expectation"));
    if (steps.length > 0 && !expected) {
      this.#problem(1, 'nothing is expected; add "expect …:" tables, or it could never fail');
    }
    if (title === undefined || nodes === undefined || this.#problems.length > 0) {
      const sorted = this.#problems.toSorted((a, b) => a.line - b.line);
      return {
        kind: "problems",
        problems: sorted.map(({ line, text }) => `${this.#file}:${line}: ${text}`),
      };
    }
    return { kind: "scenario", scenario: { file: this.#file, title, subnets, nodes, steps } };
  }

  /** The next line that says something, without comment and blanks around it. */
  #next(): string | undefined {
    while (this.#at < this.#lines.length) {
      const text = this.#peek();
      this.#at += 1;
      if (text !== "") return text;
    }
    return undefined;
  }

  #peek(): string {
    const text = (this.#lines[this.#at] ?? "").trim();
    return text.startsWith("#") ? "" : text;
  }

  #problem(line: number, text: string): void {
    this.#problems.push({ line, text });
  }

  #try(line: number, read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof LineProblem)) throw error;
      this.#problem(line, error.message);
    }
  }

  /** The rows that follow; the first one names the columns. */
  #table(name: TableName): Table {
    const allowed: readonly string[] = tableColumns[name];
    const form = `| ${allowed.join(" | ")} |`;
    let columns: readonly string[] | undefined;
    const rows: TableRow[] = [];
    while (this.#at < this.#lines.length) {
      const text = this.#peek();
      if (text !== "" && !text.startsWith("|")) break;
      this.#at += 1;
      if (text === "") continue;
      const line = this.#at;
      this.#try(line, () => {
        if (!text.endsWith("|") || text.length < 2) {
          throw new LineProblem(`the row does not end with "|"; write it as ${form}`);
        }
        const cells = text
          .slice(1, -1)
          .split("|")
          .map((cell) => cell.trim());
        if (columns === undefined) {
          columns = cells;
          checkColumns(name, cells, form);
        } else if (cells.length === columns.length) rows.push({ line, cells });
        else {
          throw new LineProblem(
            `the row has ${cells.length} cells, but the table has ${columns.length} columns: ${columns.join(", ")}`,
          );
        }
      });
    }
    if (columns === undefined) {
      throw new LineProblem(`the table of ${name} is missing; below it belongs ${form}`);
    }
    return { columns, rows };
  }

  #item(text: string, line: number): StepItem {
    const [, no, about = ""] = /^expect (no )?(.*?):?$/.exec(text) ?? [];
    if (about === "") return { line, kind: "action", action: this.#action(text) };
    const names = Object.keys(tableColumns).filter(
      (name) => name !== "subnets" && name !== "nodes",
    );
    if (!names.includes(about)) {
      throw new LineProblem(
        `"${about}" cannot be expected; allowed are ${names.map((name) => `"expect ${name}:" and "expect no ${name}"`).join(", ")}`,
      );
    }
    const name = about as ExpectationName;
    const table =
      no === undefined ? this.#table(name) : { columns: [...tableColumns[name]], rows: [] };
    return { line, kind: "expectation", about: name, table };
  }

  #action(text: string): Action {
    if (text === "configure:") return { kind: "configure", subnets: this.#table("subnets") };
    const words = text.split(/\s+/);
    const [verb = "", what = "", subject = "", ...more] = words;
    const wrong = (form: string) => new LineProblem(`"${text}" is not understood; write "${form}"`);
    const plain = readPlain(text, words);
    if (plain !== undefined) return plain;
    switch (verb) {
      case "create": {
        const allowed = fieldsOf[what];
        if (allowed === undefined) throw wrong(formOf("create"));
        return {
          kind: "create",
          what: what as ScenarioWorkloadKind | "pod" | "pool",
          object: objectNameOf(subject),
          fields: readFields(what, allowed, more),
        };
      }
      case "scale":
      case "roll":
      case "delete": {
        const kind = workloadKindOf(what);
        if (kind === undefined) {
          throw new LineProblem(
            `there is no kind "${what}" to ${verb}; kinds are ${workloadKinds.join(", ")}` +
              (verb === "delete" ? ", and pod, pool, node, record" : ""),
          );
        }
        const object = objectNameOf(subject);
        if (verb === "scale") {
          const [to, count = ""] = more;
          if (to !== "to" || !/^\d{1,4}$/.test(count) || more.length !== 2) {
            throw wrong("scale KIND NAMESPACE/NAME to N");
          }
          return { kind: "scale", what: kind, object, replicas: Number(count) };
        }
        if (more.length > 0) throw wrong(`${verb} KIND NAMESPACE/NAME`);
        const done = verb === "roll" ? "roll" : "delete workload";
        return { kind: done, what: kind, object, replicas: 0 };
      }
      default: {
        const forms = actionForms.filter((form) => form.split(/[\s:]/)[0] === verb);
        const list = forms.length > 0 ? forms : [...actionForms, "expect …:"];
        throw new LineProblem(
          `"${text}" is not understood; allowed ${forms.length > 0 ? "here" : "in a step"} are: ${list.join(", ")}`,
        );
      }
    }
  }
}

/** Actions of a fixed form; undefined when it is none of them. */
function readPlain(text: string, words: readonly string[]): Action | undefined {
  const [verb = "", what = "", subject = "", ...more] = words;
  if (text === "settle" || text === "kill leader") return { kind: text };
  if (verb === "apply" && what !== "" && words.length === 2) return { kind: "apply", path: what };
  if (verb === "wait" && words.length === 2) {
    const seconds = /^(\d{1,4})s$/.exec(what)?.[1];
    if (seconds === undefined) {
      throw new LineProblem(`"${what}" is no time; write seconds, for example "wait 30s"`);
    }
    return { kind: "wait", ms: Number(seconds) * 1_000 };
  }
  if (verb === "reserve" && words.length === 2) return { kind: "reserve", address: what };
  if (subject === "") return undefined;
  const start = `${verb} ${what}`;
  if (start === "delete record" && more.length === 0) return { kind: start, address: subject };
  if (start === "stop node" || start === "start node" || start === "delete node") {
    return more.length === 0 ? { kind: start, node: subject } : undefined;
  }
  if (start === "add node" && more.length === 1) {
    return { kind: start, node: subject, address: more[0] ?? "" };
  }
  if (start === "delete pod" && (more.length === 0 || more.join(" ") === "by force")) {
    return { kind: start, object: objectNameOf(subject), isForced: more.length > 0 };
  }
  if ((start === "evict pod" || start === "delete pool") && more.length === 0) {
    return { kind: start, object: objectNameOf(subject) };
  }
  return undefined;
}

function formOf(verb: string): string {
  return actionForms.find((form) => form.startsWith(`${verb} `)) ?? verb;
}

function required(text: string, form: string): string {
  if (text === "") throw new LineProblem(`the text is missing; write "${form}"`);
  return text;
}

function checkColumns(name: TableName, cells: readonly string[], form: string): void {
  const allowed: readonly string[] = tableColumns[name];
  for (const cell of cells) {
    if (!allowed.includes(cell)) {
      throw new LineProblem(`${name} have no column "${cell}"; columns are ${form}`);
    }
  }
  if (new Set(cells).size !== cells.length) {
    throw new LineProblem(`a column of ${name} stands there twice; columns are ${form}`);
  }
  const isWhole = name === "subnets" || name === "nodes";
  const needed = isWhole ? allowed : allowed.slice(0, 1);
  for (const column of needed) {
    if (!cells.includes(column)) {
      throw new LineProblem(`the column "${column}" of ${name} is missing; columns are ${form}`);
    }
  }
}

function workloadKindOf(text: string): ScenarioWorkloadKind | undefined {
  return workloadKinds.find((kind) => kind === text);
}

function objectNameOf(text: string): ObjectName {
  const [namespace = "", name = "", ...more] = text.split("/");
  if (namespace === "" || name === "" || more.length > 0) {
    throw new LineProblem(`"${text}" names no object; write NAMESPACE/NAME, for example shop/web`);
  }
  return { namespace, name };
}

function readFields(
  what: string,
  allowed: readonly string[],
  words: readonly string[],
): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? "" : word.slice(equals + 1);
    if (!allowed.includes(name)) {
      throw new LineProblem(
        `a ${what} has no field "${name}"; fields are ${allowed.map((field) => `${field}=`).join(", ")}`,
      );
    }
    const pattern = createFields[name];
    if (equals < 0 || pattern?.test(value) !== true) {
      throw new LineProblem(
        `"${value}" is no value of ${name}; it has to fit ${pattern?.source ?? ""}`,
      );
    }
    if (fields.has(name)) throw new LineProblem(`${name} stands there twice`);
    fields.set(name, value);
  }
  return fields;
}
