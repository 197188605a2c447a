// What docs/performance.md shows of the saved results: the tables between its markers and the plot beside it. The words of the page are
// written by hand and stay.

import type { Figure, SavedResult } from "./benchmark.ts";
import { isMet } from "./benchmark.ts";
import { type Line, lineChart, type Panel } from "./line-chart.ts";
import { movesTable } from "./moves-table.ts";

/** The page and its plot. */
export type PerformancePage = { readonly page: string; readonly plot: string };

/**
 * Puts the figures into the page.
 * @param page the page as it is, with the markers `<!-- targets -->`, `<!-- growth -->`, `<!-- moves -->` and `<!-- end -->`
 * @param results every saved result, in the order of the table
 * @throws Error when a marker or a figure that is drawn is missing
 */
export function performancePage(page: string, results: readonly SavedResult[]): PerformancePage {
  const scale = results.find(({ name }) => name === "scale");
  if (scale === undefined) throw new Error("there is no result of scale; run it first");
  const title = `Growth of cost with ${scale.parameters["nodes"]?.toLocaleString("en")} nodes (${scale.date.slice(0, 10)}); dotted: ten times at ten times the size`;
  const tables = {
    targets: targetTable(results),
    growth: growthTable(scale),
    moves: movesOf(results.find(({ name }) => name === "vip")),
  };
  return {
    page: Object.entries(tables).reduce(
      (text, [marker, table]) => replaced(text, marker, table),
      page,
    ),
    plot: lineChart(title, panelsOf(scale)),
  };
}

function replaced(page: string, marker: string, table: string): string {
  const start = page.indexOf(`<!-- ${marker} -->`);
  const end = page.indexOf("<!-- end -->", start);
  if (start < 0 || end < 0) throw new Error(`docs/performance.md has no marker "${marker}"`);
  return `${page.slice(0, start)}<!-- ${marker} -->\n${table}\n${page.slice(end)}`;
}

function movesOf(vip: SavedResult | undefined): string {
  if (vip === undefined) return "Not measured on a quiet machine yet: `npm run bench -- vip`.";
  const { loadBefore } = vip.machine;
  const runs = vip.parameters["runs of each cause"];
  return `${movesTable(vip.figures)}\n\nMilliseconds, ${runs} runs each, ${vip.date.slice(0, 10)}, load ${loadBefore} before. Bold: missed.`;
}

/** Every figure that has a target, met or not. */
function targetTable(results: readonly SavedResult[]): string {
  const rows = results.flatMap((result) =>
    result.figures.flatMap((figure) => {
      const { target, unit, value, what } = figure;
      if (target === undefined) return [];
      const verdict = isMet(figure) === true ? "met" : "**missed**";
      const load = `${result.machine.loadBefore}`;
      return [
        `| ${result.title}: ${what} | ${value} ${unit} | ${target.relation} ${target.value} | ${verdict} | ${load} |`,
      ];
    }),
  );
  return [
    "| figure | value | target | | load |",
    "| --- | ---: | --- | --- | ---: |",
    ...rows,
  ].join("\n");
}

/** Sizes side by side, with the factor from the smallest to the largest. */
function growthTable(scale: SavedResult): string {
  const bySize = new Map<string, Map<string, Figure>>();
  const sizes = new Set<string>();
  for (const figure of scale.figures) {
    const [, what, size] = /^(.*), ([\d,]+) in use$/.exec(figure.what) ?? [];
    if (what === undefined || size === undefined) continue;
    sizes.add(size);
    bySize.set(what, (bySize.get(what) ?? new Map<string, Figure>()).set(size, figure));
  }
  const columns = [...sizes];
  const rows = [...bySize].map(([what, figures]) => {
    const values = columns.map((size) => figures.get(size)?.value ?? Number.NaN);
    const [first = Number.NaN, last = Number.NaN] = [values[0], values.at(-1)];
    const factor = first === 0 ? "" : `${Number((last / first).toPrecision(2))} times`;
    const unit = figures.get(columns[0] ?? "")?.unit ?? "";
    return `| ${what} (${unit}) | ${values.map(String).join(" | ")} | ${factor} |`;
  });
  return [
    `| with addresses in use | ${columns.join(" | ")} | grows |`,
    `| --- | ${columns.map(() => "---:").join(" | ")} | ---: |`,
    ...rows,
  ].join("\n");
}

/** A line of a panel: the figures whose text is `what` with a size after it. */
type Wanted = {
  readonly name: string;
  readonly what: string;
  /** Divides the values, for a panel of another unit. */
  readonly per?: number;
};

function lineOf(result: SavedResult, sizeText: RegExp, { name, per = 1, what }: Wanted): Line {
  const points = result.figures.flatMap((figure) => {
    if (!figure.what.startsWith(`${what}, `)) return [];
    const match = sizeText.exec(figure.what.slice(what.length + 2));
    const x = Number(match?.[1]?.replaceAll(",", ""));
    return match === null ? [] : [{ x, y: figure.value / per }];
  });
  if (points.length < 2) throw new Error(`the saved results have no sizes of "${what}"`);
  if (points.some(({ y }) => y <= 0)) throw new Error(`"${what}" is not above 0 everywhere`);
  return { name, points };
}

function panelsOf(scale: SavedResult): readonly Panel[] {
  const panel = (title: string, unit: string, wanted: readonly Wanted[]): Panel => ({
    title,
    unit,
    xLabel: "addresses in use",
    lines: wanted.map((line) => lineOf(scale, /^([\d,]+) in use$/, line)),
  });
  const wide = (title: string, unit: string, wanted: readonly Wanted[]): Panel => ({
    title,
    unit,
    xLabel: "replicas of the Deployment",
    lines: wanted.map((line) => lineOf(scale, /^([\d,]+) replicas$/, line)),
  });
  return [
    panel("One call", "ms", [
      { name: "preempt", what: "preempt of 100 candidates" },
      { name: "filter", what: "filter" },
      { name: "prioritize", what: "prioritize" },
      { name: "bind", what: "bind" },
      { name: "reclaim of a pod", what: "reclaim of a pod" },
    ]),
    panel("All records", "s", [
      { name: "resync", what: "resync" },
      { name: "restore", what: "restore" },
      { name: "new configuration", what: "a new configuration in force", per: 1_000 },
    ]),
    panel("Longest time without an answer", "ms", [
      { name: "in a restore", what: "longest stretch of restore" },
      { name: "in a resync", what: "longest stretch of resync" },
    ]),
    panel("Memory", "MiB", [
      { name: "all that is known", what: "memory of records, pods, workloads and nodes" },
    ]),
    wide("One wide Deployment", "ms", [
      { name: "filter", what: "filter of a pod of a Deployment" },
      { name: "reclaim of a pod", what: "reclaim of a pod of a Deployment" },
    ]),
  ];
}
