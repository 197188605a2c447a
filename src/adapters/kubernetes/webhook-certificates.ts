// The certificates of galaxy-webhook: one Secret that its replicas share, and the webhook configurations that tell API servers whom to
// trust. When something is renewed is decided in core; how certificates are made is the maker's.

import type { CertificateStep, CertificateTerms } from "../../core/decide-certificates.ts";
import { decideCertificates } from "../../core/decide-certificates.ts";
import type {
  CertificateFacts,
  CertificateMaker,
  CertifiedKey,
} from "../../ports/certificate-maker.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, textAt, valueAt } from "../../wire/json-value.ts";
import { type ApiClient, segment } from "./api-client.ts";

const dayMs = 86_400_000;

/** The spread covers two looks of the slowest replica allowed (100 s) and an API server whose watch is late. */
const defaultTerms: CertificateTerms = {
  authorityMs: 365 * dayMs,
  servedMs: 90 * dayMs,
  spreadMs: 240_000,
};

/** Steps of one look at most: all made anew, or an authority added, is followed by looking again. */
const mostSteps = 6;

/** Names of the members of the Secret. */
const member = {
  authorities: "ca.crt",
  authorityKey: "ca.key",
  cert: "tls.crt",
  key: "tls.key",
} as const;

/** A webhook configuration whose webhooks are told whom to trust. */
export type WebhookConfiguration = {
  readonly kind: "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration";
  readonly name: string;
};

/** What it needs. */
export type WebhookCertificatesOptions = {
  readonly client: ApiClient;
  readonly maker: CertificateMaker;
  readonly clock: Clock;
  readonly log: Log;
  readonly namespace: string;
  readonly secretName: string;
  /** Names that API servers call by. */
  readonly serverNames: readonly string[];
  readonly configurations: readonly WebhookConfiguration[];
  readonly terms?: CertificateTerms;
};

/** What stands in the Secret; members that cannot be used are empty. */
type Kept = {
  /** Undefined: there is no Secret yet. */
  readonly version: string | undefined;
  readonly authorities: readonly CertificateFacts[];
  readonly authorityKey: string;
  readonly served: CertifiedKey;
};

/** The shared certificates of one webhook. */
export class WebhookCertificates {
  readonly #options: WebhookCertificatesOptions;
  readonly #terms: CertificateTerms;

  constructor(options: WebhookCertificatesOptions) {
    this.#options = options;
    this.#terms = options.terms ?? defaultTerms;
  }

