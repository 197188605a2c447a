// galaxy-ipam without a cluster, as a program of its own: a simulated cluster with its state in one folder.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ChildProgram, freePort, startProgram, waitForProgram } from "./child-program.ts";

const program = fileURLToPath(new URL("../../src/bin/galaxy-ipam.ts", import.meta.url));

/** How to start it. */
export type EmbeddedOptions = {
  /** It keeps its state in `state` there, and what it prints in `logName`. */
  readonly folder: string;
  readonly logName?: string;
  /** Of the extender and of the API; new ones that are free when left out. */
  readonly ports?: readonly [port: number, apiPort: number];
  readonly flags?: readonly string[];
  /** Whether to wait until it has read everything, or only until it lives. */
  readonly until?: "readyz" | "livez";
};

/** The environment of a program outside a cluster, wherever the tests run. */
export const outsideCluster = { KUBERNETES_SERVICE_HOST: "" };

/** Starts it and waits until it answers; `url` is its API. */
export async function startEmbedded(
  options: EmbeddedOptions,
): Promise<{ readonly child: ChildProgram; readonly url: string }> {
  const { folder, logName = "galaxy-ipam.log", flags = [], until = "readyz" } = options;
  const [port, apiPort] = options.ports ?? [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${apiPort}`;
  const child = startProgram({
    name: "galaxy-ipam",
    file: process.execPath,
    args: [
      "--disable-warning=ExperimentalWarning",
      program,
      `--port=${port}`,
      `--api-port=${apiPort}`,
      `--state-dir=${join(folder, "state")}`,
      ...flags,
    ],
    logFile: join(folder, logName),
    env: outsideCluster,
  });
  await waitForProgram(child, async () => (await fetch(`${url}/${until}`)).ok);
  return { child, url };
}
