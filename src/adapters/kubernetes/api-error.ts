// What went wrong with a request to the API server, as a WorldError with the HTTP status beside it. Sends nothing.

import { WorldError, type WorldErrorCode } from "../../ports/world-error.ts";
import { textAt } from "../../wire/json-value.ts";

/** A failed request. `status` is 0 when there was no answer; `retryAfterMs` is what the server asked for. */
export class ApiError extends WorldError {
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: WorldErrorCode,
    details: {
      readonly tried: string;
      readonly message: string;
      readonly mayHaveHappened: boolean;
      readonly status: number;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(code, details);
    this.status = details.status;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The part of a Kubernetes Status object that matters (meta/v1 Status). */
export type StatusFacts = {
  readonly reason: string;
  readonly message: string;
  /** Name of the object that the status is about; "" when it is about none. */
  readonly name: string;
};

/** Reads a Status out of a body; any other body gives its beginning as the message. */
export function parseStatus(body: string): StatusFacts {
  try {
    const json: unknown = JSON.parse(body);
    const message = textAt(json, "message");
    if (message !== undefined) {
      return {
        reason: textAt(json, "reason") ?? "",
        message,
        name: textAt(json, "details", "name") ?? "",
      };
    }
  } catch {
    // Proxies and load balancers answer in HTML or plain text.
  }
  return { reason: "", name: "", message: body.slice(0, 200).trim() || "(empty answer)" };
}

/**
 * Whether a 404 says that an object does not exist. One that names no object comes from a proxy, from a kind that is not installed, or from an
 * API server that has just started and does not know its custom resources yet; none of these means that something is gone.
 */
export function isObjectMissing(status: number, body: string): boolean {
  return status === 404 && parseStatus(body).name !== "";
}

/**
 * The error for an answer that is neither success nor an outcome of a good day.
 * A write that was answered with 5xx may have happened: etcd may have committed it after the API server gave up.
 */
export function errorOfAnswer(answer: {
  readonly tried: string;
  readonly isWrite: boolean;
  readonly status: number;
  readonly body: string;
  readonly retryAfterMs: number | undefined;
}): ApiError {
  const { status } = answer;
  const { message } = parseStatus(answer.body);
  const details = {
    tried: answer.tried,
    status,
    retryAfterMs: answer.retryAfterMs,
    mayHaveHappened: answer.isWrite && status >= 500,
  };
  if (status === 401) {
    return new ApiError("API_UNAUTHORIZED", {
      ...details,
      message: `the API server does not accept our credentials (401 ${message}); check the kubeconfig or the service account's token`,
    });
  }
  if (status === 403) {
    return new ApiError("API_FORBIDDEN", {
      ...details,
      message: `the API server does not allow it (403 ${message}); grant it in the program's ClusterRole or Role; those of deploy/ have it`,
    });
  }
  if (status === 404) {
    return new ApiError("API_UNAVAILABLE", {
      ...details,
      message: `the API server does not serve this kind of object (404 ${message}); check that its CustomResourceDefinition is installed`,
    });
  }
  if (status === 429) {
    return new ApiError("API_UNAVAILABLE", {
      ...details,
      message: `the API server is too busy (429 ${message}); it is asked again later`,
    });
  }
  if (status === 504) {
    return new ApiError("API_TIMEOUT", {
      ...details,
      message: `the API server did not finish in time (504 ${message}); check etcd`,
    });
  }
  if (status >= 500) {
    return new ApiError("API_UNAVAILABLE", {
      ...details,
      message: `the API server failed (${status} ${message}); it is asked again later`,
    });
  }
  return new ApiError("API_REJECTED", {
    ...details,
    message: `the API server rejected the request (${status} ${message})`,
  });
}
