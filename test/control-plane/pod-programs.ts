// What a kubelet and kube-proxy do for the pods of galaxy-ipam and galaxy-webhook, with processes in place of containers: each pod that is
// bound to a node is started with the program, arguments, environment, mounted Secrets and ServiceAccount of its manifest, and Services lead to
// those that their selectors find. It pulls no images and makes no networks; that pods become Running is the work of simulated-nodes.ts.

import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitUntil } from "./api.ts";
import {
  type ChildProgram,
  freePort,
  removeAtExit,
  startProgram,
  waitForProgram,
} from "./child-program.ts";
import type { ControlPlane } from "./control-plane.ts";
import { type Kind, type KubeObject, type Pod, pods } from "./kinds.ts";
import type { LeadTo } from "./service-network.ts";

const namespace = "kube-system";

type Endpoints = KubeObject & {
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly targetRef?: { readonly name: string } }[];
  }[];
};
const endpoints: Kind<Endpoints> = {
  apiVersion: "v1",
  kind: "Endpoints",
  plural: "endpoints",
  namespaced: true,
};
type Service = KubeObject & {
  readonly spec: {
    readonly clusterIP?: string;
    readonly ports: readonly { readonly port: number; readonly targetPort: string | number }[];
  };
};
const services: Kind<Service> = {
  apiVersion: "v1",
  kind: "Service",
  plural: "services",
  namespaced: true,
};
type Secret = KubeObject & { readonly data?: Readonly<Record<string, string>> };
const secrets: Kind<Secret> = {
  apiVersion: "v1",
  kind: "Secret",
  plural: "secrets",
  namespaced: true,
};

/** The part of a pod's spec that is needed to start it. */
type ProgramSpec = {
  readonly serviceAccountName?: string;
  readonly containers: readonly {
    readonly name: string;
    readonly command?: readonly string[];
    readonly args?: readonly string[];
    readonly env?: readonly {
      readonly name: string;
      readonly value?: string;
      readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
    }[];
    readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
    readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  }[];
  readonly volumes?: readonly {
    readonly name: string;
    readonly secret?: { readonly secretName: string };
  }[];
};

/** The flags by which programs are told the ports that their manifests name. */
const portFlags: Readonly<Record<string, string>> = {
  extender: "--port",
  api: "--api-port",
  webhook: "--port",
};

/** The process of one pod. */
export type PodProcess = {
  readonly pid: number;
  readonly logFile: string;
  /** Ports on loopback by their names in the manifest. */
  readonly ports: ReadonlyMap<string, number>;
};

export type PodPrograms = {
  /** Leads to port 9040 of the Service galaxy-ipam, also before there is one. */
  readonly url: string;
  /** Processes by the name of their pod. */
  readonly processes: ReadonlyMap<string, PodProcess>;
  /** Has the log of each process, by the name of its pod. */
  readonly logFolder: string;
  /** Addresses of Services and pods in kube-system, for a ServiceNetwork. */
  readonly leadTo: LeadTo;
  /** Names of the pods that the Service galaxy-ipam leads to now. */
  served(): readonly string[];
  /** The same of another Service in kube-system. */
  servedBy(service: string): readonly string[];
  stop(): Promise<void>;
};

/**
 * Begins to run the pods with label `app=galaxy-ipam` or `app=galaxy-webhook`.
 * @param built folder of `npm run build`, in place of the sources
 */
