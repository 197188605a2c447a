// The way to galaxy-ipam through a kubeconfig: the service proxy of its API server. The one file of the command line that loads the
// official client, which takes most of a second; it is imported only when this way is taken.

import type { RequestOptions } from "node:https";
import { forwardedTokenHeader } from "../wire/forwarded-token.ts";
import { CommandProblem, exitCodes, messageOf } from "./command-problem.ts";
import type { Connection, ConnectionOptions } from "./connection.ts";
import { readFileOf } from "./connection.ts";

/**
 * A connection to the service behind the API server. The API server asks for its own credentials, which are the kubeconfig's, and
 * removes them before it passes a request on: the token for galaxy-ipam goes in a header of its own, and is the user's bearer token
 * unless another one is given.
 */
export async function throughKubeconfig(
  files: readonly string[],
  options: ConnectionOptions,
  token: string | undefined,
): Promise<Omit<Connection, "timeoutMs">> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  const from = `kubeconfig ${files.join(":")}`;
  const applied: RequestOptions = {};
  try {
    const [first, ...others] = files as readonly [string, ...string[]];
    config.loadFromFile(first);
    for (const file of others) {
      const other = new KubeConfig();
      other.loadFromFile(file);
      config.mergeConfig(other, true);
    }
    if (options.context !== undefined) config.setCurrentContext(options.context);
  } catch (cause) {
    throw new CommandProblem(
      exitCodes.usage,
      `${from} cannot be read (${messageOf(cause)}); correct it or give --server URL`,
      { cause },
    );
  }
  const cluster = config.getCurrentCluster();
  const server = URL.parse(cluster?.server ?? "");
  if (cluster === null || server === null) {
    throw new CommandProblem(
      exitCodes.usage,
      `context "${config.getCurrentContext()}" of ${from} names no cluster with a server; choose one with --context NAME, or give --server URL`,
    );
  }
  try {
    if (server.protocol === "https:") await config.applyToHTTPSOptions(applied);
  } catch (cause) {
    throw new CommandProblem(
      exitCodes.unauthorised,
      `no credentials from ${from} (${messageOf(cause)}); try "kubectl get nodes" with it`,
      { cause },
    );
  }
  const authorization = authorizationOf(applied);
  const own = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1];
  const forwarded = token ?? own;
  server.pathname = `${server.pathname.replace(/\/+$/, "")}${servicePath(options.service)}`;
  const ca = options.certificateAuthority;
  return {
    base: server,
    headers: {
      ...(authorization === undefined ? {} : { authorization }),
      ...(forwarded === undefined ? {} : { [forwardedTokenHeader]: `Bearer ${forwarded}` }),
    },
    tls: {
      ca: ca === undefined ? text(applied.ca) : readFileOf("--certificate-authority", ca),
      cert: text(applied.cert),
      key: text(applied.key),
      servername: applied.servername,
      rejectUnauthorized: applied.rejectUnauthorized,
    },
    from: `${from}, context ${config.getCurrentContext()}`,
  };
}

/** Path of the service proxy (Kubernetes API, "proxy" of services): NAMESPACE/[SCHEME:]NAME[:PORT]. */
export function servicePath(service: string): string {
  const match =
    /^([a-z0-9][-a-z0-9]*)\/((?:https?:)?[a-z0-9][-a-z0-9]*(?::[a-z0-9][-a-z0-9]*)?)$/.exec(
      service,
    );
  if (match === null) {
    throw new CommandProblem(
      exitCodes.usage,
      `"${service}" of --service is not NAMESPACE/SCHEME:NAME:PORT; write it like kube-system/https:galaxy-ipam:9041`,
    );
  }
  return `/api/v1/namespaces/${match[1]}/services/${match[2]}/proxy`;
}

function text(value: unknown): string | Buffer | undefined {
  return typeof value === "string" || Buffer.isBuffer(value) ? value : undefined;
}

function authorizationOf(options: RequestOptions): string | undefined {
  const headers = (options.headers ?? {}) as Readonly<Record<string, unknown>>;
  const header = headers["Authorization"] ?? headers["authorization"];
  if (typeof header === "string") return header;
  if (typeof options.auth !== "string") return undefined;
  return `Basic ${Buffer.from(options.auth).toString("base64")}`;
}
