// Who may use the HTTP API: bearer tokens and client certificates where there is somebody to ask, and in any case no page of another site in a browser of this
// machine. It reads heads of requests only; limits of time and size are those of the port.

import type { FastifyRequest } from "fastify";
import type { AccessReview, Caller } from "../../ports/access-review.ts";
import type { Log } from "../../ports/log.ts";
import type { EndpointShape } from "../../wire/api/endpoint.ts";
import { forwardedTokenHeader } from "../../wire/forwarded-token.ts";
import type { RouteGuard } from "./api/add-routes.ts";
import type { ProblemAnswer } from "./api/route.ts";
import { problem } from "./api/route.ts";
import { certificateOf, type ShownCertificate } from "./client-certificate.ts";
import { pathOf } from "./http-door.ts";

/** What the guard needs. */
export type ApiGuardOptions = {
  /** Undefined: there are no users, and everybody who reaches the port may do everything. */
  readonly review: AccessReview | undefined;
  /**
   * The port is for this machine alone: only its names are answered, so that a page of another site that had its name
   * resolved to this machine reads nothing (DNS rebinding).
   */
  readonly isLoopbackOnly: boolean;
  readonly log: Log;
};

/** RFC 6750, section 2.1; what a token may consist of is the issuer's affair. */
const bearer = /^Bearer +([^\s]+) *$/i;

const loopbackHost = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?$/i;

/** The guard of all routes. */
export function createApiGuard(options: ApiGuardOptions): RouteGuard {
  const { review, log } = options;
  return {
    async admit(request, endpoint) {
      const stranger = siteProblem(request, endpoint, options);
      if (stranger !== undefined) return stranger;
      if (review === undefined || endpoint.access === "open") return undefined;
      const { authorization, [forwardedTokenHeader]: forwarded } = request.headers;
      const token = bearer.exec(authorization ?? String(forwarded ?? ""))?.[1];
      const shown: ShownCertificate =
        token === undefined ? certificateOf(request.raw.socket) : { kind: "none" };
      if (shown.kind === "refused") {
        log.warn("client certificate refused", { reason: shown.reason, requestId: request.id });
        return problem(401, shown.reason);
      }
      const caller: Caller | undefined =
        token !== undefined
          ? { kind: "token", token }
          : shown.kind === "certificate"
            ? shown
            : undefined;
      if (caller === undefined) {
        return problem(401, "a bearer token is needed: Authorization: Bearer TOKEN");
      }
      const { verb, resource } = endpoint.access;
      const verdict = await review.review({ caller, verb, resource });
      const where = { method: request.method, path: pathOf(request), requestId: request.id };
      switch (verdict.kind) {
        case "allowed":
          if (endpoint.changes === true)
            log.info("change asked for", { ...where, user: verdict.user });
          return undefined;
        case "forbidden":
          log.warn("caller refused", { ...where, user: verdict.user, verb, resource });
          return problem(
            403,
            `not allowed: it needs the verb ${verb} on ${resource} of galaxy.k8s.io; ask an administrator of the cluster for it`,
          );
        case "unauthenticated":
          return problem(401, "the token is not accepted; get a new one");
        case "busy":
          return problem(429, "too many unknown tokens are being checked; try again in a moment");
        case "unavailable":
          return problem(503, "permissions cannot be checked now; try again in a moment");
        default:
          return verdict satisfies never;
      }
    },
  };
}

/** What browsers say of the page behind a request; undefined when it may be the operator's own, or is no page. */
function siteProblem(
  { headers }: FastifyRequest,
  endpoint: EndpointShape,
  { isLoopbackOnly }: ApiGuardOptions,
): ProblemAnswer | undefined {
  const { host, origin } = headers;
  if (isLoopbackOnly && !loopbackHost.test(host ?? "")) {
    return problem(
      403,
      "this port answers on this machine only, by the name localhost or 127.0.0.1",
    );
  }
  if (endpoint.changes !== true || origin === undefined) return undefined;
  const isOwn = URL.canParse(origin) && new URL(origin).host === host;
  return isOwn ? undefined : problem(403, "pages of other sites cannot change anything here");
}
