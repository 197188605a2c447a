// docs/install.md as it stands, on a real control plane, with the permissions of deploy/ and no others, and the commands of docs/upgrade.md and
// docs/backup.md in the places where they are needed.

import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse as parseYaml } from "yaml";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { removeAtExit, tailOf } from "../control-plane/child-program.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { reasonToSkipKubectl } from "../control-plane/kubectl.ts";
import { type PodPrograms, startPodPrograms } from "../control-plane/pod-programs.ts";
import { type ServiceNetwork, startServiceNetwork } from "../control-plane/service-network.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";
import { verifySurroundings } from "../deploy/surroundings.ts";
import { type BlockShell, openBlockShell } from "../documents/block-shell.ts";
import { blocksOf, isShell } from "../documents/markdown-blocks.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipKubectl());
const root = fileURLToPath(new URL("../..", import.meta.url));

/** As the guide says it, where the ports speak HTTP. */
const service = "kube-system/http:galaxy-ipam:9041";

/** For one block on a slow machine. */
const blockLimitMs = 400_000;

/** The blocks of the guide with the heading that each stands under, and those of the two pages that go on from its sections. */
const guide = blocksOf("docs/install.md").filter(isShell);
const upgrade = blocksOf("docs/upgrade.md").filter(isShell);
const blocks = guide.flatMap((block, index) => {
  if (block.heading === "6. Upgrade") return [...upgrade.slice(0, 1), block, ...upgrade.slice(1)];
  const isRepaired =
    block.heading === "7. Break and repair" && guide[index + 1]?.heading !== block.heading;
  return isRepaired ? [block, ...blocksOf("docs/backup.md").filter(isShell)] : [block];
});

