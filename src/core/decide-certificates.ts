// When the webhook's certificates are renewed, and in which order: a caller that trusts only the old authority must never meet a
// certificate of the new one. Pure; certificates are made and kept elsewhere.

/** From when to when something holds, milliseconds since 1970. */
export type Validity = { readonly fromMs: number; readonly untilMs: number };

/** What there is. */
export type CertificateState = {
  /** The authorities that callers are told to trust, newest first. */
  readonly authorities: readonly (Validity & { readonly id: string })[];
  /** The served certificate; undefined when there is none that can be used. */
  readonly served:
    | (Validity & { readonly authorityId: string; readonly hasAllNames: boolean })
    | undefined;
};

/** One step; after it the state is read again. */
export type CertificateStep =
  | { readonly kind: "keep" }
  /** Nothing usable: authority and certificate at once; nobody can have been served before. */
  | { readonly kind: "make all" }
  /** A new authority joins the old ones; the old certificate is served on until callers know both. */
  | { readonly kind: "add authority"; readonly keep: readonly string[] }
  /** A new certificate by the newest authority. */
  | { readonly kind: "renew served" };

/** How long things hold, and how long callers take to learn of a new authority. */
export type CertificateTerms = {
  readonly authorityMs: number;
  readonly servedMs: number;
  /** API servers read webhook configurations through a watch, seconds late at most; replicas look this often or more. */
  readonly spreadMs: number;
};

/** Renewal begins when a third of the term is left, so that weeks of failures go by unnoticed. */
const renewalShare = 1 / 3;

/** Decides the next step. */
export function decideCertificates(
  state: CertificateState,
  terms: CertificateTerms,
  nowMs: number,
): CertificateStep {
  const alive = state.authorities.filter(({ untilMs }) => untilMs > nowMs);
  const newest = alive[0];
  const { served } = state;
  const isServable =
    served !== undefined &&
    served.untilMs > nowMs &&
    alive.some(({ id }) => id === served.authorityId);
  if (newest === undefined) return { kind: "make all" };
  if (newest.untilMs - nowMs < terms.authorityMs * renewalShare) {
    return { kind: "add authority", keep: alive.map(({ id }) => id) };
  }
  if (!isServable || !served.hasAllNames) return { kind: "renew served" };
  const isOfNewest = served.authorityId === newest.id;
  const isNewestKnown = nowMs - newest.fromMs >= terms.spreadMs;
  if (!isOfNewest && isNewestKnown) return { kind: "renew served" };
  if (isOfNewest && served.untilMs - nowMs < terms.servedMs * renewalShare) {
    return { kind: "renew served" };
  }
  return { kind: "keep" };
}
