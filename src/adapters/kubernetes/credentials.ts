// Finds the API server and the credentials for it: in-cluster service account, or a kubeconfig through the official client.
// Not a client: api-client.ts makes the requests.

import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { join } from "node:path";
import { WorldError } from "../../ports/world-error.ts";
import type { ApiAccess, ApiCredentials, TlsSettings } from "./api-access.ts";

/** Where kubelet mounts the service account of a pod. */
const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * How long credentials are used before they are read again. Kubelet renews a projected token at 80 % of its life of an hour;
 * the official client itself keeps what an exec plugin answered until it expires.
 */
const credentialsLifeMs = 60_000;

/** What the command line says about the API server. */
export type AccessOptions = {
  /** `--kubeconfig`: a file; undefined or "": in-cluster. */
  readonly kubeconfig?: string | undefined;
  /** `--master`: URL of the API server, in place of the kubeconfig's or the environment's. */
  readonly master?: string | undefined;
  /** Folder with `token` and `ca.crt`; the standard one by default. */
  readonly serviceAccountFolder?: string | undefined;
  /** The environment, for KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/**
 * Finds the API server as client-go does: kubeconfig if one is named, else the service account of the pod, else `--master` alone.
 * Rejects with WorldError KUBECONFIG_UNUSABLE that names the file and the next step.
 */
export async function openApiAccess(options: AccessOptions): Promise<ApiAccess> {
  if (options.kubeconfig !== undefined && options.kubeconfig !== "") {
    return kubeconfigAccess(options.kubeconfig, options.master);
  }
  return inClusterAccess(options);
}

/** Access without a kubeconfig: the token file is read again because kubelet renews it. */
async function inClusterAccess(options: AccessOptions): Promise<ApiAccess> {
  const env = options.env ?? process.env;
  const host = env["KUBERNETES_SERVICE_HOST"];
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  const master = options.master;
  if ((master === undefined || master === "") && (host === undefined || host === "")) {
    throw unusable("find the API server", {
      message:
        "not in a pod (KUBERNETES_SERVICE_HOST is not set) and no kubeconfig is given; start with --kubeconfig FILE or --master URL",
    });
  }
  const server =
    master === undefined || master === ""
      ? new URL(`https://${host?.includes(":") === true ? `[${host}]` : host}:${port}`)
      : parseServer(master, "--master");
  const folder = options.serviceAccountFolder ?? serviceAccountFolder;
  const tokenFile = join(folder, "token");
  if (server.protocol === "http:") {
    // A proxy on loopback (kubectl proxy) or the test's server; sending a token in clear text would leak it.
    return { server, credentials: () => ({ tls: {}, authorization: undefined }), forget: () => {} };
  }
  let tls: TlsSettings = {};
  let caText: string | undefined;
  const read = async (): Promise<ApiCredentials> => {
    let token: string;
    let ca: string;
    try {
      [token, ca] = await Promise.all([
        readFile(tokenFile, "utf8"),
        readFile(join(folder, "ca.crt"), "utf8"),
      ]);
    } catch (cause) {
      throw unusable(`read the service account in ${folder}`, {
        message:
          "token and ca.crt must be readable; mount the service account (automountServiceAccountToken) or start with --kubeconfig FILE",
        cause,
      });
    }
    if (token.trim() === "") {
      throw unusable(`read ${tokenFile}`, {
        message: "the token is empty; check the pod's service account",
      });
    }
    if (ca !== caText) {
      caText = ca;
      tls = { ca };
    }
    return { tls, authorization: `Bearer ${token.trim()}` };
  };
  return refreshing(server, read);
}

/** Access by a kubeconfig. The official client is loaded here and only here: it costs 84 MB and 0.9 s. */
async function kubeconfigAccess(file: string, master: string | undefined): Promise<ApiAccess> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    config.loadFromFile(file);
  } catch (cause) {
    throw unusable(`read kubeconfig ${file}`, {
      message: `${reasonOf(cause)}; check the path and the YAML of --kubeconfig`,
      cause,
    });
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null && (master === undefined || master === "")) {
    throw unusable(`read kubeconfig ${file}`, {
      message: `its current-context "${config.getCurrentContext()}" names no cluster; set current-context or give --master URL`,
    });
  }
  if (cluster?.proxyUrl !== undefined) {
    throw unusable(`read kubeconfig ${file}`, {
      message: `cluster "${cluster.name}" has proxy-url, which is not supported; give the address that is reached directly with --master URL and remove it`,
    });
  }
  const server =
    master !== undefined && master !== ""
      ? parseServer(master, "--master")
      : parseServer(cluster?.server ?? "", `the server in kubeconfig ${file}`);
  let tls: TlsSettings = {};
  const read = async (): Promise<ApiCredentials> => {
    const applied: RequestOptions = {};
    try {
      // The client refuses http:// although it is what kubectl proxy speaks; without TLS there is nothing to apply.
      if (server.protocol === "https:") await config.applyToHTTPSOptions(applied);
    } catch (cause) {
      throw unusable(`get credentials from kubeconfig ${file}`, {
        message: `${reasonOf(cause)}; try "kubectl --kubeconfig ${file} get nodes"`,
        cause,
      });
    }
    const fresh = tlsOf(applied);
    if (!sameTls(tls, fresh)) tls = fresh;
    return { tls, authorization: authorizationOf(applied) };
  };
  const access = refreshing(server, read);
  // A file that cannot work is said at start and not with the first request.
  await access.credentials();
  return access;
}

