// The page of figures: its tables and its plot are what the saved results say. It measures nothing.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { lineChart } from "../bench/measure/line-chart.ts";
import { movesTable } from "../bench/measure/moves-table.ts";
import { performancePage } from "../bench/measure/performance-page.ts";
import { savedResults } from "../bench/measure/saved-results.ts";

const docs = new URL("../docs/", import.meta.url);

test("docs/performance.md and its plot show the saved results", () => {
  const text = readFileSync(new URL("performance.md", docs), "utf8");
  const { page, plot } = performancePage(text, savedResults());
  const remedy = "run npm run bench -- --write and commit the page with the results";
  assert.equal(text, page, remedy);
  assert.equal(readFileSync(new URL("performance.svg", docs), "utf8"), plot, remedy);
});

test("moves of an address stand in a row for each cause, with their bounds, and what missed them is bold", () => {
  const move = (what: string, value: number, most?: number) => ({
    what,
    value,
    unit: "ms",
    ...(most === undefined ? {} : { target: { relation: "at most" as const, value: most } }),
  });
  const table = movesTable([
    move("pod deleted: until the new pod answers, p50", 80.4),
    move("pod deleted: until the new pod answers, worst", 501, 500),
    move("pod deleted: nobody answers, p95", 99.6, 100),
    move("requests answered by two nodes", 0, 0),
    move("keepalived, node crash: nobody answers, p50", 3_100),
  ]);
  assert.deepEqual(table.split("\n").slice(2), [
    "| pod deleted | 80 |  | **501** |  | 100 |  | all worst ≤ 500, gap p95 ≤ 100 |",
    "| keepalived, node crash |  |  |  | 3100 |  |  |  |",
  ]);
  assert.equal(movesTable([move("something else", 1)]), "");
});

test("a chart has a line with its name for each series, inside the panel", () => {
  const svg = lineChart("a <title>", [
    {
      title: "one",
      xLabel: "size",
      unit: "ms",
      lines: [
        {
          name: "flat",
          points: [
            { x: 10, y: 3 },
            { x: 1_000, y: 3 },
          ],
        },
        {
          name: "steep & flat",
          points: [
            { x: 10, y: 0.02 },
            { x: 1_000, y: 700 },
          ],
        },
      ],
    },
  ]);
  assert.equal(svg.match(/<polyline /g)?.length, 2);
  assert.equal(svg.match(/<circle /g)?.length, 4);
  assert.ok(svg.includes("a &lt;title&gt;") && svg.includes(">steep &amp; flat<"));
  for (const [, x, y] of svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)) {
    assert.ok(Number(x) >= 56 && Number(x) <= 290, x);
    assert.ok(Number(y) >= 44 && Number(y) <= 256, y);
  }
});
