// Writes line charts as SVG text: several small panels with logarithmic axes, lines with their names at the end. Knows no figures of ours
// and needs no library.

/** One line; `points` in the order of x, both values above 0. */
export type Line = {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
};

/** A panel with axes of its own. */
export type Panel = {
  readonly title: string;
  readonly xLabel: string;
  readonly unit: string;
  readonly lines: readonly Line[];
};

const panelWidth = 440;
const panelHeight = 300;
const columns = 2;
const plot = { left: 56, right: 150, top: 44, bottom: 44 };

/** Told apart also by those who see few colours, and dark enough on white. */
const colours = ["#0072b2", "#d55e00", "#009e73", "#a0487c", "#8a6d00", "#555555"];

/** The chart as SVG, on white so that it can be read in a dark page too. */
export function lineChart(title: string, panels: readonly Panel[]): string {
  const rows = Math.ceil(panels.length / columns);
  const [width, height] = [columns * panelWidth, rows * panelHeight + 40];
  const body = panels.map((panel, index) => {
    const x = (index % columns) * panelWidth;
    const y = Math.floor(index / columns) * panelHeight + 40;
    return `<g transform="translate(${x} ${y})">\n${panelText(panel)}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text({ x: 16, y: 26, size: 16, weight: "bold" }, title),
    ...body,
    "</svg>",
    "",
  ].join("\n");
}

function panelText({ lines, title, unit, xLabel }: Panel): string {
  const points = lines.flatMap((line) => line.points);
  const xs = decadesOf(points.map(({ x }) => x));
  const ys = decadesOf(points.map(({ y }) => y));
  const right = panelWidth - plot.right;
  const bottom = panelHeight - plot.bottom;
  const toX = (value: number) => scaled(value, xs, plot.left, right);
  const toY = (value: number) => scaled(value, ys, bottom, plot.top);
  const parts = [text({ x: 16, y: 20, weight: "bold" }, title)];
  for (const value of ticksOf(xs)) {
    const x = toX(value);
    parts.push(
      rule(x, plot.top, x, bottom),
      text({ x, y: bottom + 18, anchor: "middle" }, short(value)),
    );
  }
  for (const value of ticksOf(ys)) {
    const y = toY(value);
    parts.push(
      rule(plot.left, y, right, y),
      text({ x: plot.left - 6, y: y + 4, anchor: "end" }, short(value)),
    );
  }
  parts.push(
    text({ x: (plot.left + right) / 2, y: bottom + 36, anchor: "middle" }, xLabel),
    text({ x: plot.left - 6, y: plot.top - 10, anchor: "end" }, unit),
    proportional({ xs, ys }, { toX, toY }),
  );
  const labels = spread(lines.map(({ points: own }) => toY(own.at(-1)?.y ?? 1)));
  for (const [index, line] of lines.entries()) {
    const colour = colours[index % colours.length] as string;
    const path = line.points.map(({ x, y }) => `${round(toX(x))},${round(toY(y))}`).join(" ");
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const { x, y } of line.points) {
      parts.push(
        `<circle cx="${round(toX(x))}" cy="${round(toY(y))}" r="3" fill="${colour}"><title>${escaped(`${line.name}: ${y} ${unit} at ${short(x)}`)}</title></circle>`,
      );
    }
    const at = { x: right + 8, y: (labels[index] ?? 0) + 4, colour };
    parts.push(text(at, line.name));
  }
  return parts.join("\n");
}

/** A thin dotted line along which something grows that is proportional to x. */
function proportional(
  bounds: { readonly xs: Bounds; readonly ys: Bounds },
  at: { readonly toX: (value: number) => number; readonly toY: (value: number) => number },
): string {
  const factor = Math.min(bounds.xs.last / bounds.xs.first, bounds.ys.last / bounds.ys.first);
  const from = { x: bounds.xs.last / factor, y: bounds.ys.last / factor };
  const [x1, y1, x2, y2] = [
    at.toX(from.x),
    at.toY(from.y),
    at.toX(bounds.xs.last),
    at.toY(bounds.ys.last),
  ].map(round);
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#999999" stroke-dasharray="2 4"><title>ten times the cost at ten times the size</title></line>`;
}

type Bounds = { readonly first: number; readonly last: number };

/** The powers of ten around values, at least one decade. */
function decadesOf(values: readonly number[]): Bounds {
  const first = 10 ** Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const last = 10 ** Math.ceil(Math.log10(Math.max(...values)) - 1e-9);
  return { first, last: Math.max(last, first * 10) };
}

function ticksOf({ first, last }: Bounds): readonly number[] {
  const count = Math.round(Math.log10(last / first));
  return Array.from({ length: count + 1 }, (_, index) => first * 10 ** index);
}

function scaled(value: number, { first, last }: Bounds, from: number, to: number): number {
  return from + ((to - from) * Math.log10(value / first)) / Math.log10(last / first);
}

/** Moves labels apart that would lie on one another, keeping their order. */
function spread(ys: readonly number[]): readonly number[] {
  const least = 15;
  const order = [...ys.keys()].toSorted((a, b) => (ys[a] as number) - (ys[b] as number));
  const moved = [...ys];
  let previous = Number.NEGATIVE_INFINITY;
  for (const index of order) {
    previous = Math.max(moved[index] as number, previous + least);
    moved[index] = previous;
  }
  return moved;
}

function rule(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="#e2e2e2"/>`;
}

function text(
  at: {
    readonly x: number;
    readonly y: number;
    readonly anchor?: "middle" | "end";
    readonly weight?: "bold";
    readonly size?: number;
    readonly colour?: string;
  },
  content: string,
): string {
  const attributes = [
    `x="${round(at.x)}" y="${round(at.y)}" fill="${at.colour ?? "#222222"}"`,
    at.anchor === undefined ? "" : ` text-anchor="${at.anchor}"`,
    at.weight === undefined ? "" : ` font-weight="${at.weight}"`,
    at.size === undefined ? "" : ` font-size="${at.size}"`,
  ].join("");
  return `<text ${attributes}>${escaped(content)}</text>`;
}

/** 10,000 as `10k`, 0.01 as it is. */
function short(value: number): string {
  if (value >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))}M`;
  if (value >= 1_000) return `${Number((value / 1_000).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