  /**
   * Makes and renews what is due, tells API servers, and gives what is to be served. Several replicas may do so at once.
   * Rejects with a WorldError; API_REJECTED also when a webhook configuration does not exist.
   */
  async renew(): Promise<CertifiedKey> {
    for (let count = 0; count < mostSteps; count += 1) {
      const kept = await this.#read();
      const step = this.#decide(kept);
      if (step.kind === "keep") {
        await this.#publish(kept.authorities);
        return kept.served;
      }
      const next = await this.#carryOut(step, kept);
      // On a conflict another replica was first; what it wrote is read.
      if (await this.#write(kept.version, next)) {
        this.#options.log.info("certificates renewed", {
          step: step.kind,
          secret: `${this.#options.namespace}/${this.#options.secretName}`,
        });
      }
    }
    throw new WorldError("API_REJECTED", {
      tried: this.#tried("renew the certificates in"),
      message: `others change it as fast as it is read; see who else writes it`,
    });
  }

  #decide(kept: Kept): CertificateStep {
    const { maker, clock, serverNames } = this.#options;
    const [served] = maker.read(kept.served.cert);
    const authorityId = maker.signerOf(kept.served.cert, kept.authorities);
    const isUsable =
      served !== undefined && authorityId !== undefined && maker.belongTogether(kept.served);
    const [newest] = kept.authorities;
    // Without its key an authority signs nothing any more.
    const hasKey =
      newest !== undefined && maker.belongTogether({ cert: newest.pem, key: kept.authorityKey });
    return decideCertificates(
      {
        authorities: hasKey
          ? kept.authorities.map(({ id, madeMs, untilMs }) => ({ id, fromMs: madeMs, untilMs }))
          : [],
        served: isUsable
          ? {
              fromMs: served.madeMs,
              untilMs: served.untilMs,
              authorityId,
              hasAllNames: serverNames.every(
                (name) => served.dnsNames.includes(name) || served.ipNames.includes(name),
              ),
            }
          : undefined,
      },
      this.#terms,
      clock.nowMs(),
    );
  }

  async #carryOut(step: Exclude<CertificateStep, { kind: "keep" }>, kept: Kept): Promise<Kept> {
    const { maker, clock, namespace, secretName } = this.#options;
    const nowMs = clock.nowMs();
    let next = kept;
    if (step.kind !== "renew served") {
      const made = await maker.makeAuthority({
        commonName: `${secretName}.${namespace} authority`,
        nowMs,
        untilMs: nowMs + this.#terms.authorityMs,
      });
      const old =
        step.kind === "make all" ? [] : kept.authorities.filter(({ id }) => step.keep.includes(id));
      next = { ...kept, authorities: [...maker.read(made.cert), ...old], authorityKey: made.key };
    }
    if (step.kind === "add authority") return next;
    const [authority] = next.authorities;
    if (authority === undefined) throw new Error("a certificate needs an authority");
    const served = await maker.makeServer({
      authority: { cert: authority.pem, key: next.authorityKey },
      names: this.#options.serverNames,
      nowMs,
      untilMs: Math.min(nowMs + this.#terms.servedMs, authority.untilMs),
    });
    return { ...next, served };
  }

  async #read(): Promise<Kept> {
    const answer = await this.#options.client.readJson({
      path: this.#secretPath(),
      tried: this.#tried("read"),
    });
    const json = answer.kind === "found" ? answer.json : undefined;
    const text = (name: string) =>
      Buffer.from(textAt(json, "data", name) ?? "", "base64").toString("utf8");
    return {
      version: answer.kind === "found" ? textAt(json, "metadata", "resourceVersion") : undefined,
      authorities: this.#options.maker.read(text(member.authorities)),
      authorityKey: text(member.authorityKey),
      served: { cert: text(member.cert), key: text(member.key) },
    };
  }

  /** @returns false: somebody else wrote it meanwhile */
  async #write(version: string | undefined, kept: Kept): Promise<boolean> {
    const { client, namespace, secretName } = this.#options;
    const data = {
      [member.authorities]: kept.authorities.map(({ pem }) => `${pem}\n`).join(""),
      [member.authorityKey]: kept.authorityKey,
      [member.cert]: kept.served.cert,
      [member.key]: kept.served.key,
    };
    const body = {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/tls",
      metadata: {
        name: secretName,
        namespace,
        labels: { "app.kubernetes.io/name": "galaxy-webhook" },
        ...(version === undefined ? {} : { resourceVersion: version }),
      },
      data: Object.fromEntries(
        Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString("base64")]),
      ),
    };
    const answer = await client.write({
      method: version === undefined ? "POST" : "PUT",
      path: version === undefined ? this.#secretsPath() : this.#secretPath(),
      body,
      tried: this.#tried("write"),
    });
    if (answer.kind === "missing" && version === undefined) {
      throw new WorldError("API_REJECTED", {
        tried: this.#tried("write"),
        message: `${answer.message}; create the namespace, or name another one with --namespace`,
      });
    }
    return answer.kind === "done";
  }

  /** Writes the authorities into every webhook that does not have them. Others' members stay. */
  async #publish(authorities: readonly CertificateFacts[]): Promise<void> {
    const { client, log } = this.#options;
    const bundle = authorities.map(({ pem }) => `${pem}\n`).join("");
    const caBundle = Buffer.from(bundle).toString("base64");
    for (const { kind, name } of this.#options.configurations) {
      const plural = `${kind.toLowerCase()}s`;
      const path = `/apis/admissionregistration.k8s.io/v1/${plural}/${segment(name)}`;
      const read = await client.readJson({ path, tried: `read ${kind} ${name}` });
      if (read.kind === "missing") {
        throw new WorldError("API_REJECTED", {
          tried: `read ${kind} ${name}`,
          message: `it does not exist; apply deploy/components/webhook, or give another name with --${kind === "MutatingWebhookConfiguration" ? "mutating" : "validating"}-configuration`,
        });
      }
      const stale = asList(valueAt(read.json, "webhooks")).filter(
        (webhook) => textAt(webhook, "clientConfig", "caBundle") !== caBundle,
      );
      if (stale.length === 0) continue;
      const tried = `tell ${kind} ${name} whom to trust`;
      const answer = await client.write({
        method: "PATCH",
        path,
        tried,
        mergesLists: true,
        body: {
          metadata: { resourceVersion: textAt(read.json, "metadata", "resourceVersion") },
          webhooks: stale.map((webhook) => ({
            name: textAt(webhook, "name"),
            clientConfig: { caBundle },
          })),
        },
      });
      if (answer.kind === "done")
        log.info("webhook configuration knows the authority", { kind, name });
      else
        throw new WorldError("API_REJECTED", {
          tried,
          message: `${answer.message}; it is tried again`,
        });
    }
  }

  #tried(verb: string): string {
    return `${verb} Secret ${this.#options.namespace}/${this.#options.secretName}`;
  }

  #secretsPath(): string {
    return `/api/v1/namespaces/${segment(this.#options.namespace)}/secrets`;
  }

  #secretPath(): string {
    return `${this.#secretsPath()}/${segment(this.#options.secretName)}`;
  }
}
