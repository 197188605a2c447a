// X.509 certificates for a server of the cluster: made with node-forge, read with Node's own crypto. Node can read certificates but
// not make any.

import { createPrivateKey, generateKeyPair, randomBytes, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { promisify } from "node:util";
import forge from "node-forge";
import type {
  CertificateFacts,
  CertificateMaker,
  CertifiedKey,
} from "../../ports/certificate-maker.ts";

const generate = promisify(generateKeyPair);

/** So much earlier than it is made is a certificate valid: for an API server whose clock is late. */
const backdateMs = 300_000;

/** Keys of 2,048 bits: node-forge signs with RSA only. */
const keyBits = 2_048;

const pemPattern = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** Makes and reads certificates in this process. */
export class ForgeCertificateMaker implements CertificateMaker {
  async makeAuthority(about: {
    readonly commonName: string;
    readonly nowMs: number;
    readonly untilMs: number;
  }): Promise<CertifiedKey> {
    const key = await newKey();
    // The fingerprint of names is what verifiers look for: two authorities of one name are told apart by their keys' identifiers.
    const certificate = unsigned(key, about.commonName, about);
    certificate.setIssuer(certificate.subject.attributes);
    certificate.setExtensions([
      { name: "basicConstraints", critical: true, cA: true, pathLenConstraint: 0 },
      { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
      { name: "subjectKeyIdentifier" },
    ]);
    certificate.sign(forge.pki.privateKeyFromPem(key), forge.md.sha256.create());
    return { cert: forge.pki.certificateToPem(certificate), key };
  }

  async makeServer(about: {
    readonly authority: CertifiedKey;
    readonly names: readonly string[];
    readonly nowMs: number;
    readonly untilMs: number;
  }): Promise<CertifiedKey> {
    const { authority, names } = about;
    const signer = forge.pki.certificateFromPem(authority.cert);
    const key = await newKey();
    const certificate = unsigned(key, names[0] ?? "server", about);
    certificate.setIssuer(signer.subject.attributes);
    const identifier = signer.generateSubjectKeyIdentifier().getBytes();
    certificate.setExtensions([
      { name: "basicConstraints", critical: true, cA: false },
      { name: "keyUsage", critical: true, digitalSignature: true, keyEncipherment: true },
      { name: "extKeyUsage", serverAuth: true },
      { name: "authorityKeyIdentifier", keyIdentifier: identifier },
      {
        name: "subjectAltName",
        altNames: names.map((name) =>
          isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name },
        ),
      },
    ]);
    certificate.sign(forge.pki.privateKeyFromPem(authority.key), forge.md.sha256.create());
    return { cert: forge.pki.certificateToPem(certificate), key };
  }

  read(pem: string): readonly CertificateFacts[] {
    return (pem.match(pemPattern) ?? []).flatMap((text): CertificateFacts[] => {
      const certificate = parse(text);
      if (certificate === undefined) return [];
      const names = (certificate.subjectAltName ?? "").split(", ");
      const of = (prefix: string) =>
        names.flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
      return [
        {
          id: certificate.fingerprint256,
          pem: text,
          madeMs: Date.parse(certificate.validFrom) + backdateMs,
          untilMs: Date.parse(certificate.validTo),
          dnsNames: of("DNS:"),
          ipNames: of("IP Address:"),
        },
      ];
    });
  }

  signerOf(certificate: string, authorities: readonly CertificateFacts[]): string | undefined {
    const served = parse(certificate);
    return authorities.find(({ pem }) => {
      const authority = parse(pem);
      return authority !== undefined && served?.verify(authority.publicKey) === true;
    })?.id;
  }

  belongTogether({ cert, key }: CertifiedKey): boolean {
    try {
      return parse(cert)?.checkPrivateKey(createPrivateKey(key)) === true;
    } catch {
      return false;
    }
  }
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** A private key in PEM; generated off the main thread. */
async function newKey(): Promise<string> {
  const { privateKey } = await generate("rsa", { modulusLength: keyBits });
  // node-forge reads the older form as well as PKCS #8.
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

function unsigned(
  key: string,
  commonName: string,
  when: { readonly nowMs: number; readonly untilMs: number },
): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  const { n, e } = forge.pki.privateKeyFromPem(key);
  certificate.publicKey = forge.pki.setRsaPublicKey(n, e);
  // Positive, as RFC 5280 asks: the first bit is cleared, and the second one set so that nothing is trimmed.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  certificate.serialNumber = serial.toString("hex");
  certificate.validity.notBefore = new Date(when.nowMs - backdateMs);
  certificate.validity.notAfter = new Date(when.untilMs);
  certificate.setSubject([{ name: "commonName", value: commonName.slice(0, 64) }]);
  return certificate;
}
