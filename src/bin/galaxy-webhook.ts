// galaxy-webhook: the optional admission webhook. Warns at `kubectl apply` of workloads whose pods would wait for float IPs, mends the
// rolling update of those that ask for it, and keeps its own certificates. This file only puts the parts together.

import { setTimeout as pause } from "node:timers/promises";
import manifest from "../../package.json" with { type: "json" };
import { createWebhookServer } from "../adapters/http/webhook-server.ts";
import { ApiClient } from "../adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../adapters/kubernetes/credentials.ts";
import type { WebhookConfiguration } from "../adapters/kubernetes/webhook-certificates.ts";
import { WebhookCertificates } from "../adapters/kubernetes/webhook-certificates.ts";
import { createPinoLog } from "../adapters/log/pino-log.ts";
import { ForgeCertificateMaker } from "../adapters/system/certificate-maker.ts";
import { SystemClock } from "../adapters/system/clock.ts";
import type { CertifiedKey } from "../ports/certificate-maker.ts";
import type { WebhookOptions } from "../wire/webhook-options.ts";
import { parseWebhookOptions } from "../wire/webhook-options.ts";

/** Exit codes: 0 asked to stop, 1 the world failed, 2 the command line is wrong. */
const exitWorld = 1;
const exitUsage = 2;

/** Pause after a look at the certificates that failed. */
const retryMs = 2_000;

/** How long the certificate of the start is valid; probes do not look. */
const provisionalMs = 365 * 86_400_000;

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseWebhookOptions(argv, process.env["POD_NAMESPACE"] ?? "");
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
  } else if (parsed.kind === "version") {
    process.stdout.write(`galaxy-webhook ${manifest.version}\n`);
  } else if (parsed.kind === "invalid") {
    for (const problem of parsed.problems) process.stderr.write(`galaxy-webhook: ${problem}\n`);
    process.exitCode = exitUsage;
  } else {
    await serve(parsed.options);
  }
}

/** Runs until the process is asked to stop. */
async function serve(options: WebhookOptions): Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const stop = () => stopping.abort();
  process.once("SIGTERM", stop).once("SIGINT", stop);
  const log = createPinoLog({ verbosity: options.verbosity });
  const client = new ApiClient({
    access: await openApiAccess({ kubeconfig: options.kubeconfig, master: options.master }),
    userAgent: `galaxy-webhook/${manifest.version}`,
  });
  const maker = new ForgeCertificateMaker();
  const clock = new SystemClock();
  const certificates = new WebhookCertificates({
    client,
    log,
    maker,
    clock,
    namespace: options.namespace,
    secretName: options.secretName,
    serverNames: options.serverNames,
    configurations: configurationsOf(options),
  });

  let problem: string | undefined = "its certificates were not looked at yet; wait a moment";
  let served: CertifiedKey | undefined;
  // While the API server is away, what was served before is served on: only the start needs it.
  const health = {
    livenessProblem: () => undefined,
    healthProblem: () => problem,
    readinessProblem: () => (served === undefined ? problem : undefined),
  };
  // Nobody trusts this one. It lets probes ask what is missing, where a closed port would only get the program killed again and again.
  const nowMs = clock.nowMs();
  const tls = await maker.makeAuthority({
    commonName: "galaxy-webhook without certificates",
    nowMs,
    untilMs: nowMs + provisionalMs,
  });
  const door = createWebhookServer({ health, log, tls });
  const port = await door.listen({ host: options.bindAddress, port: options.port });
  log.info("listening", { address: options.bindAddress, webhook: port });

  /** Looks at the certificates; what is served stays as it is when that fails. */
  const look = async (): Promise<void> => {
    try {
      const pair = await certificates.renew();
      if (pair.cert !== served?.cert) {
        door.renewTls(pair);
        log.info("certificate served");
      }
      served = pair;
      problem = undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // Once for each reason: it is tried for as long as it fails.
      if (reason !== problem && !signal.aborted) {
        log.warn("certificates could not be looked at, it is tried again", { reason });
      }
      problem = reason;
    }
  };
  while (!signal.aborted) {
    await look();
    const waitMs = served === undefined ? retryMs : options.renewMs;
    await pause(waitMs, undefined, { signal }).catch(() => {});
  }
  log.info("stopping");
  await door.close();
  client.close();
}

function configurationsOf(options: WebhookOptions): readonly WebhookConfiguration[] {
  const { validating, mutating } = options;
  return [
    ...(validating === ""
      ? []
      : [{ kind: "ValidatingWebhookConfiguration" as const, name: validating }]),
    ...(mutating === "" ? [] : [{ kind: "MutatingWebhookConfiguration" as const, name: mutating }]),
  ];
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`galaxy-webhook: ${message}\n`);
  process.exitCode = exitWorld;
});
