// What a connection to galaxy-ipam is: where requests go and what they carry. How the server is found is in find-server.ts.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { CommandProblem, exitCodes, messageOf } from "./command-problem.ts";

/** What the command line says about the server. */
export type ConnectionOptions = {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly certificateAuthority?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
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
  /** Of the authorities that the server is checked with, where one was given. */
  readonly authorityFile?: string;
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

/**
 * Certificate and key of `--client-certificate` and `--client-key`; undefined when they are not given.
 * @throws CommandProblem that names file, subject, date and next step when they are of no use
 */
export function clientPairOf(
  options: ConnectionOptions,
): { readonly cert: string; readonly key: string } | undefined {
  const { clientCertificate, clientKey } = options;
  if (clientCertificate === undefined && clientKey === undefined) return undefined;
  if (clientCertificate === undefined || clientKey === undefined) {
    throw usage(
      "--client-certificate and --client-key are needed together; give the other one too",
    );
  }
  const cert = readFileOf("--client-certificate", clientCertificate);
  const key = readFileOf("--client-key", clientKey);
  let certificate: X509Certificate;
  let isPair: boolean;
  try {
    certificate = new X509Certificate(cert);
    isPair = certificate.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw usage(
      `file ${clientCertificate} of --client-certificate or ${clientKey} of --client-key cannot be used (${messageOf(cause)}); give a certificate and its own key in PEM`,
    );
  }
  const who = `certificate "${certificate.subject.replaceAll("\n", ", ")}" in ${clientCertificate}`;
  if (!isPair) throw usage(`${who} is not that of the key in ${clientKey}; give its own key`);
  const { validFrom, validTo } = certificate;
  if (Date.parse(validTo) < Date.now()) {
    throw usage(`${who} has expired on ${new Date(validTo).toISOString()}; have it renewed`);
  }
  if (Date.parse(validFrom) > Date.now()) {
    const from = new Date(validFrom).toISOString();
    throw usage(
      `${who} is not valid before ${from}; compare this machine's clock with its issuer's`,
    );
  }
  return { cert, key };
}

function usage(message: string): CommandProblem {
  return new CommandProblem(exitCodes.usage, message);
}
