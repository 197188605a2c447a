// The product as a process beside the control plane of the tests: started like an operator would start it, observed through its ports.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitUntil } from "./api.ts";
import type { ChildProgram } from "./child-program.ts";
import { freePort, removeAtExit, startProgram, tailOf, waitForProgram } from "./child-program.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** One process of galaxy-ipam. */
export type GalaxyIpam = {
  readonly pid: number;
  /** Address of the extender, `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  /** Address of the API port. */
  readonly apiUrl: string;
  readonly apiPort: number;
  readonly logFile: string;
  isRunning(): boolean;
  /** Body of a health path of the API port with its status. */
  health(path: "/healthy" | "/livez" | "/readyz"): Promise<{ status: number; text: string }>;
  /** Resolves when /readyz answers 200; throws with the tail of the log after a time. */
  whenReady(): Promise<void>;
  /** Value of a metric with exactly these labels; undefined when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number | undefined>;
  signal(signal: NodeJS.Signals): void;
  stop(signal?: NodeJS.Signals): Promise<void>;
};

/** Starts the program from its sources; it is killed when this process ends. Resolves when both ports are open. */
export async function startGalaxyIpam(options: {
  readonly kubeconfig: string;
  /** Further flags; `--port` and `--api-port` choose free ports unless they are among them. */
  readonly flags?: readonly string[];
  /** The same ports as an earlier process. */
  readonly port?: number;
  readonly apiPort?: number;
  /** With the sources, of another release for example; by default this one's. */
  readonly folder?: string;
  /** Further variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}): Promise<GalaxyIpam> {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-ipam-"));
  removeAtExit(folder);
  const port = options.port ?? (await freePort());
  const apiPort = options.apiPort ?? (await freePort());
  const logFile = join(folder, "galaxy-ipam.log");
  const child: ChildProgram = startProgram({
    name: "galaxy-ipam",
    file: process.execPath,
    args: [
      "--disable-warning=ExperimentalWarning",
      join(options.folder ?? root, "src/bin/galaxy-ipam.ts"),
      `--kubeconfig=${options.kubeconfig}`,
      `--port=${port}`,
      `--api-port=${apiPort}`,
      ...(options.flags ?? []),
    ],
    logFile,
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  const url = `http://127.0.0.1:${port}`;
  const apiUrl = `http://127.0.0.1:${apiPort}`;
  const health = async (path: string) => {
    const answer = await fetch(`${apiUrl}${path}`);
    return { status: answer.status, text: (await answer.text()).trim() };
  };
  await waitForProgram(child, async () => (await health("/livez")).status === 200);
  return {
    pid: child.pid,
    url,
    port,
    apiUrl,
    apiPort,
    logFile,
    isRunning: () => child.isRunning(),
    health,
    whenReady: async () => {
      try {
        await waitUntil(
          "galaxy-ipam to be ready",
          () => health("/readyz"),
          (h) => h.status === 200,
          { everyMs: 50 },
        );
      } catch (error) {
        throw new Error(`${String(error)}\n${tailOf(logFile)}`, { cause: error });
      }
    },
    metric: async (name, labels = {}) => {
      const text = await (await fetch(`${apiUrl}/metrics`)).text();
      return valueOf(text, name, labels);
    },
    signal: (signal) => child.signal(signal),
    stop: (signal) => child.stop(signal, 60_000),
  };
}

function valueOf(
  text: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (.+)$/.exec(line);
    if (match === null || match[1] !== name) continue;
    const found = Object.fromEntries(
      [...(match[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]),
    );
    const wanted = Object.entries(labels);
    if (
      wanted.length === Object.keys(found).length &&
      wanted.every(([key, value]) => found[key] === value)
    ) {
      return Number(match[3]);
    }
  }
  return undefined;
}