export async function startPodPrograms(plane: ControlPlane, built?: string): Promise<PodPrograms> {
  const { api } = plane;
  const folder = mkdtempSync(join(tmpdir(), "galaxy-pods-"));
  removeAtExit(folder);
  const logFolder = join(folder, "logs");
  mkdirSync(logFolder);
  const processes = new Map<string, PodProcess & { readonly program: ChildProgram }>();
  const known = new Set<string>();
  const work = new Set<Promise<void>>();
  let isStopped = false;

  const doLater = (action: () => Promise<void>): void => {
    const promise = action().catch((error: unknown) => {
      process.stderr.write(`pod programs: ${String(error)}\n`);
    });
    work.add(promise);
    void promise.finally(() => work.delete(promise));
  };

  /** Writes a Secret as files; waits for it, as kubelet does, for as long as the pod is there. */
  const mount = async (secret: string, target: string, uid: string): Promise<void> => {
    const found = await waitUntil(
      `Secret ${secret}`,
      () => api.get(secrets, { name: secret, namespace }),
      (seen) => seen !== undefined || !known.has(uid) || isStopped,
      { everyMs: 200 },
    );
    mkdirSync(target);
    for (const [file, text] of Object.entries(found?.data ?? {})) {
      writeFileSync(join(target, file), Buffer.from(text, "base64"));
    }
  };

  const start = async (pod: Pod): Promise<void> => {
    const { name, uid } = pod.metadata;
    const spec = pod.spec as unknown as ProgramSpec;
    const [container] = spec.containers;
    if (container === undefined) return;
    const own = join(folder, uid);
    mkdirSync(own);
    const token = await tokenOf(plane, spec.serviceAccountName ?? "default", pod);
    const kubeconfig = join(own, "kubeconfig");
    writeFileSync(kubeconfig, JSON.stringify(kubeconfigWith(api.address, token)));
    let args = [...(container.args ?? [])];
    for (const { name: volume, mountPath } of container.volumeMounts ?? []) {
      const secret = spec.volumes?.find((one) => one.name === volume)?.secret?.secretName;
      if (secret === undefined) continue;
      const target = join(own, volume);
      await mount(secret, target, uid);
      args = args.map((arg) => arg.replace(mountPath, target));
    }
    const fields: Readonly<Record<string, string>> = {
      "metadata.name": name,
      "metadata.namespace": namespace,
      "spec.nodeName": pod.spec.nodeName ?? "",
    };
    const env = Object.fromEntries(
      (container.env ?? []).map(({ name: variable, value, valueFrom }) => [
        variable,
        value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ""] ?? "",
      ]),
    );
    const ports = new Map<string, number>();
    for (const { name: port } of container.ports ?? []) ports.set(port, await freePort());
    // Without a command the image's own program runs, which has the container's name.
    const [file = container.name] = container.command ?? [];
    const logFile = join(own, "log");
    const source = fileURLToPath(new URL(`../../src/bin/${file}.ts`, import.meta.url));
    const program = startProgram({
      name,
      file: built === undefined ? process.execPath : join(built, "bin", file),
      args: [
        ...(built === undefined ? ["--disable-warning=ExperimentalWarning", source] : []),
        `--kubeconfig=${kubeconfig}`,
        ...args.filter((arg) => !arg.startsWith("--bind=")),
        // The processes share this machine, and nobody else is to reach them.
        "--bind=127.0.0.1",
        ...[...ports].map(([port, number]) => `${portFlags[port] ?? ""}=${number}`),
      ],
      logFile,
      env,
    });
    symlinkSync(logFile, join(logFolder, `${name}.log`));
    for (const port of ports.values()) await waitForProgram(program, () => canConnect(port));
    processes.set(name, { pid: program.pid, logFile, ports, program });
    // It may have been deleted meanwhile.
    if (!known.has(uid)) await end(pod);
  };

  const end = async (pod: Pod): Promise<void> => {
    const { name } = pod.metadata;
    const running = processes.get(name);
    processes.delete(name);
    await running?.program.stop("SIGTERM", 60_000);
  };

  const forget = (pod: Pod): void => {
    if (known.delete(pod.metadata.uid ?? "")) doLater(() => end(pod));
  };
  const podFollower = api.follow(
    { kind: pods, namespace, labelSelector: "app in (galaxy-ipam, galaxy-webhook)" },
    {
      changed: (pod) => {
        const uid = pod.metadata.uid ?? "";
        if (pod.metadata.deletionTimestamp !== undefined) forget(pod);
        else if (!isStopped && pod.spec.nodeName !== undefined && !known.has(uid)) {
          known.add(uid);
          doLater(() => start(pod));
        }
      },
      gone: forget,
    },
  );
  const endpointsFollower = api.follow({ kind: endpoints, namespace });
  const serviceFollower = api.follow({ kind: services, namespace });
  await Promise.all([podFollower.synced, endpointsFollower.synced, serviceFollower.synced]);

  const servedBy = (service: string): readonly string[] =>
    [...endpointsFollower.items.values()]
      .filter(({ metadata }) => metadata.name === service)
      .flatMap(({ subsets = [] }) =>
        subsets.flatMap(({ addresses = [] }) =>
          addresses.flatMap(({ targetRef }) => targetRef?.name ?? []),
        ),
      );
  const leadTo: LeadTo = (host, port) => {
    for (const { metadata, spec } of serviceFollower.items.values()) {
      if (spec.clusterIP !== host) continue;
      const target = spec.ports.find((one) => one.port === port)?.targetPort;
      const [name = ""] = servedBy(metadata.name);
      return processes.get(name)?.ports.get(String(target));
    }
    for (const { metadata, spec, status } of podFollower.items.values()) {
      if ((status as { readonly podIP?: string }).podIP !== host) continue;
      const { containers } = spec as unknown as ProgramSpec;
      const name = containers[0]?.ports?.find((one) => one.containerPort === port)?.name ?? "";
      return processes.get(metadata.name)?.ports.get(name);
    }
    return undefined;
  };
  const served = () => servedBy("galaxy-ipam");
  const extender = await startForwarding(() =>
    processes.get(served()[0] ?? "")?.ports.get("extender"),
  );

  return {
    url: `http://127.0.0.1:${extender.port}`,
    processes,
    logFolder,
    leadTo,
    served,
    servedBy,
    stop: async () => {
      isStopped = true;
      podFollower.stop();
      endpointsFollower.stop();
      serviceFollower.stop();
      while (work.size > 0) await Promise.all(work);
      await Promise.all([...processes.values()].map(({ program }) => program.stop("SIGKILL")));
      await extender.stop();
    },
  };
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A token of a ServiceAccount, bound to the pod as kubelet asks for it. */
async function tokenOf(plane: ControlPlane, account: string, pod: Pod): Promise<string> {
  const { name, uid } = pod.metadata;
  const answer = (await plane.api.call(
    "POST",
    `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {
        audiences: [],
        expirationSeconds: 3_600,
        boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
      },
    },
  )) as { readonly status: { readonly token: string } };
  return answer.status.token;
}

/** A kubeconfig with one cluster and one bearer token. */
export function kubeconfigWith(
  at: { readonly url: string; readonly ca: string },
  token: string,
): Readonly<Record<string, unknown>> {
  const ca = Buffer.from(at.ca).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server: at.url, "certificate-authority-data": ca } }],
    users: [{ name: "test", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    "current-context": "test",
  };
}

/** Forwards connections of a port of its own to whichever port `target` says; refuses them while it says none. */
async function startForwarding(
  target: () => number | undefined,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    track(client);
    const port = target();
    if (port === undefined) {
      client.destroy();
      return;
    }
    const replica = track(connect(port, "127.0.0.1"));
    client.pipe(replica).pipe(client);
    for (const [one, other] of [
      [client, replica],
      [replica, client],
    ] as const) {
      one.once("error", () => other.destroy());
      one.once("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
