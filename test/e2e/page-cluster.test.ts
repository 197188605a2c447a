// The web page in a real browser in front of a program on a real control plane: signing in with the cluster's tokens, looking without the
// right to release, and seeing what kubectl does.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { reasonToSkipBrowser, startBrowser } from "../browser/chromium.ts";
import { floatIpsOf } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { pods } from "../control-plane/kinds.ts";
import { aDeployment, aFloatingIp, aPod, aStatefulSet } from "../control-plane/manifests.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const skip = (await reasonToSkip()) || (await reasonToSkipBrowser());
if (skip !== false) process.stderr.write(`the page is not tested on a cluster: ${skip}\n`);

describe("the page on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let browser: Browser;
  let page: Page;

  before(async () => {
    execFileSync(process.execPath, [join(root, "scripts/build-page.ts")]);
    cluster = await startCluster({
      plane: {
        users: [
          { name: "reader", groups: ["lookers"] },
          { name: "stranger", groups: [] },
        ],
      },
    });
    const rbac = "rbac.authorization.k8s.io";
    await cluster.api.create({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name: "lookers" },
      rules: [
        {
          apiGroups: ["galaxy.k8s.io"],
          resources: ["floatingips", "pools"],
          verbs: ["get", "list", "watch"],
        },
      ],
    });
    await cluster.api.create({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: "lookers" },
      subjects: [{ kind: "Group", name: "lookers" }],
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name: "lookers" },
    });
    await cluster.api.create(aStatefulSet({ name: "db", replicas: 1, policy: "never" }));
    await cluster.readyPods("db", 1);
    browser = await startBrowser();
    page = await browser.newPage({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
    page.setDefaultTimeout(120_000);
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  const signIn = async (token: string) => {
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
  };

  it("asks for a token, and says when it is not accepted", async () => {
    await page.goto(`${cluster.ipam().apiUrl}/#map`);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await signIn("nobody-issued-this");
    await page.getByText(/The token was not accepted/).waitFor();
  });

  it("tells somebody without rights what is missing, and shows no address", async () => {
    await signIn(cluster.plane.tokenOf("stranger"));
    await page.getByRole("heading", { name: "Your token may not do this." }).waitFor();
    await page
      .getByText(/needs the verb list on floatingips/)
      .first()
      .waitFor();
    assert.equal(await page.getByRole("application").count(), 0);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
  });

  it("shows everything to who may look, and offers no change", async () => {
    await signIn(cluster.plane.tokenOf("reader"));
    const [pod] = await cluster.readyPods("db", 1);
    const [ip] = pod === undefined ? [] : floatIpsOf(pod);
    assert.ok(ip !== undefined);
    await page.getByRole("heading", { name: "10.49.70.0/24" }).waitFor();
    await page.locator(".connection.live").waitFor();
    assert.equal(await page.getByRole("link", { name: "Simulated cluster" }).count(), 0);
    await page.goto(`${cluster.ipam().apiUrl}/#map?ip=${ip}`);
    const panel = page.getByRole("complementary");
    await panel.getByText("statefulset db").waitFor();
    assert.equal(await panel.getByRole("button", { name: /Release/ }).isDisabled(), true);
    await panel.getByText("Your token may not release addresses.").waitFor();
  });

  it("shows who claims a virtual IP, and why nobody holds it", async () => {
    await cluster.api.create({
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "VIPPool",
      metadata: { name: "edge" },
      spec: { ranges: ["192.0.2.50~192.0.2.59"] },
    });
    const annotations = { "vip.galaxy.k8s.io/addresses": "192.0.2.50, 198.51.100.7" };
    const claim = aPod({ name: "claims", nodeName: "a1", wantsFloatIp: false, annotations });
    await cluster.api.create(claim);
    await page.goto(`${cluster.ipam().apiUrl}/#vips`);
    const row = page.getByRole("row").filter({ hasText: "192.0.2.50" });
    await row.getByText("default/claims").waitFor();
    // No node of this cluster runs an agent.
    await row.getByText("no agent of its node renews its lease").waitFor();
    await row.getByText("nobody holds it").waitFor();
    const refused = page.getByRole("row").filter({ hasText: "198.51.100.7" });
    await refused.getByText("no pool has the address").waitFor();
    await cluster.api.delete(pods, { name: "claims", namespace: "default" });
    await page.getByText("No virtual IPs").waitFor();
  });

  it("shows live what kubectl does, and lets the administrator release", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await signIn(cluster.plane.tokenOf("admin"));
    await page.locator(".connection.live").waitFor();
    await page.getByRole("link", { name: "Workloads" }).click();
    await page.getByLabel("Keyword").fill("web");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("No address fits").waitFor();
    await cluster.api.create(aDeployment({ name: "web", replicas: 2 }));
    await page.getByText("2 addresses").waitFor();
    const kept = "10.49.70.19";
    await cluster.api.create(aFloatingIp({ ip: kept, key: "sts_default_gone_gone-0", policy: 2 }));
    await page.goto(`${cluster.ipam().apiUrl}/#map?ip=${kept}`);
    const panel = page.getByRole("complementary");
    await panel.getByRole("button", { name: /Release/ }).click();
    await page.getByRole("dialog").getByText(kept).waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Do it" }).click();
    await page.getByText("Released: 1.").waitFor();
  });
});
