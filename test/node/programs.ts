// Starts the node's programs as processes: the daemon in front of an API server, and galaxy-sdn as a container runtime calls it.

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatSocketCall } from "../../src/wire/node-config.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import type { LabNamespace, NetworkLab } from "./network-lab.ts";

const programs = fileURLToPath(new URL("../../src/bin/", import.meta.url));

/** A running daemon. */
export type Daemon = {
  readonly pid: number;
  readonly socket: string;
  readonly stateFolder: string;
  readonly logFile: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
  log(): string;
  /** The value of a series of its metrics, such as `galaxy_node_garbage_total{outcome="removed"}`; 0 when there is none. */
  metric(series: string): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts the daemon of a node; resolves when its socket answers. */
export async function startDaemon(options: {
  readonly lab: NetworkLab;
  readonly node: LabNamespace;
  readonly nodeName: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Where the API server is: `--master=…` or `--kubeconfig=…`. */
  readonly access: string;
  readonly flags?: readonly string[];
  /** The beginning of the command line, for a daemon that sees the mounts of a runtime. */
  readonly enter?: readonly string[];
  /** Folder of `npm run build`, in place of the sources. */
  readonly built?: string;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<Daemon> {
  const { lab, node, nodeName } = options;
  const folder = join(lab.folder, `daemon-${nodeName}`);
  await mkdir(folder, { recursive: true });
  const configPath = join(folder, "galaxy.json");
  await writeFile(configPath, JSON.stringify(options.config));
  const socket = join(folder, "galaxy.sock");
  const stateFolder = join(folder, "state");
  const logFile = join(folder, "galaxy.log");
  const own =
    options.built === undefined
      ? [process.execPath, join(programs, "galaxy.ts")]
      : [join(options.built, "bin/galaxy")];
  const [file = "", ...enter] = [...(options.enter ?? []), ...own];
  const program = startProgram({
    name: `galaxy of ${nodeName}`,
    file,
    args: [
      ...enter,
      options.access,
      `--json-config-path=${configPath}`,
      `--network-conf-dir=${join(folder, "net.d")}`,
      `--cni-paths=${join(folder, "bin")}`,
      `--hostname-override=${nodeName}`,
      `--host-netns=${node.path}`,
      `--socket=${socket}`,
      `--state-dir=${stateFolder}`,
      // Several daemons run on one machine, and none of them is to ask a runtime of this machine.
      "--metrics-address=127.0.0.1:0",
      "--container-runtime-endpoint=none",
      ...(options.flags ?? []),
    ],
    logFile,
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  await waitForProgram(program, async () => {
    const { code } = await callSdn(socket, { CNI_COMMAND: "STATUS" }, { cniVersion: "1.1.0" });
    return code === 0;
  });
  return {
    pid: program.pid,
    socket,
    stateFolder,
    logFile,
    stop: (signal) => program.stop(signal),
    log: () => tailOf(logFile, 1000),
    metric: (name) => readMetric(logFile, name),
    [Symbol.asyncDispose]: () => program.stop("SIGKILL"),
  };
}

/** Where a daemon serves its metrics, from the last start in its log: it took a free port. */
export function statusAddressOf(logFile: string): string {
  const text = tailOf(logFile, 1000);
  const lines = text.split("\n");
  const line = lines.findLast((one) => one.includes('"serving metrics and health"'));
  if (line === undefined) throw new Error(`no metrics yet:\n${text}`);
  const { address, port } = JSON.parse(line) as { address: string; port: number };
  return `http://${address}:${port}`;
}

async function readMetric(logFile: string, series: string): Promise<number> {
  const text = await (await fetch(`${statusAddressOf(logFile)}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? 0);
}

/** An executable galaxy-sdn for a runtime: the sources, asking that daemon. */
export async function writeSdnProgram(path: string, socket: string): Promise<void> {
  const script = join(programs, "galaxy-sdn.ts");
  const text = `#!/bin/sh\nGALAXY_SOCKET='${socket}' exec '${process.execPath}' '${script}'\n`;
  await writeFile(path, text, { mode: 0o755 });
}

/** How galaxy-sdn ended. */
export type SdnEnd = { readonly code: number | null; readonly json: Record<string, unknown> };

/** Runs galaxy-sdn once. */
export async function callSdn(
  socket: string,
  env: Readonly<Record<string, string>>,
  config: Readonly<Record<string, unknown>>,
): Promise<SdnEnd> {
  const child = spawn(process.execPath, [join(programs, "galaxy-sdn.ts")], {
    env: { PATH: process.env.PATH ?? "", GALAXY_SOCKET: socket, CNI_PATH: "/opt/cni/bin", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify({ name: "galaxy", type: "galaxy-sdn", ...config }));
  let text = "";
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      resolve({ code, json: text.trim() === "" ? {} : (JSON.parse(text) as SdnEnd["json"]) });
    });
  });
}

/** The same call without a process for galaxy-sdn, for tests with many of them: what it sends to the daemon's socket. */
export async function callSocket(
  socket: string,
  env: Readonly<Record<string, string>>,
  config: Readonly<Record<string, unknown>>,
): Promise<SdnEnd> {
  const stdin = JSON.stringify({ name: "galaxy", type: "galaxy-sdn", ...config });
  const body = formatSocketCall(
    { CNI_PATH: "/opt/cni/bin", ...env },
    Buffer.from(stdin).toString("base64"),
  );
  return new Promise((resolve, reject) => {
    const options = { socketPath: socket, path: "/cni", method: "POST" };
    const call = request(options, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString("utf8");
      });
      response.once("error", reject);
      response.once("end", () => {
        const json = text === "" ? {} : (JSON.parse(text) as SdnEnd["json"]);
        resolve({ code: response.statusCode === 200 ? 0 : 1, json });
      });
    });
    call.once("error", reject);
    call.end(body);
  });
}

/** The environment of a call for a pod. */
export function podEnvironment(
  command: string,
  pod: { readonly name: string; readonly uid: string; readonly netns: string },
): Readonly<Record<string, string>> {
  const args = [
    "IgnoreUnknown=1",
    "K8S_POD_NAMESPACE=default",
    `K8S_POD_NAME=${pod.name}`,
    `K8S_POD_INFRA_CONTAINER_ID=sandbox-${pod.uid}`,
    `K8S_POD_UID=${pod.uid}`,
  ];
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: `sandbox-${pod.uid}`,
    CNI_NETNS: pod.netns,
    CNI_IFNAME: "eth0",
    CNI_ARGS: args.join(";"),
  };
}
