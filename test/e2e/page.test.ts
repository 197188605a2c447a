// The web page in a real browser, on the program without a cluster: each story that an operator would live through with it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import type { FloatingIp } from "../../src/wire/api/floating-ip.ts";
import type { SimulatedPod, SimulatedWorkload } from "../../src/wire/api/simulation.ts";
import { reasonToSkipBrowser, startBrowser } from "../browser/chromium.ts";
import { waitUntil } from "../control-plane/api.ts";
import { type ChildProgram, freePort, removeAtExit } from "../control-plane/child-program.ts";
import { startEmbedded } from "../control-plane/embedded-program.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const patience = { everyMs: 100, timeoutMs: 120_000 };
const skip = await reasonToSkipBrowser();
if (skip !== false) process.stderr.write(`the page is not tested: ${skip}\n`);

/** axe as text, to be put into a page. */
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

type AxeResult = {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string | null;
    readonly help: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
};

describe("the page on the program without a cluster", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-page-"));
  removeAtExit(folder);
  let browser: Browser;
  let page: Page;
  let program: ChildProgram;
  let ports: readonly [number, number];
  let url = "";
  /** What the browser complained about, and requests that left this program. */
  const complaints: string[] = [];

  const start = async () => {
    ({ child: program, url } = await startEmbedded({ folder, ports }));
  };

  before(async () => {
    execFileSync(process.execPath, [join(root, "scripts/build-page.ts")]);
    ports = [await freePort(), await freePort()];
    await start();
    await waitUntil(
      "the example's pods",
      () => get<{ workloads: SimulatedWorkload[] }>("/v1/simulation/workloads"),
      ({ workloads }) => workloads.every(({ ready, replicas }) => ready === replicas),
      patience,
    );
    browser = await startBrowser();
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      locale: "en-GB",
    });
    page = await context.newPage();
    page.setDefaultTimeout(patience.timeoutMs);
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith("data:")) {
        complaints.push(`request to ${request.url()}`);
      }
    });
  });
  after(async () => {
    await browser?.close();
    await program?.stop();
  });

  const get = async <T>(path: string): Promise<T> => (await (await fetch(url + path)).json()) as T;
  const post = async (path: string, body: unknown): Promise<void> => {
    const answer = await fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, `${path}: ${await answer.text()}`);
  };
  const addresses = async (query: string) =>
    (await get<{ content: FloatingIp[] }>(`/v1/ip?wide=true&size=9999&${query}`)).content;
  const open = async (hash: string) => {
    await page.goto("about:blank");
    await page.goto(`${url}/${hash}`);
  };
  const text = (words: string | RegExp) => page.getByText(words).first().waitFor();

  it("opens where the demo can be played with, and is live", async () => {
    await open("");
    await page.getByRole("heading", { name: "The simulated cluster" }).waitFor();
    await page.locator(".connection.live").waitFor();
    assert.equal(new URL(page.url()).hash, "#simulation");
  });

  it("says who holds an address that is searched for", async () => {
    const [held] = await addresses("state=bound&appName=db");
    assert.ok(held !== undefined);
    await open("#pools");
    await page.getByRole("combobox", { name: /Find an address/ }).fill(held.ip);
    await page.getByRole("option", { name: new RegExp(held.podName ?? "") }).waitFor();
    await page.keyboard.press("Enter");
    const panel = page.getByRole("complementary");
    await panel.getByRole("heading", { name: `Address ${held.ip}` }).waitFor();
    await panel.getByText("statefulset db").waitFor();
    await panel.getByText(held.podName ?? "", { exact: true }).waitFor();
    const release = panel.getByRole("button", { name: /Release/ });
    assert.equal(await release.isDisabled(), true, "a pod that runs is not robbed");
    await panel.getByText(/A pod has this address/).waitFor();
  });

  it("finds workloads by a word, and says when there is nothing", async () => {
    await open("#map");
    const field = page.getByRole("combobox", { name: /Find an address/ });
    await field.fill("nginx-deployment");
    await page
      .getByRole("option", { name: /nginx-deployment/ })
      .first()
      .waitFor();
    await field.fill("nobody-has-this-name");
    await text(/Nothing found/);
    await field.fill("192.0.2.1");
    await text(/lies in no pod subnet/);
  });

  it("walks the map by keyboard down to an address", async () => {
    await open("#map");
    const map = page.getByRole("application", { name: /10\.0\.70\.0\/24/ });
    await map.focus();
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    await text(/10\.0\.70\.1: not configured/);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await text(/10\.0\.70\.\d+: /);
    await page.keyboard.press("End");
    await text(/10\.0\.70\.255: not configured/);
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Address 10.0.70.2" }).waitFor();
  });

  it("tells under the pointer who has an address", async () => {
    const [held] = await addresses("state=bound&subnet=10.0.0.0/24");
    assert.ok(held !== undefined);
    await open("#map");
    const map = page.getByRole("application", { name: /10\.0\.0\.0\/24/ });
    await map.scrollIntoViewIfNeeded();
    const box = await map.boundingBox();
    assert.ok(box !== null);
    const last = Number(held.ip.split(".")[3]);
    const columns = 32;
    await page.mouse.move(
      box.x + ((last % columns) + 0.5) * (box.width / columns),
      box.y + (Math.floor(last / columns) + 0.5) * (box.height / (256 / columns)),
    );
    await text(new RegExp(`${held.ip.replaceAll(".", "\\.")}: bound`));
    await text(new RegExp(`${held.namespace ?? ""}/${held.podName ?? ""}`));
  });

  it("reserves a free address after a confirmation, and gives it back", async () => {
    await open("#map?ip=10.0.70.50");
    const panel = page.getByRole("complementary");
    await panel.getByRole("button", { name: /Reserve/ }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("printer");
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text("10.0.70.50 is reserved.");
    await panel.getByText("administrator's", { exact: true }).waitFor();
    assert.equal((await addresses("subnet=10.0.70.50/32"))[0]?.state, "admin");
    await panel.getByRole("button", { name: /Give back/ }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text("10.0.70.50 can be handed out again.");
    assert.equal((await addresses("subnet=10.0.70.50/32"))[0]?.state, "free");
  });

  it("filters, sorts and pages through the addresses, and releases those that nobody uses", async () => {
    const reserved = await addresses("appName=sts&state=reserved");
    assert.ok(reserved.length >= 2, "the example has addresses of a StatefulSet that is gone");
    await open("#addresses");
    await page.getByRole("button", { name: "Sort by Address" }).click();
    await page.getByRole("columnheader", { name: "Sort by Address" }).waitFor();
    assert.match(page.url(), /sort=ip\+desc/);
    await page.getByRole("button", { name: /Next page/ }).click();
    await text(/Page 2 of/);
    await page.getByLabel("Workload", { exact: true }).fill("sts");
    await page.getByRole("button", { name: "Apply" }).click();
    await text(`${reserved.length} addresses`);
    const first = reserved[0];
    assert.ok(first !== undefined);
    await page.getByRole("checkbox", { name: `Choose ${first.ip}` }).check();
    await page.getByRole("button", { name: /Release/ }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(first.ip).waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.equal((await addresses("appName=sts&state=reserved")).length, reserved.length);
    await page.getByRole("button", { name: /Release/ }).click();
    await dialog.getByRole("button", { name: "Do it" }).click();
    await text("Released: 1.");
    await text(`${reserved.length - 1} addresses`);
  });

  it("makes a pool with addresses, and deletes it with them", async () => {
    await open("#pools");
    const form = page.getByRole("form", { name: "Create or change a pool" });
    await form.getByLabel("Name").fill("page-pool");
    await form.getByLabel("Size").fill("3");
    await form.getByLabel("Allocate the addresses at once").check();
    await form.getByLabel("Time limit without a pod").fill("2h");
    await form.getByRole("button").click();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text(/Pool “page-pool” has 3 addresses/);
    // Its addresses are idle, with the pool's time; while the pool wants them at once it does not run.
    await page
      .getByRole("row", { name: /page-pool/ })
      .getByRole("link", { name: "2h" })
      .click();
    await text("3 of 3 addresses");
    const idle = page.getByRole("row", { name: /Pool page-pool/ });
    await idle
      .getByText(/Pool page-pool asks for it/)
      .first()
      .waitFor();
    await post("/v1/pool", { name: "page-pool", size: 3 });
    await idle
      .getByText(/1 h 59 min/)
      .first()
      .waitFor();
    await open("#pools");
    const row = page.getByRole("row", { name: /page-pool/ });
    await row.getByRole("button", { name: /Delete/ }).click();
    await page
      .getByRole("dialog")
      .getByLabel(/Also release/)
      .check();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text(/Pool “page-pool” is deleted/);
    assert.equal((await addresses("poolName=page-pool")).length, 0);
  });

  it("lists idle addresses, narrows the list by keyboard, and releases one of them", async () => {
    const path = "/v1/idle?namespace=default";
    const before = await get<{ total: number; addresses: { ip: string }[] }>(path);
    assert.ok(before.total >= 2, "the example leaves addresses of workloads that are gone");
    await open("#idle");
    await page.getByRole("form", { name: "Narrow the list" }).getByLabel("Namespace").focus();
    await page.keyboard.type("default");
    await page.keyboard.press("Enter");
    await text(`${before.total} of ${before.total} addresses`);
    assert.match(page.url(), /#idle\?namespace=default$/);
    const ip = before.addresses[0]?.ip ?? "";
    const row = page.getByRole("row", { name: new RegExp(`Choose ${ip.replaceAll(".", "\\.")} `) });
    await row.getByText("stays until it is released").waitFor();
    await row.getByRole("checkbox").focus();
    await page.keyboard.press("Space");
    await page.getByRole("button", { name: /Release/ }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text("Released: 1.");
    await row.waitFor({ state: "detached" });
    await page.getByLabel("For at least").fill("soon");
    await page.keyboard.press("Enter");
    await page
      .getByRole("alert")
      .getByText(/"soon" is no duration such as 24h/)
      .waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByRole("alert").waitFor({ state: "detached" });
    complaints.splice(0, complaints.length, ...complaints.filter((line) => !/of 400/.test(line)));
  });

  it("makes a quota, shows how much of it is used, changes and deletes it", async () => {
    await open("#quotas");
    await text("No quotas");
    const form = page.getByRole("form", { name: "Create or change a quota" });
    await form.getByLabel("Name", { exact: true }).fill("page-quota");
    await form.getByLabel("Most addresses").fill("1");
    await form.getByLabel("Namespaces").fill("default, elsewhere");
    await form.getByRole("button", { name: "Create or change a quota" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Do it" });
    await confirm.click();
    await text("Quota “page-quota” allows 1 addresses.");
    const use = page
      .getByRole("region", { name: "What namespaces have" })
      .getByRole("row", { name: /^default page-quota/ });
    await use.getByText("reached").waitFor();
    await page.getByRole("button", { name: "Change page-quota" }).click();
    await form.getByLabel("Most addresses").fill("5000");
    await form.getByRole("button", { name: "Create or change a quota" }).click();
    await confirm.click();
    await use.getByText(/\d+ of 5,000 in use/).waitFor();
    await use.getByText("reached").waitFor({ state: "detached" });
    await page
      .getByRole("region", { name: "The quotas" })
      .getByText("default, elsewhere")
      .waitFor();
    await page.getByRole("button", { name: /Delete/ }).click();
    await confirm.click();
    await text("Quota “page-quota” is deleted.");
    await text("No quotas");
  });

  it("says how far a pool that is too large got, and which subnets are full then", async () => {
    await open("#pools");
    const form = page.getByRole("form", { name: "Create or change a pool" });
    await form.getByLabel("Name").fill("all-there-is");
    await form.getByLabel("Size").fill("9999");
    await form.getByLabel("Allocate the addresses at once").check();
    await form.getByRole("button").click();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await text(/Pool “all-there-is” was written, but has only \d+ of 9,999 addresses/);
    await page.getByRole("row", { name: /all-there-is.*more are wanted/ }).waitFor();
    await open("#map");
    const { subnets } = await get<{ subnets: unknown[] }>("/v1/subnet");
    await waitUntil(
      "each subnet to be said to be full",
      () => page.getByText("No free address").count(),
      (count) => count === subnets.length,
      patience,
    );
    const answer = await fetch(`${url}/v1/pool/all-there-is?release=true`, { method: "DELETE" });
    assert.ok(answer.ok);
    await page.getByText("No free address").first().waitFor({ state: "detached" });
  });

  it("creates, rolls, scales and deletes workloads, kills a node and lets its pods float", async () => {
    await open("#simulation");
    const form = page.getByRole("form", { name: "Create a workload" });
    await form.getByLabel("Kind").selectOption("statefulset");
    await form.getByLabel("Name").fill("played");
    await form.getByLabel("Replicas").fill("2");
    await form.getByLabel("Policy").selectOption("immutable");
    await form.getByRole("button", { name: "Create a workload" }).click();
    const row = page
      .getByRole("region", { name: "Workloads" })
      .getByRole("row", { name: /default\/played/ });
    await row.getByText("2/2 ready").waitFor();
    const before = await podsOf("played");
    await row.getByRole("button", { name: "Roll played" }).click();
    await waitUntil(
      "new pods with the old addresses",
      () => podsOf("played"),
      (now) =>
        now.length === 2 &&
        now.every(
          (pod) =>
            pod.ready &&
            before.some(
              ({ name, uid, ips }) =>
                name === pod.name && uid !== pod.uid && String(ips) === String(pod.ips),
            ),
        ),
      patience,
    );
    // The first: both may be on one node, and no pod of a StatefulSet is made anew before those with lower ordinals are ready.
    const victim = (await podsOf("played")).find(({ name }) => name === "played-0");
    assert.ok(victim?.nodeName !== undefined);
    await page.getByRole("button", { name: `Kill ${victim.nodeName}` }).click();
    // Nobody knows whether a silent node's pod still runs; a StatefulSet waits until somebody says that it does not.
    const deleting = page
      .getByRole("region", { name: "Pods" })
      .getByRole("row", { name: new RegExp(victim.name) });
    await deleting.getByRole("button", { name: `Delete by force ${victim.name}` }).click();
    await waitUntil(
      "the pod on another node with its address",
      async () => (await podsOf("played")).find(({ name }) => name === victim.name),
      (pod) =>
        pod?.ready === true &&
        pod.nodeName !== victim.nodeName &&
        String(pod.ips) === String(victim.ips),
      patience,
    );
    await page.getByRole("button", { name: `Recover ${victim.nodeName}` }).click();
    await row.getByLabel("Replicas played").fill("1");
    await row.getByRole("button", { name: "Scale played" }).click();
    await row.getByText("1/1 ready").waitFor();
    await row.getByRole("button", { name: "Delete played" }).click();
    await row.waitFor({ state: "detached" });
  });

  it("shows on the map, live, what happens meanwhile", async () => {
    await open("#map?ip=10.0.70.60");
    const panel = page.getByRole("complementary");
    await panel.getByText("free", { exact: true }).waitFor();
    await page.locator(".connection.live").waitFor();
    const answer = await fetch(`${url}/v1/reservation/10.0.70.60`, { method: "PUT" });
    assert.ok(answer.ok);
    await panel.getByText("administrator's", { exact: true }).waitFor();
  });

  it("explains why a pod waits, and shows who held an address before", async () => {
    await post("/v1/simulation/workloads", {
      kind: "statefulset",
      name: "greedy",
      replicas: 1,
      policy: "never",
      requestIpRange: [["10.0.70.60"]],
    });
    await waitUntil(
      "the pod to wait",
      () => podsOf("greedy"),
      ([pod]) => pod?.waitsBecause !== undefined,
      patience,
    );
    await open("#why");
    await page.getByLabel("Pod, as NAMESPACE/NAME").fill("greedy-0");
    await page.getByRole("button", { name: "Explain" }).click();
    await text(/Write the pod as NAMESPACE\/NAME/);
    await page.getByLabel("Pod, as NAMESPACE/NAME").fill("default/greedy-0");
    await page.getByRole("button", { name: "Explain" }).click();
    await text(/No node can give it an address/);
    await text(/widen request_ip_range/);
    await fetch(`${url}/v1/reservation/10.0.70.60`, { method: "DELETE" });
    await text(/It has its address|It would get an address now/);
    await open("#history?ip=10.0.70.60");
    await text(/administrator's/);
    await text(/default\/greedy-0/);
  });

  it("shows who holds a virtual IP of the simulated cluster, and who stands by", async () => {
    const headers = { "content-type": "application/json" };
    const body = { kind: "daemonset", name: "entrance", virtualIps: ["192.0.2.50"] };
    const made = await fetch(`${url}/v1/simulation/workloads`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    assert.equal(made.status, 200);
    await open("#vips");
    const row = page.getByRole("row").filter({ hasText: "192.0.2.50" });
    await row.getByText("holds it").first().waitFor();
    await row.getByText("stands by").first().waitFor();
    await fetch(`${url}/v1/simulation/workloads/daemonset/default/entrance`, { method: "DELETE" });
    await row.waitFor({ state: "detached" });
  });

  it("has a word for what is not there", async () => {
    await open("#vips");
    await text("No virtual IPs");
    await open("#addresses?keyword=nothing-like-this");
    await text("No address fits");
    await open("#why?pod=default%2Fnever-made");
    await text(/There is no such pod/);
    await open("#map?ip=192.0.2.77");
    await page
      .getByRole("alert")
      .getByText(/192\.0\.2\.77/)
      .waitFor();
    complaints.splice(
      0,
      complaints.length,
      ...complaints.filter((line) => !/status of 404/.test(line)),
    );
  });

  it("speaks Chinese and remembers it", async () => {
    await open("#map");
    await page.getByLabel("Language").selectOption("zh");
    await page.getByRole("heading", { name: "地址图" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "地址图" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    await page.getByLabel("语言").selectOption("en");
  });

  for (const theme of ["light", "dark"] as const) {
    it(`gives a screen reader or keyboard nothing to stumble over, theme ${theme}`, async () => {
      await open("#map");
      await page.getByLabel("Theme").selectOption(theme);
      for (const [name, limit] of Object.entries({ default: 5_000, elsewhere: 0 })) {
        const body = JSON.stringify({ limit, namespaces: [name] });
        const headers = { "content-type": "application/json" };
        const answer = await fetch(`${url}/v1/quota/${name}`, { method: "PUT", headers, body });
        assert.ok(answer.ok, await answer.text());
      }
      for (const hash of [
        "#simulation",
        "#map?ip=10.0.0.3",
        "#addresses",
        "#pools",
        "#idle",
        "#quotas",
        "#vips",
        "#why?pod=default%2Fdb-0",
        "#history",
      ]) {
        // Without leaving the document, so that axe is read once.
        await page.goto(`${url}/${hash}`);
        await page.locator(`nav a[href="${hash.split("?")[0]}"][aria-current=page]`).waitFor();
        await page.locator("main h2").first().waitFor();
        await page.locator(".loading").first().waitFor({ state: "detached" });
        assert.deepEqual(await serious(), [], hash);
      }
    });
  }

  it("fits a tablet", async () => {
    await page.setViewportSize({ width: 820, height: 1100 });
    for (const hash of ["#map?ip=10.0.0.3", "#addresses", "#idle", "#quotas", "#simulation"]) {
      await open(hash);
      await page.locator("main h2").first().waitFor();
      const width = await page.evaluate("document.documentElement.scrollWidth");
      assert.ok(Number(width) <= 820, `${hash} is ${String(width)} wide`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  it("asked no other host, and the browser had nothing to complain about", () => {
    assert.deepEqual(complaints, []);
  });

  it("says when the connection is lost, and reads everything again when it is back", async () => {
    await open("#map?ip=10.0.70.60");
    await page.locator(".connection.live").waitFor();
    await program.stop("SIGKILL");
    await text(/Connection lost/);
    await start();
    await text(/Connected again/);
    await page.locator(".connection.live").waitFor();
    assert.equal(await page.getByText(/Connection lost/).count(), 0);
    await page.getByRole("complementary").getByText("default", { exact: true }).waitFor();
  });

  async function podsOf(workload: string): Promise<readonly SimulatedPod[]> {
    return (await get<{ pods: SimulatedPod[] }>(`/v1/simulation/pods?workload=${workload}`)).pods;
  }

  /** What axe finds serious or worse. */
  async function serious(): Promise<readonly string[]> {
    // The policy of the page allows no script but its own; a test's goes past it.
    const found = await page.evaluate<AxeResult>(
      `(() => { if (globalThis.axe === undefined) { ${axe} } return axe.run({ resultTypes: ["violations"] }); })()`,
    );
    return found.violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
  }
});
