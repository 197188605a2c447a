// What the certificate that a caller showed says of him: user and groups as Kubernetes reads them, or why it is not accepted. Which rights he has is
// not said here.

import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** `none`: the port asks for none, or none was shown. */
export type ShownCertificate =
  | { readonly kind: "none" }
  | { readonly kind: "certificate"; readonly user: string; readonly groups: readonly string[] }
  /** Names subject, issuer, date where it matters, and the next step. */
  | { readonly kind: "refused"; readonly reason: string };

/** Names for the next step: where a caller says which certificate he shows, and where it is said here whose are accepted. */
export type CertificatePlaces = { readonly shownBy: string; readonly authorities: string };

/**
 * Why the certificate of a connection is not accepted: it names subject, issuer, date where it matters, and the next step. Undefined when it is, and
 * where none was shown.
 */
export function certificateProblem(
  socket: TLSSocket,
  { authorities, shownBy }: CertificatePlaces,
  nowMs: number = Date.now(),
): string | undefined {
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) return undefined;
  const who = `client certificate ${oneLine(shown.subject)} of ${oneLine(shown.issuer)}`;
  if (Date.parse(shown.validTo) < nowMs) {
    return `${who} has expired on ${dateOf(shown.validTo)}; renew it and give the new file to ${shownBy}`;
  }
  if (Date.parse(shown.validFrom) > nowMs) {
    return `${who} is not valid before ${dateOf(shown.validFrom)}; compare the clocks of both machines`;
  }
  if (socket.authorized) return undefined;
  const why = String(socket.authorizationError ?? "no authority of ours has signed it");
  return `${who} is not accepted (${why}); use one that an authority of ${authorities} has signed`;
}

const placesOfApi = { shownBy: "--client-certificate", authorities: "--api-client-ca-file" };

/**
 * Whose the certificate of a connection to the API is. A connection may outlive its certificate: the dates are looked at each time.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
 */
export function certificateOf(socket: Socket, nowMs: number = Date.now()): ShownCertificate {
  if (!(socket instanceof TLSSocket)) return { kind: "none" };
  const problem = certificateProblem(socket, placesOfApi, nowMs);
  if (problem !== undefined) return { kind: "refused", reason: problem };
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) return { kind: "none" };
  const { CN, O } = socket.getPeerCertificate().subject as Readonly<Record<string, unknown>>;
  if (typeof CN !== "string" || CN === "") {
    const reason = `client certificate ${oneLine(shown.subject)} names no user; make one with the user as its common name (CN)`;
    return { kind: "refused", reason };
  }
  const groups = (Array.isArray(O) ? (O as unknown[]) : [O]).filter(
    (group): group is string => typeof group === "string" && group !== "",
  );
  return { kind: "certificate", user: CN, groups };
}

/** Attributes stand in lines of their own. */
function oneLine(name: string): string {
  return `"${name.replaceAll("\n", ", ")}"`;
}

function dateOf(text: string): string {
  return new Date(text).toISOString();
}
