// The page of figures: its tables and its plot are what the saved results say. It measures nothing.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { lineChart } from "../bench/measure/line-chart.ts";
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
