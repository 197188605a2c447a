// The port that API servers call when workloads are applied. It warns and mends, and never refuses; what it says is decided in core.

import { decideAdmission } from "../../core/decide-admission.ts";
import type { Log } from "../../ports/log.ts";
import { formatAdmissionReview, parseAdmissionReview, rolloutPatch } from "../../wire/admission.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes } from "./health-routes.ts";
import type { Door, TlsKeyPair } from "./http-door.ts";
import { createFastify, doorOf, sendProblem } from "./http-door.ts";

/** An object is at most 1.5 MiB in etcd; a review of a change has two of them. */
const mostBytes = 8 * 1024 * 1024;

/** Mends: for a MutatingWebhookConfiguration. */
export const mendPath = "/mend";
/** Warns of what is left: for a ValidatingWebhookConfiguration, which comes after all that mend. */
export const warnPath = "/warn";

/** Makes the port, with TLS always: API servers call nothing else. */
export function createWebhookServer(parts: {
  readonly health: Health;
  readonly log: Log;
  readonly tls: TlsKeyPair;
}): Door {
  const { health, log, tls } = parts;
  const options = {
    name: "the admission webhook",
    log,
    tls,
    bodyLimit: mostBytes,
    maxConnections: 1_000,
    answerMs: 5_000,
  };
  const server = createFastify(options);
  addHealthRoutes(server, health);
  for (const path of [mendPath, warnPath]) {
    server.post(path, (request, reply) => {
      const review = parseAdmissionReview(request.body);
      if (review.kind === "invalid") return sendProblem(reply, 400, review.problem);
      const { uid, workload, object } = review;
      const decision = workload === undefined ? undefined : decideAdmission(workload);
      const mends = path === mendPath && decision?.fixesRollout === true;
      const warnings = path === warnPath ? (decision?.warnings ?? []) : [];
      if (mends) log.info("rolling update mended", { workload: workload?.name });
      for (const warning of warnings) log.debug("warned", { workload: workload?.name, warning });
      return reply.send(
        formatAdmissionReview({
          uid,
          warnings,
          patchBase64: mends
            ? Buffer.from(JSON.stringify(rolloutPatch(object))).toString("base64")
            : undefined,
        }),
      );
    });
  }
  return doorOf(server, options);
}
