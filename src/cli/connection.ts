// What a connection to galaxy-ipam is: where requests go and what they carry. How the server is found is in find-server.ts.

import { readFileSync } from "node:fs";
import { CommandProblem, exitCodes, messageOf } from "./command-problem.ts";

/** What the command line says about the server. */
export type ConnectionOptions = {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly certificateAuthority?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly service: string;
  readonly requestTimeout: number;
};

/** TLS settings of node:https. */
export type TlsOptions = {
  readonly ca?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
};

/** Where requests go and what they carry. */
export type Connection = {
  /** Without a slash at the end; the paths of the API come after it. */
  readonly base: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  readonly timeoutMs: number;
  /** For messages: how the address came about, and what to change when it is wrong. */
  readonly from: string;
};

/** The text of a file that an option names. */
export function readFileOf(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CommandProblem(
      exitCodes.usage,
      `file ${path} of ${option} cannot be read (${messageOf(cause)}); correct the path`,
      { cause },
    );
  }
}
