// Finds the server of a command: an address that was given, the service proxy of the API server in a kubeconfig, or this machine.
// Makes no request.

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import type { Connection, ConnectionOptions } from "./connection.ts";
import { clientPairOf, readFileOf } from "./connection.ts";
import type { Environment } from "./terminal.ts";

/** Where the embedded program listens. */
const localServer = "http://127.0.0.1:9041";

/** The connection that options and environment ask for; CommandProblem when they contradict each other or name what is not there. */
export async function openConnection(
  options: ConnectionOptions,
  env: Environment,
): Promise<Connection> {
  const given = firstOf(options.server, env["GALAXY_SERVER"]);
  const token = readToken(options, env);
  const timeoutMs = options.requestTimeout * 1000;
  if (given !== undefined) {
    const from = options.server === undefined ? "GALAXY_SERVER" : "--server";
    return { ...direct(given, from, token, options), timeoutMs };
  }
  const files = kubeconfigFiles(options, env);
  if (files === undefined) {
    const from = "no --server and no kubeconfig, so this machine";
    return { ...direct(localServer, from, token, options), timeoutMs };
  }
  const { throughKubeconfig } = await import("./kubeconfig.ts");
  return { ...(await throughKubeconfig(files, options, token)), timeoutMs };
}

function direct(
  text: string,
  from: string,
  token: string | undefined,
  options: ConnectionOptions,
): Omit<Connection, "timeoutMs"> {
  const base = parseServer(text, from);
  if (base.protocol === "http:" && token !== undefined && !isLoopback(base.hostname)) {
    throw new CommandProblem(
      exitCodes.usage,
      `${base.origin} is not encrypted, and the token would travel in clear text; use https://, or leave the token away`,
    );
  }
  const ca = options.certificateAuthority;
  const pair = clientPairOf(options);
  if (pair !== undefined && base.protocol === "http:") {
    throw new CommandProblem(
      exitCodes.usage,
      `${base.origin} is not encrypted, and --client-certificate works with https:// alone; use that, or leave the certificate away`,
    );
  }
  return {
    base,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    tls: {
      ...(ca === undefined ? {} : { ca: readFileOf("--certificate-authority", ca) }),
      ...pair,
    },
    ...(ca === undefined ? {} : { authorityFile: ca }),
    from,
  };
}

/** `host:port` alone is http on this machine and https elsewhere. */
function parseServer(text: string, from: string): URL {
  const hasScheme = text.includes("://");
  const url = URL.parse(hasScheme ? text : `http://${text}`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new CommandProblem(
      exitCodes.usage,
      `"${text}" of ${from} is no address of a server; write it like https://10.0.0.1:9041`,
    );
  }
  if (!hasScheme && !isLoopback(url.hostname)) url.protocol = "https:";
  url.pathname = url.pathname.replace(/\/+$/, "");
  url.search = "";
  url.hash = "";
  return url;
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

function readToken(options: ConnectionOptions, env: Environment): string | undefined {
  const { token, tokenFile } = options;
  if (token !== undefined && tokenFile !== undefined) {
    throw new CommandProblem(exitCodes.usage, "--token and --token-file are both given; use one");
  }
  const text =
    tokenFile === undefined
      ? firstOf(token, env["GALAXY_TOKEN"])
      : readFileOf("--token-file", tokenFile);
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  if (!/^[\u0021-\u007e]+$/.test(trimmed)) {
    throw new CommandProblem(
      exitCodes.usage,
      `the token${tokenFile === undefined ? "" : ` in ${tokenFile}`} is empty or has blanks in it; give the token alone`,
    );
  }
  return trimmed;
}

/** The kubeconfig as kubectl finds it; undefined when there is none. */
function kubeconfigFiles(options: ConnectionOptions, env: Environment): string[] | undefined {
  if (options.kubeconfig !== undefined) return [options.kubeconfig];
  const listed = (env["KUBECONFIG"] ?? "").split(":").filter((file) => file !== "");
  if (listed.length > 0) return listed;
  const standard = join(env["HOME"] ?? homedir(), ".kube", "config");
  if (existsSync(standard)) return [standard];
  if (options.context === undefined) return undefined;
  throw new CommandProblem(
    exitCodes.usage,
    `--context ${options.context} needs a kubeconfig and there is none at ${standard}; give --kubeconfig FILE`,
  );
}

function firstOf(...texts: readonly (string | undefined)[]): string | undefined {
  return texts.find((text) => text !== undefined && text !== "");
}
