// Why the certificate of a server was not believed, in words: Node's error names neither the certificate nor its dates, so that the server is asked once
// more for it. Nothing is sent over that second connection.

import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect } from "node:tls";
import type { Connection } from "./connection.ts";

const refusals: ReadonlySet<string> = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

const askLimitMs = 3_000;

/** A sentence with subject, date or names, file and next step; undefined when the error is not about the server's certificate, or that cannot be had. */
export async function describeRefusedCertificate(
  connection: Connection,
  error: unknown,
): Promise<string | undefined> {
  const code = String((error as { code?: unknown } | undefined)?.code);
  if (!refusals.has(code)) return undefined;
  const shown = await certificateOfServer(connection);
  if (shown === undefined) return undefined;
  const { subject, subjectAltName = "no name", validFrom, validTo } = shown;
  const who = `the server's certificate ${quoted(subject)} of ${quoted(shown.issuer)}`;
  const host = connection.base.hostname;
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return `${who} has expired on ${dateOf(validTo)}; have the file of --tls-cert-file renewed there`;
    case "CERT_NOT_YET_VALID":
      return `${who} is not valid before ${dateOf(validFrom)}; compare the clocks of both machines`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `${who} is for ${subjectAltName} and not for ${host}; use one of these names, or have it made for ${host} as well`;
    default: {
      const file = connection.authorityFile;
      const authorities = file === undefined ? "this machine knows" : `${file} has`;
      return `${who} is signed by no authority that ${authorities} (${code}); give the file of its authority to --certificate-authority`;
    }
  }
}

function certificateOfServer({ base, tls }: Connection): Promise<X509Certificate | undefined> {
  const host = base.hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port: Number(base.port === "" ? 443 : base.port),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...tls,
      rejectUnauthorized: false,
    });
    const end = (certificate: X509Certificate | undefined) => {
      socket.destroy();
      resolve(certificate);
    };
    socket.setTimeout(askLimitMs, () => end(undefined));
    socket.once("error", () => end(undefined));
    socket.once("secureConnect", () => end(socket.getPeerX509Certificate()));
  });
}

function quoted(name: string): string {
  return `"${name.replaceAll("\n", ", ")}"`;
}

function dateOf(text: string): string {
  return new Date(text).toISOString();
}
