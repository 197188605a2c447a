// Which cells the address map shows of a subnet, and where they are. Pure; painting and fetching are elsewhere.

import type { IpNumber } from "../../src/core/ip.ts";
import { ipFromNumber, parseIpNumber } from "../../src/core/ip.ts";
import type { Cidr } from "../../src/core/ip-range.ts";
import { parseCidr, parseIpRange } from "../../src/core/ip-range.ts";

/** A part of a subnet as cells of equal size, in order of address. */
export type MapLevel = {
  /** First address of the first cell. */
  readonly first: string;
  /** Addresses in a cell. */
  readonly blockSize: number;
  readonly cells: number;
};

/** More cells than this are too small to point at. */
export const mostOverviewCells = 1024;
/** A block opens into this many cells, or fewer. */
const zoom = 256;
/** What the server can count in one cell. */
const largestBlock = 2 ** 32;

/**
 * The whole subnet in cells as small as fit. An IPv6 subnet is shown from its first to its last range: a /64 has more addresses than
 * anybody can look at.
 */
export function overviewOf(subnet: string, ranges: readonly string[]): MapLevel | undefined {
  const extent = extentOf(subnet, ranges);
  if (extent === undefined) return undefined;
  let blockSize = 1;
  while (extent.size / blockSize > mostOverviewCells && blockSize < largestBlock) blockSize *= zoom;
  const cells = Math.min(mostOverviewCells, Math.max(1, Math.ceil(extent.size / blockSize)));
  return { first: ipFromNumber(extent.first), blockSize, cells };
}

function extentOf(
  subnet: string,
  ranges: readonly string[],
): { readonly first: IpNumber; readonly size: number } | undefined {
  const cidr = parseCidr(subnet);
  if (cidr === undefined) return undefined;
  if (typeof cidr.range.first === "number") return sized(cidr);
  let [first, last] = [undefined as bigint | undefined, 0n];
  for (const text of ranges) {
    const parsed = parseIpRange(text);
    if (parsed.kind !== "range" || typeof parsed.range.first !== "bigint") continue;
    const [from, to] = [parsed.range.first, BigInt(parsed.range.last)];
    if (first === undefined || from < first) first = from;
    if (to > last) last = to;
  }
  if (first === undefined) return undefined;
  const aligned = first - (first % BigInt(zoom));
  return { first: aligned, size: Number(last - aligned) + 1 };
}

function sized({ range }: Cidr): { readonly first: IpNumber; readonly size: number } {
  return { first: range.first, size: Number(range.last) - Number(range.first) + 1 };
}

/** The cells inside a cell. A cell of one address has none. */
export function zoomInto(level: MapLevel, cell: number): MapLevel | undefined {
  if (level.blockSize === 1) return undefined;
  const cells = Math.min(zoom, level.blockSize);
  return { first: addressAt(level, cell), blockSize: level.blockSize / cells, cells };
}

/** The first address of a cell. */
export function addressAt(level: MapLevel, cell: number): string {
  return offset(level.first, cell * level.blockSize);
}

/** The last address of a cell. */
export function lastAddressAt(level: MapLevel, cell: number): string {
  return offset(level.first, cell * level.blockSize + level.blockSize - 1);
}

function offset(ip: string, addresses: number): string {
  const value = parseIpNumber(ip);
  if (value === undefined) return ip;
  return ipFromNumber(typeof value === "bigint" ? value + BigInt(addresses) : value + addresses);
}

/** The cell in which an address lies; undefined outside. */
export function cellOf(level: MapLevel, ip: string): number | undefined {
  const [first, value] = [parseIpNumber(level.first), parseIpNumber(ip)];
  if (first === undefined || value === undefined || typeof first !== typeof value) return undefined;
  const distance =
    typeof value === "bigint" ? Number(value - BigInt(first)) : value - Number(first);
  const cell = Math.floor(distance / level.blockSize);
  return cell >= 0 && cell < level.cells ? cell : undefined;
}

/** From the overview down to the level of single addresses in which an address lies; empty when it lies outside. */
export function pathTo(overview: MapLevel, ip: string): readonly MapLevel[] {
  const path: MapLevel[] = [];
  let level: MapLevel | undefined = overview;
  while (level !== undefined) {
    const cell = cellOf(level, ip);
    if (cell === undefined) return [];
    path.push(level);
    level = zoomInto(level, cell);
  }
  return path;
}

/** Where cells are painted; pixels. */
export type Grid = {
  readonly columns: number;
  readonly rows: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
};

/** Cells in rows of a power of two, so that rows begin with round addresses. */
export function gridFor(cells: number, widthPx: number): Grid {
  const wanted = cells > 256 ? 12 : 22;
  let columns = 8;
  while (columns < 128 && columns * 2 * wanted <= widthPx && columns < cells) columns *= 2;
  const cellWidth = Math.max(6, Math.min(44, Math.floor(widthPx / columns)));
  return {
    columns,
    rows: Math.ceil(cells / columns),
    cellWidth,
    cellHeight: cells > 256 ? 14 : 24,
  };
}

/** The cell at a point of the grid; undefined beside the cells. */
export function cellAtPoint(grid: Grid, cells: number, x: number, y: number): number | undefined {
  const column = Math.floor(x / grid.cellWidth);
  const row = Math.floor(y / grid.cellHeight);
  if (column < 0 || row < 0 || column >= grid.columns) return undefined;
  const cell = row * grid.columns + column;
  return cell < cells ? cell : undefined;
}

/** Where an arrow key leads from a cell; it stays where the grid ends. */
export function cellAfterKey(
  grid: Grid,
  cells: number,
  cell: number,
  key: string,
): number | undefined {
  const steps: Readonly<Record<string, number>> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -grid.columns,
    ArrowDown: grid.columns,
    PageUp: -grid.columns * 4,
    PageDown: grid.columns * 4,
  };
  if (key === "Home") return 0;
  if (key === "End") return cells - 1;
  const step = steps[key];
  if (step === undefined) return undefined;
  const next = cell + step;
  return next >= 0 && next < cells ? next : cell;
}
