// Takes pictures of each view of the page in both themes, for docs/images: the program without a cluster, with some workloads besides its example.
//   node scripts/screenshots.ts
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { reasonToSkipBrowser, startBrowser } from "../test/browser/chromium.ts";
import { waitUntil } from "../test/control-plane/api.ts";
import { removeAtExit } from "../test/control-plane/child-program.ts";
import { startEmbedded } from "../test/control-plane/embedded-program.ts";
import { buildPage } from "./page-bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const images = join(root, "docs", "images");
const skip = await reasonToSkipBrowser();
if (skip !== false) throw new Error(`${skip}; nothing was drawn`);

const folder = mkdtempSync(join(tmpdir(), "galaxy-pictures-"));
removeAtExit(folder);
mkdirSync(images, { recursive: true });
await buildPage(join(root, "dist", "ui"));
const { child: program, url } = await startEmbedded({ folder });

const send = async (method: string, path: string, body?: unknown): Promise<unknown> => {
  const answer = await fetch(url + path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
  return answer.json();
};

// A subnet that is nearly full, addresses kept for later, one that the administrator has, and a pod that waits.
for (const [name, replicas, policy] of [
  ["checkout", 214, "never"],
  ["search", 40, ""],
  ["ledger", 12, "immutable"],
] as const) {
  await send("POST", "/v1/simulation/workloads", { kind: "deployment", name, replicas, policy });
}
await send("PUT", "/v1/reservation/10.0.70.240", { reason: "printer of the second floor" });
await send("POST", "/v1/simulation/workloads", {
  kind: "statefulset",
  name: "fax",
  replicas: 1,
  policy: "never",
  requestIpRange: [["10.0.70.240"]],
});
type Workloads = {
  readonly workloads: readonly { ready: number; replicas: number; name: string }[];
};
await waitUntil(
  "all pods but one",
  async () => (await send("GET", "/v1/simulation/workloads")) as Workloads,
  ({ workloads }) =>
    workloads.every(({ ready, replicas, name }) => ready === replicas || name === "fax"),
  { everyMs: 200, timeoutMs: 180_000 },
);
await send("POST", "/v1/simulation/workloads/deployment/default/checkout/scale", { replicas: 160 });
type Page10 = { readonly content: readonly { readonly ip: string }[] };
const held = (await send("GET", "/v1/ip?appName=ledger&state=bound&size=1")) as Page10;
const shown = held.content[0]?.ip ?? "10.0.0.2";

const browser = await startBrowser();
for (const theme of ["light", "dark"] as const) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    colorScheme: theme,
    locale: "en-GB",
  });
  const page = await context.newPage();
  for (const [name, hash] of [
    ["map", `#map?ip=${shown}`],
    ["workloads", "#addresses?appName=checkout&sort=ip+desc"],
    ["pools", "#pools"],
    ["why", "#why?pod=default%2Ffax-0"],
    ["history", "#history"],
    ["simulation", "#simulation"],
  ] as const) {
    await page.goto("about:blank");
    await page.goto(`${url}/${hash}`);
    await page.locator(".connection.live").waitFor();
    await page.locator(".loading").first().waitFor({ state: "detached" });
    await page.evaluate(
      "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))",
    );
    await page.screenshot({ path: join(images, `${name}-${theme}.png`) });
    console.log(`docs/images/${name}-${theme}.png`);
  }
  await context.close();
}
await browser.close();
await program.stop();