describe("docs/install.md", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-install-"));
  removeAtExit(folder);
  let network: ServiceNetwork;
  let plane: ControlPlane;
  let nodes: SimulatedNodes;
  let programs: PodPrograms;
  let shell: BlockShell;
  let failed: string | undefined;

  before(async () => {
    network = await startServiceNetwork();
    const egress = join(folder, "egress.json");
    writeFileSync(egress, network.egressSelector);
    plane = await startControlPlane({
      flags: {
        "kube-apiserver": [
          // As in every cluster: network plugins work on the node's own network.
          "--allow-privileged=true",
          `--egress-selector-config-file=${egress}`,
        ],
        "kube-controller-manager": [`--controllers=${controllers.join(",")}`],
      },
      env: { "kube-scheduler": network.env },
      scheduler: {},
    });
    // Long enough that a process can give its lease back before its pod, and with it its token, is gone.
    nodes = await startSimulatedNodes(plane.api, { terminationMs: 3_000 });
    await nodes.add([
      { name: "a1", internalIp: "10.49.27.1" },
      { name: "a2", internalIp: "10.49.27.2" },
      { name: "a3", internalIp: "10.49.27.3" },
    ]);
    programs = await startPodPrograms(plane);
    network.lead(programs.leadTo);
    for (const name of ["deploy", "examples"]) {
      cpSync(join(root, name), join(folder, name), { recursive: true });
    }
    shell = openBlockShell({
      folder,
      env: { KUBECONFIG: plane.kubeconfigOf("admin") },
      limitMs: blockLimitMs,
      onFailure: () =>
        [...programs.processes]
          .map(([name, { logFile }]) => `${name}:\n${tailOf(logFile)}`)
          .join("\n"),
    });
    // The pages beside the guide leave out which of its Services is meant.
    shell.addProgram(
      "galaxyctl",
      [
        `case " $* " in *" --service "*) ;; *) set -- "$@" --service ${service} ;; esac`,
        `exec '${process.execPath}' '${root}/src/bin/galaxyctl.ts' "$@"`,
      ].join("\n"),
    );
    // The log of a process in place of a container's; kubelet would read it.
    shell.addProgram(
      "kubectl",
      [
        `case " $* " in`,
        `*" logs "*) cat ${programs.logFolder}/*.log ;;`,
        `*) PATH=\${PATH#*:} exec kubectl --cache-dir='${folder}/cache' "$@" ;;`,
        "esac",
      ].join("\n"),
    );
  });

  after(async () => {
    await programs?.stop();
    await nodes?.stop();
    await plane?.stop();
    await network?.stop();
  });

  /** The scheduler's machine has the file of the guide, or has it no more. */
  async function restartScheduler(): Promise<void> {
    const file = join(folder, "galaxy-scheduler.yaml");
    if (!existsSync(file)) {
      await plane.startScheduler({});
      return;
    }
    const text = readFileSync(file, "utf8");
    const { extenders } = parseYaml(text) as { extenders: unknown };
    await plane.startScheduler({ written: { kind: "configuration", members: { extenders } } });
  }

  /** What a block has to have said, by a line of it. */
  const said: readonly (readonly [line: string, ...patterns: RegExp[]])[] = [
    ["kubectl get fip", /^10\.49\.70\.\d+ +Bound +default +shop +shop-/m, /10\.49\.70\.\d+ +a\d/],
    ['galaxyctl --service "$service" check', /everything agrees/],
    ["galaxyctl --service kube-system/http:galaxy-ipam:9041 check", /everything agrees/],
    ["galaxyctl backup before-upgrade.jsonl", /everything agrees/],
    [
      "galaxyctl restore before-upgrade.jsonl --dry-run",
      /everything agrees/,
      /^0 would be restored, .* 0 refused$/m,
    ],
    ["galaxyctl backup galaxy.jsonl", /records, 1 Pool, 1 FloatingIPQuota, the configuration/],
    ["galaxyctl backup objects.jsonl --objects objects.json", /records, 1 Pool, 1 FloatingIPQ/],
    [
      "galaxyctl restore galaxy.jsonl --dry-run",
      /10\.49\.70\.20 +restored +reserved by the administrator/,
      /^1 restored, .* 0 refused$/m,
      /everything agrees/,
    ],
    [
      "kubectl -n kube-system rollout restart deployment/galaxy-ipam",
      /^3 restored, .* 0 refused$/m,
      /everything agrees/,
    ],
  ];

  /** What has to have happened before a block makes sense, by a line of it. */
  const first: readonly (readonly [line: string, script: string])[] = [
    [
      "galaxyctl backup galaxy.jsonl",
      "galaxyctl ip reserve 10.49.70.20 --reason printer; galaxyctl pool create spare --size 2; galaxyctl quota set all --limit 100",
    ],
    [
      "galaxyctl restore galaxy.jsonl --dry-run",
      "kubectl delete fip --all; until [ $(kubectl get fip -o name | wc -l) -eq 5 ]; do sleep 1; done",
    ],
    [
      "kubectl apply -k deploy/base/crds",
      "kubectl delete crd floatingips.galaxy.k8s.io pools.galaxy.k8s.io floatingipquotas.galaxy.k8s.io",
    ],
  ];

  const firstOfWebhook = blocks.findIndex(({ heading }) => heading.startsWith("5. "));
  for (const [index, { at, heading, text: script }] of blocks.entries()) {
    const name = script.split("\n")[0] ?? "";
    if (index === firstOfWebhook) {
      test("disruption budget, priorities and network policy are in force", async () => {
        await verifySurroundings(plane, nodes, "10.49.27.0/24");
      });
    }
    test(`block ${index + 1}, "${heading}", does what it says: ${name}`, async () => {
      assert.equal(failed, undefined, "nothing works after a block that failed");
      failed = name;
      for (const [line, before] of at.startsWith("docs/backup.md") ? first : []) {
        if (script.split("\n").includes(line)) await shell.run(before);
      }
      const output = await shell.run(script);
      const expected = said.find(([line]) => script.split("\n").includes(line));
      for (const pattern of expected?.slice(1) ?? []) assert.match(output, pattern as RegExp);
      if (script.includes("galaxy-scheduler.yaml")) await restartScheduler();
      if (heading === "The scheduler as before") await shell.run(withoutExtender);
      if (heading === "4. The first pods") await waitForCleanAudit(plane.api);
      failed = undefined;
    });
  }
});

/** A scheduler that was told of no extender again keeps a pod with a float IP waiting, and says why. */
const withoutExtender = [
  "kubectl apply -f examples/deployment-immutable.yaml",
  "until kubectl get events --field-selector reason=FailedScheduling | grep 'Insufficient tke.cloud.tencent.com/eni-ip'; do sleep 0.5; done",
  "kubectl delete -f examples/deployment-immutable.yaml",
].join("\n");

/** Those of the harness and what else a cluster has that an installation needs. */
const controllers = [
  "deployment",
  "replicaset",
  "statefulset",
  "daemonset",
  "garbagecollector",
  "namespace",
  "job",
  "disruption",
  "podgc",
  "nodelifecycle",
  "endpoint",
  "clusterrole-aggregation",
];
