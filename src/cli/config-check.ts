// `galaxyctl config check FILE`: the address configuration judged as galaxy-ipam will judge it, without a server. Finds the
// configuration in a ConfigMap, in galaxy-ipam.json or as a plain list, and says where in the file each problem is.

import type { Document, Node, Scalar } from "yaml";
import { formatCidr, formatIpRange, totalSize } from "../core/ip-range.ts";
import type { PodSubnet } from "../core/subnets.ts";
import { parseFloatingIpConfig } from "../wire/floatingip-config.ts";
import { textAt } from "../wire/json-value.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { readFileOf } from "./connection.ts";
import { Table } from "./table.ts";
import { colored } from "./terminal.ts";

/** A place in the file, counted from 1. */
type Place = { readonly line: number; readonly column: number };

/** What the file says: one or several configurations, each with the way back from its parts to places. */
type Found = {
  /** What it was found in: `ConfigMap kube-system/floatingip-config`. */
  readonly name: string;
  readonly text: string;
  readonly placeOf: (path: readonly (string | number)[]) => Place | undefined;
};

type Judged = {
  readonly name: string;
  readonly problems: readonly { readonly place: Place | undefined; readonly text: string }[];
  readonly warnings: readonly { readonly place: Place | undefined; readonly text: string }[];
  readonly subnets: readonly PodSubnet[];
};

/** Checks the file; `-` is standard input. */
export async function configCheck(
  context: CommandContext,
  file: string,
  options: { readonly key: string; readonly strict?: boolean },
): Promise<ExitCode> {
  const { terminal } = context;
  const text = file === "-" ? await terminal.readInput() : readFileOf("config check", file);
  const name = file === "-" ? "standard input" : file;
  const judged = (await findConfigurations(text, { file: name, key: options.key })).map(judge);
  const isBad = judged.some(
    ({ problems, warnings }) =>
      problems.length > 0 || (options.strict === true && warnings.length > 0),
  );
  if (!context.isForPeople) {
    const answer = judged.map((item) => ({
      name: item.name,
      isValid: item.problems.length === 0,
      problems: item.problems.map(asJson),
      warnings: item.warnings.map(asJson),
      subnets: item.subnets.map(summaryOf),
    }));
    const isJson = context.options.output === "json";
    const { stringify } = await import("yaml");
    await terminal.write(isJson ? `${JSON.stringify(answer, undefined, 2)}\n` : stringify(answer));
    return isBad ? exitCodes.refused : exitCodes.done;
  }
  const isWide = context.options.output === "wide";
  for (const { problems, warnings, subnets, name: what } of judged) {
    const { hasColor } = terminal;
    for (const { place, text: problem } of problems) {
      const word = hasColor ? colored("error", "red") : "error";
      await terminal.write(`${at(name, place)}: ${word}: ${problem}\n`);
    }
    for (const { place, text: warning } of warnings) {
      const word = hasColor ? colored("warning", "yellow") : "warning";
      await terminal.write(`${at(name, place)}: ${word}: ${warning}\n`);
    }
    if (problems.length > 0) {
      await terminal.write(`${what} is not valid: ${count(problems.length, "problem")}\n`);
      continue;
    }
    const rows = subnets.map(summaryOf);
    const total = rows.reduce((sum, row) => sum + row.addresses, 0);
    const table = new Table<(typeof rows)[number]>(
      [
        { title: "SUBNET", text: (row) => row.subnet, isWhole: true },
        { title: "ADDRESSES", text: (row) => row.addresses, align: "right" },
        { title: "GATEWAY", text: (row) => row.gateway, isWhole: true },
        { title: "VLAN", text: (row) => row.vlan, align: "right" },
        { title: "NODES", text: (row) => row.nodeSubnets.join(",") },
        { title: "RANGES", text: (row) => row.ranges.join(",") },
      ],
      { columns: isWide ? undefined : terminal.columns, hasColor },
    );
    if (rows.length > 0) await terminal.write(table.lines(rows));
    await terminal.write(
      `${what} is valid: ${count(rows.length, "pod subnet")}, ${count(total, "address", "es")}, ${count(warnings.length, "warning")}\n`,
    );
  }
  return isBad ? exitCodes.refused : exitCodes.done;
}

function count(number: number, word: string, ending = "s"): string {
  return `${number} ${word}${number === 1 ? "" : ending}`;
}

function at(file: string, place: Place | undefined): string {
  return place === undefined ? file : `${file}:${place.line}:${place.column}`;
}

function asJson({ place, text }: { readonly place: Place | undefined; readonly text: string }) {
  return { ...place, message: text };
}

function summaryOf(subnet: PodSubnet) {
  return {
    subnet: formatCidr(subnet.cidr),
    addresses: totalSize(subnet.ranges),
    gateway: subnet.gateway,
    vlan: subnet.vlan,
    nodeSubnets: subnet.nodeSubnets.map(formatCidr),
    ranges: subnet.ranges.map(formatIpRange),
  };
}

function judge({ name, text, placeOf }: Found): Judged {
  const parse = parseFloatingIpConfig(text);
  const located = (sentence: string) => ({ place: placeOf(pathIn(sentence)), text: sentence });
  if (parse.kind === "invalid") {
    return { name, problems: parse.problems.map(located), warnings: [], subnets: [] };
  }
  return { name, problems: [], warnings: parse.warnings.map(located), subnets: parse.subnets };
}

/**
 * The part of the configuration that a sentence of parseFloatingIpConfig is about: `floatingips[1] (subnet …): ips[0] …` is
 * [1, "ips", 0]; a syntax error in the text, with its own line and column, is ["line", L, C].
 */
