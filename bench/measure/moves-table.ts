// The budget of moves of virtual addresses as a table: each cause in a row, keepalived beside them. Made of the figures of bench/vip.ts, whose
// texts say what they are.

import type { Figure } from "./benchmark.ts";
import { isMet } from "./benchmark.ts";

/** `pod deleted: nobody answers, p95`. */
const moveFigure = /^(.*): (until the new pod answers|nobody answers), (p50|p95|worst)$/;

const parts = ["until the new pod answers", "nobody answers"] as const;
const statistics = ["p50", "p95", "worst"] as const;

/** Rows in the order of the figures; "" without any. Milliseconds, of which those that missed their bound are bold. */
export function movesTable(figures: readonly Figure[]): string {
  const causes = new Map<string, Map<string, Figure>>();
  for (const figure of figures) {
    const [, cause, part, statistic] = moveFigure.exec(figure.what) ?? [];
    if (cause === undefined) continue;
    const known = causes.get(cause) ?? new Map<string, Figure>();
    causes.set(cause, known.set(`${part} ${statistic}`, figure));
  }
  if (causes.size === 0) return "";
  const cell = (figure: Figure | undefined): string => {
    if (figure === undefined) return "";
    const value = String(Math.round(figure.value));
    return isMet(figure) === false ? `**${value}**` : value;
  };
  const boundOf = (row: ReadonlyMap<string, Figure>): string =>
    parts
      .flatMap((part) => statistics.map((statistic) => ({ part, statistic })))
      .flatMap(({ part, statistic }) => {
        const target = row.get(`${part} ${statistic}`)?.target;
        const short = part === "nobody answers" ? "gap" : "all";
        return target === undefined ? [] : [`${short} ${statistic} ≤ ${target.value}`];
      })
      .join(", ");
  return [
    "| cause | until the new pod answers: p50 | p95 | worst | nobody answers: p50 | p95 | worst | bounds |",
    `| --- | ${"---: | ".repeat(6)}--- |`,
    ...[...causes].map(([cause, row]) => {
      const cells = parts.flatMap((part) =>
        statistics.map((statistic) => cell(row.get(`${part} ${statistic}`))),
      );
      return `| ${cause} | ${cells.join(" | ")} | ${boundOf(row)} |`;
    }),
  ].join("\n");
}
