// What a command prints in each format: table, wide, json, yaml. Lists are written in parts, never held whole.

import type { Column } from "./table.ts";
import { Table } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** The formats of `-o`. */
export const outputFormats = ["table", "wide", "json", "yaml"] as const;

/** One of {@link outputFormats}. */
export type OutputFormat = (typeof outputFormats)[number];

/** What a person sees of a row; `wide` is for `-o wide` and comes after. */
export type Columns<Row> = {
  readonly usual: readonly Column<Row>[];
  readonly wide?: readonly Column<Row>[];
};

/**
 * Writes rows that come in parts. JSON and YAML are one list over all parts; tables have their titles once. A list without rows is `[]`,
 * and as a table the note `empty` for people.
 */
export class ListWriter<Row> {
  readonly #terminal: Terminal;
  readonly #format: OutputFormat;
  readonly #table: Table<Row>;
  readonly #empty: string;
  #count = 0;

  constructor(
    terminal: Terminal,
    format: OutputFormat,
    columns: Columns<Row>,
    options: { readonly empty: string },
  ) {
    this.#terminal = terminal;
    this.#format = format;
    this.#empty = options.empty;
    this.#table = tableFor(terminal, format, columns);
  }

  async write(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    const isFirst = this.#count === 0;
    this.#count += rows.length;
    await this.#terminal.write(await this.#text(rows, isFirst));
  }

  async end(): Promise<void> {
    if (this.#format === "json") await this.#terminal.write(this.#count === 0 ? "[]\n" : "\n]\n");
    else if (this.#count > 0) return;
    else if (this.#format === "yaml") await this.#terminal.write("[]\n");
    else this.#terminal.note(this.#empty);
  }

  async #text(rows: readonly Row[], isFirst: boolean): Promise<string> {
    switch (this.#format) {
      case "json":
        return `${isFirst ? "[\n  " : ",\n  "}${rows.map((row) => JSON.stringify(row)).join(",\n  ")}`;
      case "yaml":
        return yamlText(rows);
      case "table":
      case "wide":
        return this.#table.lines(rows);
      default:
        return this.#format satisfies never;
    }
  }
}

/** Writes a whole list at once. */
export async function writeList<Row>(
  terminal: Terminal,
  format: OutputFormat,
  rows: readonly Row[],
  columns: Columns<Row>,
  options: { readonly empty: string },
): Promise<void> {
  const writer = new ListWriter(terminal, format, columns, options);
  await writer.write(rows);
  await writer.end();
}

/** A table in the width of the terminal; `wide` is never cut. */
export function tableFor<Row>(
  terminal: Terminal,
  format: OutputFormat,
  columns: Columns<Row>,
): Table<Row> {
  const isWide = format === "wide";
  return new Table(isWide ? [...columns.usual, ...(columns.wide ?? [])] : columns.usual, {
    columns: isWide ? undefined : terminal.columns,
    hasColor: terminal.hasColor,
  });
}

/** Writes one object: as JSON or YAML, or as the text that `describe` makes for people. */
export async function writeObject<T>(
  terminal: Terminal,
  format: OutputFormat,
  value: T,
  describe: (value: T) => string,
): Promise<void> {
  if (format === "json") await terminal.write(`${JSON.stringify(value, undefined, 2)}\n`);
  else if (format === "yaml") await terminal.write(await yamlText(value));
  else await terminal.write(describe(value));
}

/** Names and values below each other; pairs without a value are left out. */
export function fieldLines(
  fields: readonly (readonly [name: string, value: string | number | undefined])[],
): string {
  const present = fields.filter(([, value]) => value !== undefined && value !== "");
  const width = present.reduce((most, [name]) => Math.max(most, name.length), 0);
  return present.map(([name, value]) => `${`${name}:`.padEnd(width + 2)}${value}\n`).join("");
}

async function yamlText(value: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  return stringify(value, { lineWidth: 0 });
}
