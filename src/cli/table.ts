// Tables for people: columns as wide as their content, cut sensibly where the terminal is narrower. JSON and YAML are in output.ts.

import type { Color } from "./terminal.ts";
import { colored, printable } from "./terminal.ts";

/** One column of rows of type Row. */
export type Column<Row> = {
  readonly title: string;
  readonly text: (row: Row) => string | number | undefined;
  /** Numbers stand right. */
  readonly align?: "right";
  /** Never cut: an address that is cut is of no use. */
  readonly isWhole?: true;
  readonly color?: (row: Row) => Color | undefined;
};

/** How tables are written. */
export type TableStyle = {
  /** Width that lines must fit in; undefined: as wide as they are. */
  readonly columns: number | undefined;
  readonly hasColor: boolean;
};

/** A column is cut to no less than this: a few letters say whose it is, fewer say nothing. */
const leastWidth = 6;
const gap = "  ";
const ellipsis = "…";
const noValue = "-";

/**
 * Writes rows as lines. The widths follow from the first rows that are given and stay, so that a long table can be written in parts
 * without being held in memory.
 */
export class Table<Row> {
  readonly #columns: readonly Column<Row>[];
  readonly #style: TableStyle;
  #widths: readonly number[] | undefined;

  constructor(columns: readonly Column<Row>[], style: TableStyle) {
    this.#columns = columns;
    this.#style = style;
  }

  /** Lines for the rows, with a line of titles before the first ones. */
  lines(rows: readonly Row[]): string {
    const cells = rows.map((row) => this.#columns.map((column) => cellText(column, row)));
    let text = "";
    if (this.#widths === undefined) {
      this.#widths = fit(this.#columns, cells, this.#style.columns);
      text += `${this.#line(this.#columns.map((column) => column.title))}\n`;
    }
    for (const [index, row] of rows.entries()) {
      text += `${this.#line(cells[index] as readonly string[], row)}\n`;
    }
    return text;
  }

  #line(cells: readonly string[], row?: Row): string {
    const widths = this.#widths as readonly number[];
    const last = cells.length - 1;
    const parts = cells.map((cell, index) => {
      const column = this.#columns[index] as Column<Row>;
      const width = widths[index] as number;
      const isCut = this.#style.columns !== undefined && column.isWhole !== true;
      const text = isCut ? cut(cell, width) : cell;
      const padded =
        column.align === "right"
          ? text.padStart(width)
          : index === last
            ? text
            : text.padEnd(width);
      const color = row === undefined ? undefined : column.color?.(row);
      return color === undefined || !this.#style.hasColor ? padded : colored(padded, color);
    });
    return parts
      .filter((_, index) => (widths[index] as number) > 0)
      .join(gap)
      .trimEnd();
  }
}

function cellText<Row>(column: Column<Row>, row: Row): string {
  const value = column.text(row);
  return value === undefined || value === "" ? noValue : printable(String(value));
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}${ellipsis}`;
}

/** Natural widths; while the line is too wide, the widest column that may be cut gives way. */
function fit<Row>(
  columns: readonly Column<Row>[],
  cells: readonly (readonly string[])[],
  available: number | undefined,
): number[] {
  const widths = columns.map((column, index) =>
    cells.reduce((most, row) => Math.max(most, (row[index] as string).length), column.title.length),
  );
  if (available === undefined) return widths;
  const total = () => {
    const kept = widths.filter((width) => width > 0);
    return kept.reduce((sum, width) => sum + width, gap.length * (kept.length - 1));
  };
  // A column without a single value says least: it goes first, so that the others stay whole.
  for (const [index, column] of columns.entries()) {
    if (total() <= available) break;
    const isEmpty = cells.length > 0 && cells.every((row) => row[index] === noValue);
    if (isEmpty && column.isWhole !== true) widths[index] = 0;
  }
  for (let excess = total() - available; excess > 0; excess = total() - available) {
    let widest = -1;
    for (const [index, width] of widths.entries()) {
      const canShrink = columns[index]?.isWhole !== true && width > leastWidth;
      if (canShrink && (widest < 0 || width > (widths[widest] as number))) widest = index;
    }
    // Nothing left to give: the terminal breaks the line, and nothing is lost.
    if (widest < 0) break;
    widths[widest] = (widths[widest] as number) - 1;
  }
  return widths;
}
