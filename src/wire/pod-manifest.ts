// Facts of pods -> Pods of the Kubernetes API, as the scheduler of a simulated cluster sends them. The way back is pod.ts; what facts do not say
// is not there.

import type { AddressRequest, PodFacts } from "../core/facts.ts";
import { formatIpRange } from "../core/ip-range.ts";
import {
  addressResource,
  argsAnnotation,
  familiesAnnotation,
  policyAnnotation,
  poolAnnotation,
  reserveTtlAnnotation,
} from "./established-names.ts";
import { formatTime } from "./json-value.ts";
import { formatReserveTtl } from "./reserve-ttl.ts";

/** A Pod that parsePod reads as these facts (times to the second). */
export function formatPod(pod: PodFacts): unknown {
  const annotations: Record<string, string> = {};
  if (pod.policy !== "pod-delete" && pod.pool === undefined) {
    annotations[policyAnnotation] = pod.policy;
  }
  if (pod.pool !== undefined) annotations[poolAnnotation] = pod.pool;
  if (pod.reserveTtl !== undefined) {
    annotations[reserveTtlAnnotation] = formatReserveTtl(pod.reserveTtl);
  }
  if (pod.request.kind === "families" && pod.request.families !== undefined) {
    annotations[familiesAnnotation] = pod.request.families.join(",");
  }
  const args = argsTextOf(pod);
  if (args !== "") annotations[argsAnnotation] = args;
  const { controller } = pod;
  const quantity = pod.wantsAddress ? "1" : pod.requestsNone === true ? "0" : undefined;
  const resources = quantity === undefined ? {} : { [addressResource]: quantity };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: pod.id.namespace,
      name: pod.id.name,
      uid: pod.uid,
      creationTimestamp: formatTime(pod.createdAtMs),
      ...(pod.isTerminating ? { deletionTimestamp: formatTime(pod.createdAtMs) } : {}),
      annotations,
      ...(controller === undefined
        ? {}
        : {
            ownerReferences: [
              {
                apiVersion:
                  controller.apiGroup === ""
                    ? controller.apiVersion
                    : `${controller.apiGroup}/${controller.apiVersion}`,
                kind: controller.kind,
                name: controller.name,
                uid: controller.uid,
                controller: true,
              },
            ],
          }),
    },
    spec: {
      ...(pod.nodeName === "" ? {} : { nodeName: pod.nodeName }),
      containers: [{ name: "main", resources: { requests: resources, limits: resources } }],
    },
    status: { phase: pod.phase },
  };
}

/** The args annotation of a pod: as it stands, or, of one that was made from facts, what it asks for; "" when it needs none. */
export function argsTextOf({ argsText, request }: Pick<PodFacts, "argsText" | "request">): string {
  return argsText === "" ? formatRequest(request) : argsText;
}

function formatRequest(request: AddressRequest): string {
  if (request.kind === "families") return "";
  return JSON.stringify({
    request_ip_range: request.ranges.map((list) => list.map(formatIpRange)),
  });
}
