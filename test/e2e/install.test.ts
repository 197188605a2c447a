// docs/install.md as it stands, on a real control plane, with the permissions of deploy/ and no others; then what of these permissions was used.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
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
import { blocksOf, isShell } from "../documents/markdown-blocks.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipKubectl());
const root = fileURLToPath(new URL("../..", import.meta.url));

/** For one block on a slow machine. */
const blockLimitMs = 400_000;

/** The blocks of the guide with the heading that each stands under. */
const blocks = blocksOf("docs/install.md").filter(isShell);

describe("docs/install.md", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-install-"));
  removeAtExit(folder);
  let network: ServiceNetwork;
  let plane: ControlPlane;
  let nodes: SimulatedNodes;
  let programs: PodPrograms;
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
    writeProgram("galaxyctl", `exec '${process.execPath}' '${root}/src/bin/galaxyctl.ts' "$@"`);
    // The log of a process in place of a container's; kubelet would read it.
    writeProgram(
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

  function writeProgram(name: string, script: string): void {
    const file = join(folder, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
  }

  /** Runs a script in the folder of the guide; each of its commands has to end well. */
  async function shell(script: string): Promise<string> {
    const bash = spawn("bash", ["--norc", "-e", "-o", "pipefail", "-c", script], {
      cwd: folder,
      env: {
        PATH: [folder, dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter),
        HOME: folder,
        KUBECONFIG: plane.kubeconfigOf("admin"),
      },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    // A loop of the guide that waits for what never comes.
    const limit = setTimeout(() => process.kill(-(bash.pid as number), "SIGKILL"), blockLimitMs);
    let output = "";
    for (const stream of [bash.stdout, bash.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    const code = await new Promise((resolve, reject) => {
      bash.once("error", reject).once("close", resolve);
    });
    clearTimeout(limit);
    const logs = [...programs.processes].map(
      ([name, { logFile }]) => `${name}:\n${tailOf(logFile)}`,
    );
    assert.equal(code, 0, `${script}\n${output}\n${logs.join("\n")}`);
    return output;
  }

  /** The scheduler's machine has the file of the guide. */
  async function restartScheduler(): Promise<void> {
    const text = readFileSync(join(folder, "galaxy-scheduler.yaml"), "utf8");
    const { extenders } = parseYaml(text) as { extenders: unknown };
    await plane.startScheduler({ written: { kind: "configuration", members: { extenders } } });
  }

  /** What a block has to have said, by a line of it. */
  const said: readonly (readonly [line: string, ...patterns: RegExp[]])[] = [
    ["kubectl get fip", /^10\.49\.70\.\d+ +Bound +default +shop +shop-/m, /10\.49\.70\.\d+ +a\d/],
    ['galaxyctl --service "$service" check', /everything agrees/],
    ["galaxyctl --service kube-system/http:galaxy-ipam:9041 check", /everything agrees/],
  ];

  for (const [index, { heading, text: script }] of blocks.entries()) {
    const name = script.split("\n")[0] ?? "";
    test(`block ${index + 1}, "${heading}", does what it says: ${name}`, async () => {
      assert.equal(failed, undefined, "nothing works after a block that failed");
      failed = name;
      const output = await shell(script);
      const expected = said.find(([line]) => script.split("\n").includes(line));
      for (const pattern of expected?.slice(1) ?? []) assert.match(output, pattern as RegExp);
      if (script.includes("galaxy-scheduler.yaml")) await restartScheduler();
      if (heading === "4. The first pods") await waitForCleanAudit(plane.api);
      failed = undefined;
    });
  }
});

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
