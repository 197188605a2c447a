// A node's lease for virtual addresses as a coordination.k8s.io Lease: session and revocation are annotations, because the object has no
// place for them. When it is renewed or revoked is not said here.

import type { NodeLease } from "../core/vip.ts";
import { textAt, valueAt } from "./json-value.ts";

/** Annotation of a Lease: {@link NodeLease.session}. */
const sessionAnnotation = "vip.galaxy.k8s.io/session";
/** Annotation of a Lease: when a controller ended the session. */
const revokedAnnotation = "vip.galaxy.k8s.io/revoked";
/** Annotation of a Lease: {@link NodeLease.durationMs}; the object itself knows whole seconds only. */
const durationAnnotation = "vip.galaxy.k8s.io/duration-ms";

/**
 * A Lease, or a merge patch of one, that says what the lease says.
 * @param renewedAt RFC 3339 with microseconds: another one each time, or the API server would not give a new version
 */
export function formatNodeLease(
  lease: NodeLease,
  options: { readonly namespace: string; readonly renewedAt: string },
): Readonly<Record<string, unknown>> {
  const { nodeName, session, isRevoked, durationMs, version } = lease;
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      name: nodeName,
      namespace: options.namespace,
      annotations: {
        [sessionAnnotation]: String(session),
        [durationAnnotation]: String(durationMs),
        ...(isRevoked
          ? { [revokedAnnotation]: options.renewedAt }
          : // Null takes it out of an object that is patched; a new one never had it.
            version === ""
            ? {}
            : { [revokedAnnotation]: null }),
      },
      ...(version === "" ? {} : { resourceVersion: version }),
    },
    spec: {
      holderIdentity: isRevoked ? "" : nodeName,
      leaseDurationSeconds: Math.max(1, Math.ceil(durationMs / 1_000)),
      renewTime: options.renewedAt,
    },
  };
}

/** Reads a Lease. Undefined when it is none of ours: without a session nothing can be granted under it. */
export function parseNodeLease(json: unknown): NodeLease | undefined {
  const nodeName = textAt(json, "metadata", "name") ?? "";
  const annotations = valueAt(json, "metadata", "annotations");
  const session = wholeNumber(textAt(annotations, sessionAnnotation));
  const durationMs = wholeNumber(textAt(annotations, durationAnnotation));
  if (nodeName === "" || session === undefined || durationMs === undefined) return undefined;
  return {
    nodeName,
    session,
    isRevoked: textAt(annotations, revokedAnnotation) !== undefined,
    durationMs,
    version: textAt(json, "metadata", "resourceVersion") ?? "",
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  const value = Number(text);
  return /^[0-9]{1,16}$/.test(text ?? "") && Number.isSafeInteger(value) ? value : undefined;
}