/** Keeps what `read` answered for {@link credentialsLifeMs}; of several callers one reads. */
function refreshing(server: URL, read: () => Promise<ApiCredentials>): ApiAccess {
  let kept: ApiCredentials | undefined;
  let readAtMs = 0;
  let reading: Promise<ApiCredentials> | undefined;
  const readOnce = async (): Promise<ApiCredentials> => {
    try {
      kept = await read();
      readAtMs = performance.now();
      return kept;
    } catch (error) {
      // What was good a minute ago most likely still is; the API server says so when it is not, and then nothing is kept.
      if (kept === undefined) throw error;
      readAtMs = performance.now();
      return kept;
    } finally {
      reading = undefined;
    }
  };
  return {
    server,
    credentials: () => {
      if (kept !== undefined && performance.now() - readAtMs < credentialsLifeMs) return kept;
      reading ??= readOnce();
      return reading;
    },
    forget: () => {
      kept = undefined;
    },
  };
}

function tlsOf(options: RequestOptions): TlsSettings {
  return {
    ca: options.ca as string | Buffer | undefined,
    cert: options.cert as string | Buffer | undefined,
    key: options.key as string | Buffer | undefined,
    servername: options.servername,
    rejectUnauthorized: options.rejectUnauthorized,
  };
}

function sameTls(a: TlsSettings, b: TlsSettings): boolean {
  const text = (value: string | Buffer | undefined) => value?.toString() ?? "";
  return (
    text(a.ca) === text(b.ca) &&
    text(a.cert) === text(b.cert) &&
    text(a.key) === text(b.key) &&
    a.servername === b.servername &&
    a.rejectUnauthorized === b.rejectUnauthorized
  );
}

function authorizationOf(options: RequestOptions): string | undefined {
  const headers = (options.headers ?? {}) as Readonly<Record<string, unknown>>;
  const header = headers["Authorization"] ?? headers["authorization"];
  if (typeof header === "string") return header;
  if (typeof options.auth === "string") {
    return `Basic ${Buffer.from(options.auth).toString("base64")}`;
  }
  return undefined;
}

function parseServer(text: string, where: string): URL {
  const server = URL.parse(text.includes("://") ? text : `https://${text}`);
  if (server === null || (server.protocol !== "https:" && server.protocol !== "http:")) {
    throw unusable("find the API server", {
      message: `${where} is "${text}", which is not a URL such as https://10.0.0.1:6443`,
    });
  }
  return server;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function unusable(
  tried: string,
  details: { readonly message: string; readonly cause?: unknown },
): WorldError {
  return new WorldError("KUBECONFIG_UNUSABLE", { tried, ...details });
}