function pathIn(sentence: string): (string | number)[] {
  const syntax = /not valid JSON: line (\d+), column (\d+)/.exec(sentence);
  if (syntax !== null) return ["line", Number(syntax[1]), Number(syntax[2])];
  const entry =
    /^floatingips\[(\d+)\](?:\.(\w+))?(?: \(subnet [^)]*\))?(?:: (?:unknown field |field )?"?(\w+)"?(?:\[(\d+)\])?)?/.exec(
      sentence,
    );
  if (entry === null) return [];
  const field = entry[2] ?? entry[3];
  return [
    Number(entry[1]),
    ...(field === undefined ? [] : [field]),
    ...(entry[4] === undefined ? [] : [Number(entry[4])]),
  ];
}

async function findConfigurations(
  text: string,
  from: { readonly file: string; readonly key: string },
): Promise<Found[]> {
  const { file, key } = from;
  const { isMap, isScalar, isSeq, LineCounter, parseAllDocuments, parseDocument } = await import(
    "yaml"
  );
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines });
  const documents = Array.isArray(parsed) ? (parsed as Document.Parsed[]) : [];
  for (const document of documents) {
    const error = document.errors[0];
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw new CommandProblem(
        exitCodes.refused,
        `${file}:${line}:${col}: neither YAML nor JSON: ${error.message.split("\n")[0] ?? ""}; correct it there`,
      );
    }
  }

  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  /** The deepest part of the path that is there; an entry without the field is the entry itself. */
  const offsetIn = (root: unknown, path: readonly (string | number)[]): number | undefined => {
    let node = root;
    let offset = (root as Node | null)?.range?.[0];
    for (const step of path) {
      let next: unknown;
      if (isSeq(node)) next = node.items[Number(step)];
      else if (isMap(node)) {
        const pair = node.items.find(
          (item) => String((item.key as Scalar).value).toLowerCase() === String(step).toLowerCase(),
        );
        next = pair?.value;
        if (pair !== undefined && typeof path.at(-1) === "string") {
          offset = (pair.key as Node).range?.[0] ?? offset;
          node = next;
          continue;
        }
      }
      const start = (next as Node | undefined)?.range?.[0];
      if (start === undefined) break;
      offset = start;
      node = next;
    }
    return offset;
  };

  /** A configuration written as text inside a string of the file. */
  const embedded = (name: string, node: Scalar<string>): Found => {
    const inner = node.value;
    const innerLines = new LineCounter();
    const innerDocument = parseDocument(inner, { lineCounter: innerLines });
    const start = placeAt(node.range?.[0] ?? 0);
    const isBlock = node.type === "BLOCK_LITERAL";
    const indent = isBlock ? indentOf(text, start.line) : 0;
    /** From a place in the string to one in the file. */
    const outer = (line: number, column: number): Place => {
      if (isBlock) return { line: start.line + line, column: column + indent };
      // In quotes the text is on one line, but for folding, which nobody uses for JSON; an escape shifts the column.
      return line === 1 ? { line: start.line, column: start.column + column } : start;
    };
    return {
      name,
      text: inner,
      placeOf: (path) => {
        if (path[0] === "line") return outer(Number(path[1]), Number(path[2]));
        const offset = offsetIn(innerDocument.contents, path);
        if (offset === undefined) return start;
        const { line, col } = innerLines.linePos(offset);
        return outer(line, col);
      },
    };
  };
  /** A configuration that is part of the file's own structure. */
  const direct = (name: string, node: Node, isWhole: boolean): Found => {
    const value: unknown = node.toJSON();
    const own = text.trim();
    // JSON as it stands keeps what YAML cannot say: names that stand twice were refused above already.
    const isJson = isWhole && own.startsWith("[");
    return {
      name,
      text: isJson ? own : JSON.stringify(value),
      placeOf: (path) => {
        if (path[0] === "line") return { line: Number(path[1]), column: Number(path[2]) };
        const offset = offsetIn(node, path);
        return offset === undefined ? undefined : placeAt(offset);
      },
    };
  };

  const found: Found[] = [];
  const search = (node: unknown): void => {
    if (isSeq(node)) found.push(direct("the list", node, true));
    if (!isMap(node)) return;
    const kind = node.get("kind");
    if (kind === "List") {
      const items = node.get("items", true);
      if (isSeq(items)) for (const item of items.items) search(item);
      return;
    }
    const values = kind === "ConfigMap" ? node.get("data", true) : node;
    const value = isMap(values) ? values.get(key, true) : undefined;
    // A ConfigMap among other manifests that holds something else.
    if (value === undefined) return;
    const object: unknown = node.toJSON();
    const name =
      kind === "ConfigMap"
        ? `ConfigMap ${textAt(object, "metadata", "namespace") ?? "default"}/${textAt(object, "metadata", "name") ?? ""}`
        : `member "${key}"`;
    if (isScalar<string>(value) && typeof value.value === "string") {
      found.push(embedded(name, value));
    } else {
      found.push(direct(name, value, false));
    }
  };
  for (const document of documents) search(document.contents);
  if (found.length === 0) {
    throw new CommandProblem(
      exitCodes.refused,
      `${file} holds no address configuration: neither a list of entries, nor an object or ConfigMap with "${key}"; name another key with --key`,
    );
  }
  return found;
}

/** Blanks before the first line of a block scalar whose indicator stands in line `line`. */
function indentOf(text: string, line: number): number {
  const content = text.split("\n").slice(line);
  const first = content.find((candidate) => candidate.trim() !== "") ?? "";
  return first.length - first.trimStart().length;
}
