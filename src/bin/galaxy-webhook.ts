// galaxy-webhook: the optional admission webhook. Warns at `kubectl apply` of workloads whose pods would wait for float IPs, mends the
// rolling update of those that ask for it, and keeps its own certificates. This file only puts the parts together.

import { setTimeout as pause } from "node:timers/promises";
import manifest from "../../package.json" with { type: "json" };
import type { Door } from "../adapters/http/http-door.ts";
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
  const certificates = new WebhookCertificates({
    client,
    log,
    maker: new ForgeCertificateMaker(),
    clock: new SystemClock(),
    namespace: options.namespace,
    secretName: options.secretName,
    serverNames: options.serverNames,
    configurations: configurationsOf(options),
  });

  let problem: string | undefined;
  let served: CertifiedKey | undefined;
  let door: Door | undefined;
  /** Looks at the certificates; what is served stays as it is when that fails. */
  const look = async (): Promise<boolean> => {
    try {
      const pair = await certificates.renew();
      if (door !== undefined && pair.cert !== served?.cert) door.renewTls(pair);
      served = pair;
      problem = undefined;
      return true;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // Once for each reason: it is tried for as long as it fails.
      if (reason !== problem && !signal.aborted) {
        log.warn("certificates could not be looked at, it is tried again", { reason });
      }
      problem = reason;
      return false;
    }
  };
  const wait = (ms: number) => pause(ms, undefined, { signal }).catch(() => {});

  while (!(await look()) && !signal.aborted) await wait(retryMs);
  if (served !== undefined && !signal.aborted) {
    // While the API server is away, what was served before is served on: only the start needs it.
    const health = {
      livenessProblem: () => undefined,
      healthProblem: () => problem,
      readinessProblem: () => undefined,
    };
    door = createWebhookServer({ health, log, tls: served });
    const port = await door.listen({ host: options.bindAddress, port: options.port });
    log.info("listening", { address: options.bindAddress, webhook: port });
    while (!signal.aborted) {
      await wait(options.renewMs);
      if (!signal.aborted) await look();
    }
    log.info("stopping");
    await door.close();
  }
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
