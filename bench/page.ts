// What the web page costs in a real browser, in front of more than a million addresses and twenty thousand records: first paint, frames
// while the map is scrolled and opened, searches, memory of the tab, and the bytes of the bundle.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { buildPage } from "../scripts/page-bundle.ts";
import { readPageFiles } from "../src/adapters/http/page-files.ts";
import { reasonToSkipBrowser, startBrowser } from "../test/browser/chromium.ts";
import { startApiPlane } from "./measure/api-plane.ts";
import type { Findings, Mode } from "./measure/benchmark.ts";
import { benchmark } from "./measure/benchmark.ts";
import { median, percentile } from "./measure/statistics.ts";

/** Times between frames while `action` runs; milliseconds. */
async function framesDuring(page: Page, action: () => Promise<void>): Promise<readonly number[]> {
  await page.evaluate(
    "(() => { const times = []; window.__frames = times; let last = performance.now();" +
      "const next = (now) => { times.push(now - last); last = now; window.__asked = requestAnimationFrame(next); };" +
      "window.__asked = requestAnimationFrame((now) => { last = now; window.__asked = requestAnimationFrame(next); }); })()",
  );
  await action();
  return page.evaluate<number[]>(
    "(() => { cancelAnimationFrame(window.__asked); return window.__frames; })()",
  );
}

async function measure(mode: Mode): Promise<Findings> {
  const skip = await reasonToSkipBrowser();
  if (skip !== false) throw new Error(skip);
  const records = mode === "quick" ? 2_000 : 20_000;
  const rounds = mode === "quick" ? 2 : 9;
  const folder = mkdtempSync(join(tmpdir(), "page-bench-"));
  const bundleBytes = await buildPage(folder);
  const plane = await startApiPlane(records, await readPageFiles([folder]));
  rmSync(folder, { recursive: true });
  const url = `http://127.0.0.1:${plane.port}`;
  const browser = await startBrowser();
  const paints: number[] = [];
  const searches: number[] = [];
  const scrolled: number[] = [];
  const zoomed: number[] = [];
  let tabMiB = 0;
  try {
    for (let round = 0; round < rounds; round += 1) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
      const page = await context.newPage();
      await page.goto(`${url}/#map`);
      const map = page.getByRole("application").first();
      await map.waitFor();
      const paint = await page.evaluate<number>(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN",
      );
      if (Number.isFinite(paint)) paints.push(paint);
      scrolled.push(
        ...(await framesDuring(page, async () => {
          for (let step = 0; step < 40; step += 1) {
            await page.mouse.wheel(0, step < 20 ? 400 : -400);
            await page.evaluate("new Promise(requestAnimationFrame)");
          }
        })),
      );
      zoomed.push(
        ...(await framesDuring(page, async () => {
          await map.focus();
          for (const key of ["Home", "ArrowRight", "ArrowDown", "Enter"]) {
            await page.keyboard.press(key);
          }
          for (let step = 0; step < 30; step += 1) await page.keyboard.press("ArrowRight");
          await page.keyboard.press("Escape");
        })),
      );
      const word = plane.some.podName;
      const field = page.getByRole("combobox", { name: /Find an address/ });
      const startedMs = performance.now();
      await field.fill(word);
      await page.getByRole("option").first().waitFor();
      searches.push(performance.now() - startedMs);
      const session = await context.newCDPSession(page);
      await session.send("Performance.enable");
      const { metrics } = await session.send("Performance.getMetrics");
      const heap = metrics.find(({ name }) => name === "JSHeapTotalSize")?.value ?? 0;
      tabMiB = Math.max(tabMiB, heap / 2 ** 20, residentMiBOfLargestRenderer());
      await context.close();
    }
  } finally {
    await browser.close();
    await plane.door.close(0);
    await plane.service.stop();
  }
  return {
    parameters: { records, rounds },
    figures: [
      {
        what: "first paint, median",
        value: median(paints),
        unit: "ms",
        target: { relation: "at most", value: 1_000 },
      },
      { what: "first paint, worst", value: Math.max(...paints), unit: "ms" },
      {
        what: "frame while scrolling, p95",
        value: percentile(scrolled, 95),
        unit: "ms",
        target: { relation: "at most", value: 32 },
      },
      {
        what: "frame while opening and walking, p95",
        value: percentile(zoomed, 95),
        unit: "ms",
        target: { relation: "at most", value: 32 },
      },
      {
        what: "search from the last key to the result, with the pause of 150 ms after typing, median",
        value: median(searches),
        unit: "ms",
      },
      {
        what: "search without that pause, median",
        value: median(searches) - 150,
        unit: "ms",
        target: { relation: "at most", value: 100 },
      },
      {
        what: "resident memory of the tab's process, largest",
        value: tabMiB,
        unit: "MiB",
        target: { relation: "at most", value: 300 },
      },
      {
        what: "bundle, compressed",
        value: bundleBytes / 1024,
        unit: "KiB",
        target: { relation: "at most", value: 200 },
      },
    ],
    notes: [
      "Server, browser and the program that drives it share the cores; a screen without a window draws 60 frames a second.",
    ],
  };
}

/** The page's process is the largest renderer; the kernel knows what it has in memory. */
function residentMiBOfLargestRenderer(): number {
  let largest = 0;
  for (const pid of childrenOf(process.pid)) {
    const command = read(`/proc/${pid}/cmdline`);
    if (!command.includes("--type=renderer")) continue;
    const kib = Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
    largest = Math.max(largest, kib / 1024);
  }
  return largest;
}

function childrenOf(pid: number): readonly number[] {
  const own = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return [...own, ...own.flatMap(childrenOf)];
}

/** Processes end while one looks at them. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

await benchmark({ name: "page", title: "the web page in a real browser" }, measure);
