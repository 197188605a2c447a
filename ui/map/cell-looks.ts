// How cells look: a colour and a pattern for each state, so that colour is never the only sign. Painting only.

import type { cellCounts } from "../../src/wire/api/address-letters.ts";
import { addressLetters } from "../../src/wire/api/address-letters.ts";
import type { Grid } from "./map-layout.ts";

/** A state as a cell shows it; `none` is an address that nothing lists. */
export type CellState = keyof typeof addressLetters;

/** In the order in which a block is filled from below: what needs a look comes first. */
const fillOrder = [
  "conflict",
  "unknown",
  "draining",
  "bound",
  "held",
  "reserved",
  "admin",
  "free",
] as const satisfies readonly (typeof cellCounts)[number][];

const stateOfLetter = new Map<string, CellState>(
  Object.entries(addressLetters).map(([state, letter]) => [letter, state as CellState]),
);

/** The state that a letter of the address map stands for. */
export function stateOf(letter: string | undefined): CellState {
  return stateOfLetter.get(letter ?? "") ?? "none";
}

/** Colours of the theme in force, by state. */
export type Looks = Readonly<Record<CellState | "line" | "focus" | "mark", string>>;

/** Reads the colours from the style sheet. */
export function readLooks(element: Element): Looks {
  const style = getComputedStyle(element);
  const read = (name: string) => style.getPropertyValue(`--state-${name}`).trim() || "#888";
  const states = Object.keys(addressLetters) as CellState[];
  return {
    ...(Object.fromEntries(states.map((state) => [state, read(state)])) as Record<
      CellState,
      string
    >),
    line: style.getPropertyValue("--line").trim() || "#ccc",
    focus: style.getPropertyValue("--focus").trim() || "#06c",
    mark: style.getPropertyValue("--text").trim() || "#000",
  };
}

/** What the cells hold: letters of single addresses, or counts of each block. */
export type MapData = {
  readonly letters?: string | undefined;
  readonly counts?: Readonly<Record<string, readonly number[]>> | undefined;
};

/** What the canvas shows beside the cells themselves. */
export type Marks = { readonly focus: number | undefined; readonly selected: number | undefined };

/** Paints all cells. */
export function paint(
  context: CanvasRenderingContext2D,
  { grid, cells, blockSize }: { grid: Grid; cells: number; blockSize: number },
  data: MapData,
  looks: Looks,
  marks: Marks,
): void {
  const { columns, cellWidth, cellHeight } = grid;
  context.clearRect(0, 0, columns * cellWidth, grid.rows * cellHeight);
  for (let cell = 0; cell < cells; cell += 1) {
    const x = (cell % columns) * cellWidth + 1;
    const y = Math.floor(cell / columns) * cellHeight + 1;
    const width = cellWidth - 2;
    const height = cellHeight - 2;
    if (data.letters !== undefined) {
      paintAddress(context, stateOf(data.letters[cell]), looks, x, y, width, height);
    } else {
      paintBlock(context, data, cell, blockSize, looks, x, y, width, height);
    }
  }
  if (marks.selected !== undefined) outline(context, grid, marks.selected, looks.mark, 2);
  if (marks.focus !== undefined) outline(context, grid, marks.focus, looks.focus, 3);
}

function outline(
  context: CanvasRenderingContext2D,
  { columns, cellWidth, cellHeight }: Grid,
  cell: number,
  color: string,
  lineWidth: number,
): void {
  context.strokeStyle = color;
  context.lineWidth = lineWidth;
  context.strokeRect(
    (cell % columns) * cellWidth + 1,
    Math.floor(cell / columns) * cellHeight + 1,
    cellWidth - 2,
    cellHeight - 2,
  );
}

function paintAddress(
  context: CanvasRenderingContext2D,
  state: CellState,
  looks: Looks,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  context.fillStyle = looks[state];
  context.fillRect(x, y, width, height);
  context.strokeStyle = looks.mark;
  context.fillStyle = looks.mark;
  context.lineWidth = 1;
  const middle = { x: x + width / 2, y: y + height / 2 };
  const size = Math.min(width, height) / 4;
  switch (state) {
    case "none":
    case "free":
    case "bound":
      return;
    case "reserved":
      context.beginPath();
      context.moveTo(x, y + height);
      context.lineTo(x + Math.min(width, height), y + height - Math.min(width, height));
      context.stroke();
      return;
    case "admin":
      context.fillRect(middle.x - size, middle.y - size, size * 2, size * 2);
      return;
    case "held":
      context.beginPath();
      context.arc(middle.x, middle.y, size, 0, Math.PI * 2);
      context.stroke();
      return;
    case "draining":
      context.beginPath();
      context.moveTo(middle.x - size, middle.y - size / 2);
      context.lineTo(middle.x + size, middle.y - size / 2);
      context.lineTo(middle.x, middle.y + size);
      context.fill();
      return;
    case "conflict":
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(middle.x - size, middle.y - size);
      context.lineTo(middle.x + size, middle.y + size);
      context.moveTo(middle.x + size, middle.y - size);
      context.lineTo(middle.x - size, middle.y + size);
      context.stroke();
      return;
    case "unknown":
      context.fillRect(middle.x - 1, middle.y - size, 2, size * 2);
      return;
    default:
      state satisfies never;
  }
}

function paintBlock(
  context: CanvasRenderingContext2D,
  { counts }: MapData,
  cell: number,
  blockSize: number,
  looks: Looks,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  context.fillStyle = looks.none;
  context.fillRect(x, y, width, height);
  let below = y + height;
  for (const state of fillOrder) {
    const count = counts?.[state]?.[cell] ?? 0;
    if (count === 0) continue;
    // One conflict among thousands has to be seen.
    const wanted = (count / blockSize) * height;
    const part = state === "free" ? wanted : Math.max(2, wanted);
    const top = Math.max(y, below - part);
    context.fillStyle = looks[state];
    context.fillRect(x, top, width, below - top);
    below = top;
  }
}

/** How many addresses of a block are in each state that occurs. */
export function countsOf(
  { counts }: MapData,
  cell: number,
): readonly { readonly state: CellState; readonly count: number }[] {
  return fillOrder
    .map((state) => ({ state, count: counts?.[state]?.[cell] ?? 0 }))
    .filter(({ count }) => count > 0);
}

/** A map with the state of one address changed; the same map when it has no letters. */
export function withState(data: MapData, cell: number, state: CellState): MapData {
  if (data.letters === undefined) return data;
  return {
    letters: data.letters.slice(0, cell) + addressLetters[state] + data.letters.slice(cell + 1),
  };
}
