// The user guide as it stands: every block of commands of docs/guide is run by a shell, and what it prints is what the page shows. One control plane with
// three simulated nodes serves all pages, and one galaxy-ipam without a cluster the blocks that play in the simulated cluster.

import assert from "node:assert/strict";
import { cpSync, globSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ChildProgram, removeAtExit, tailOf } from "../control-plane/child-program.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { startEmbedded } from "../control-plane/embedded-program.ts";
import { floatingIps, pods } from "../control-plane/kinds.ts";
import { reasonToSkipKubectl } from "../control-plane/kubectl.ts";
import { type BlockShell, openBlockShell } from "../documents/block-shell.ts";
import { type Block, blocksOf, isShell, repository } from "../documents/markdown-blocks.ts";
import { type Bindings, compareOutput } from "../documents/shown-output.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipKubectl());
const pages = globSync("docs/guide/*.md", { cwd: repository }).toSorted();

/** The blocks of all pages that run in one place, by page. */
function blocksIn(kind: "cluster" | "embedded"): ReadonlyMap<string, readonly Block[]> {
  const runHere = (block: Block) => isShell(block) && block.place.kind === kind;
  return new Map(
    pages
      .map((page) => [page, blocksOf(page).filter(runHere)] as const)
      .filter(([, blocks]) => blocks.length > 0),
  );
}

/** Runs the blocks of a page, in order, as a test. Each shown output has the same addresses and pod names as those above it. */
async function follow(
  blocks: readonly Block[],
  shell: BlockShell,
  whileRunning: (work: Promise<string>) => Promise<string>,
): Promise<void> {
  let bindings: Bindings = new Map();
  for (const { at, text, output } of blocks) {
    const printed = await whileRunning(shell.run(text)).catch((error: unknown) => {
      throw new Error(`${at}: ${String(error)}`, { cause: error });
    });
    if (output === undefined) continue;
    const verdict = compareOutput(output, printed, bindings);
    if (verdict.kind === "different")
      assert.fail(`${at}: ${verdict.because}; printed:\n${printed}`);
    bindings = verdict.bindings;
  }
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-guide-"));
  removeAtExit(folder);
  return folder;
}

// The one computes, the other waits.
describe("docs/guide", { concurrency: 2 }, () => {
  describe("on a real control plane", { skip, concurrency: 1 }, () => {
    let cluster: Cluster;
    let shell: BlockShell;

    before(async () => {
      cluster = await startCluster({
        floatingips: false,
        nodes: [
          { name: "n1", internalIp: "10.0.0.1" },
          { name: "n2", internalIp: "10.0.0.2" },
          { name: "n3", internalIp: "10.0.1.3" },
        ],
      });
      const folder = newFolder();
      for (const name of ["deploy", "examples"]) {
        cpSync(join(repository, name), join(folder, name), { recursive: true });
      }
      shell = openBlockShell({
        folder,
        env: {
          KUBECONFIG: cluster.plane.kubeconfigOf("admin"),
          KUBECACHEDIR: join(folder, "cache"),
          GALAXY_SERVER: cluster.ipam().apiUrl,
          GALAXY_TOKEN: cluster.plane.tokenOf("admin"),
        },
        onFailure: () => tailOf(cluster.ipam().logFile),
      });
      await shell.run("kubectl apply -f examples/floatingip-config.yaml");
      await cluster.ipam().whenReady();
    });
    after(() => cluster?.stop());

    for (const [page, blocks] of blocksIn("cluster")) {
      test(`${page}: every command does what the page shows, and the page leaves nothing behind`, async () => {
        // The scheduler tries what it refused again within a minute; a page does not want to wait for that.
        await follow(blocks, shell, (work) => cluster.nodes.nudgingWhile(work));
        assert.deepEqual(await cluster.api.list({ kind: floatingIps }), []);
        assert.deepEqual(await cluster.api.list({ kind: pods }), []);
      });
    }

    test("the addresses are where they should be", () => waitForCleanAudit(cluster.api));
  });

  describe("without a cluster", { concurrency: 1 }, () => {
    let child: ChildProgram;
    let shell: BlockShell;

    before(async () => {
      const folder = newFolder();
      let url: string;
      ({ child, url } = await startEmbedded({ folder }));
      shell = openBlockShell({
        folder,
        env: { GALAXY_SERVER: url },
        onFailure: () => tailOf(child.logFile),
      });
    });
    after(() => child?.stop("SIGTERM", 30_000));

    for (const [page, blocks] of blocksIn("embedded")) {
      test(`${page}: every command does what the page shows`, () =>
        follow(blocks, shell, (work) => work));
    }
  });
});
