// Makes and reads X.509 certificates. Where they are kept and when they are renewed is not its matter.

/** Certificate (or several, newest first) and private key in PEM. */
export type CertifiedKey = { readonly cert: string; readonly key: string };

/** A certificate, as far as its renewal is concerned. */
export type CertificateFacts = {
  /** Tells it from others: its SHA-256 fingerprint. */
  readonly id: string;
  readonly pem: string;
  /** When it was made, milliseconds since 1970; it is valid from a little earlier on, for clocks that are late. */
  readonly madeMs: number;
  readonly untilMs: number;
  /** The names of servers that it is for. */
  readonly dnsNames: readonly string[];
  readonly ipNames: readonly string[];
};

/** For whom a certificate is: names as a caller writes them, also addresses. */
export type CertificateNames = readonly string[];

export interface CertificateMaker {
  /** A new authority that has signed itself. */
  makeAuthority(about: {
    readonly commonName: string;
    readonly nowMs: number;
    readonly untilMs: number;
  }): Promise<CertifiedKey>;
  /** A certificate for a server. Rejects when `authority` is none. */
  makeServer(about: {
    readonly authority: CertifiedKey;
    readonly names: CertificateNames;
    readonly nowMs: number;
    readonly untilMs: number;
  }): Promise<CertifiedKey>;
  /** All certificates in a PEM text, in its order; those that cannot be read are left out. */
  read(pem: string): readonly CertificateFacts[];
  /** Which of the authorities signed the certificate; undefined: none of them. */
  signerOf(certificate: string, authorities: readonly CertificateFacts[]): string | undefined;
  /** Whether the private key is the certificate's. */
  belongTogether(pair: CertifiedKey): boolean;
}
