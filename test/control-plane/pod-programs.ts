// What a kubelet and kube-proxy do for the pods of galaxy-ipam, with processes in place of containers: each pod that is bound to a node is started
// with the arguments, environment, mounted Secrets and ServiceAccount of its manifest, and the Service leads to those that its selector finds.
// It pulls no images and makes no networks; that pods become Running is the work of simulated-nodes.ts.

import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeAtExit } from "./child-program.ts";
import type { ControlPlane } from "./control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "./galaxy-ipam.ts";
import { type Kind, type KubeObject, type Pod, pods } from "./kinds.ts";

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
    readonly args?: readonly string[];
    readonly env?: readonly {
      readonly name: string;
      readonly value?: string;
      readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
    }[];
    readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  }[];
  readonly volumes?: readonly {
    readonly name: string;
    readonly secret?: { readonly secretName: string };
  }[];
};

export type PodPrograms = {
  /** What the scheduler reaches at the Service's port 9040, and clients at 9041. */
  readonly url: string;
  readonly apiUrl: string;
  /** Processes by the name of their pod. */
  readonly processes: ReadonlyMap<string, GalaxyIpam>;
  /** Has the log of each process, by the name of its pod. */
  readonly logFolder: string;
  /** Names of the pods that the Service leads to now. */
  served(): readonly string[];
  stop(): Promise<void>;
};

/**
 * Begins to run the pods with label `app=galaxy-ipam`.
 * @param options.flags after those of the manifest
 */
export async function startPodPrograms(
  plane: ControlPlane,
  options: { readonly flags?: readonly string[] } = {},
): Promise<PodPrograms> {
  const { api } = plane;
  const folder = mkdtempSync(join(tmpdir(), "galaxy-pods-"));
  removeAtExit(folder);
  const logFolder = join(folder, "logs");
  mkdirSync(logFolder);
  const processes = new Map<string, GalaxyIpam>();
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

  const start = async (pod: Pod): Promise<void> => {
    const { name, uid } = pod.metadata;
    const spec = pod.spec as unknown as ProgramSpec;
    const [container] = spec.containers;
    const own = join(folder, uid ?? name);
    mkdirSync(own);
    const token = await tokenOf(plane, spec.serviceAccountName ?? "default", pod);
    const kubeconfig = join(own, "kubeconfig");
    writeFileSync(kubeconfig, JSON.stringify(kubeconfigWith(api.address, token)));
    let args = [...(container?.args ?? [])];
    for (const { name: volume, mountPath } of container?.volumeMounts ?? []) {
      const secret = spec.volumes?.find((one) => one.name === volume)?.secret?.secretName;
      if (secret === undefined) continue;
      const { data = {} } = (await api.get(secrets, { name: secret, namespace })) ?? {};
      const target = join(own, volume);
      mkdirSync(target);
      for (const [file, text] of Object.entries(data)) {
        writeFileSync(join(target, file), Buffer.from(text, "base64"));
      }
      args = args.map((arg) => arg.replace(mountPath, target));
    }
    const fields: Readonly<Record<string, string>> = {
      "metadata.name": name,
      "metadata.namespace": namespace,
      "spec.nodeName": pod.spec.nodeName ?? "",
    };
    const env = Object.fromEntries(
      (container?.env ?? []).map(({ name: variable, value, valueFrom }) => [
        variable,
        value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ""] ?? "",
      ]),
    );
    const running = await startGalaxyIpam({
      kubeconfig,
      env,
      // The processes share this machine, and nobody else is to reach them.
      flags: [...args.filter((arg) => !arg.startsWith("--bind=")), ...(options.flags ?? [])],
    });
    processes.set(name, running);
    symlinkSync(running.logFile, join(logFolder, `${name}.log`));
    // It may have been deleted meanwhile.
    if (!known.has(uid ?? "")) await end(pod);
  };

  const end = async (pod: Pod): Promise<void> => {
    const { name } = pod.metadata;
    const running = processes.get(name);
    processes.delete(name);
    await running?.stop();
  };

  const forget = (pod: Pod): void => {
    if (known.delete(pod.metadata.uid ?? "")) doLater(() => end(pod));
  };
  const podFollower = api.follow(
    { kind: pods, namespace, labelSelector: "app=galaxy-ipam" },
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
  const serviceFollower = api.follow({
    kind: endpoints,
    namespace,
    fieldSelector: "metadata.name=galaxy-ipam",
  });
  await Promise.all([podFollower.synced, serviceFollower.synced]);

  const served = (): readonly string[] =>
    [...serviceFollower.items.values()].flatMap(({ subsets = [] }) =>
      subsets.flatMap(({ addresses = [] }) =>
        addresses.flatMap(({ targetRef }) => targetRef?.name ?? []),
      ),
    );
  const target = (port: "port" | "apiPort"): number | undefined => {
    const [name = ""] = served();
    return processes.get(name)?.[port];
  };
  const [extender, clients] = await Promise.all([
    startForwarding(() => target("port")),
    startForwarding(() => target("apiPort")),
  ]);

  return {
    url: `http://127.0.0.1:${extender.port}`,
    apiUrl: `http://127.0.0.1:${clients.port}`,
    processes,
    logFolder,
    served,
    stop: async () => {
      isStopped = true;
      podFollower.stop();
      serviceFollower.stop();
      while (work.size > 0) await Promise.all(work);
      await Promise.all([...processes.values()].map((running) => running.stop("SIGKILL")));
      await Promise.all([extender.stop(), clients.stop()]);
    },
  };
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
