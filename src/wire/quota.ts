// FloatingIPQuota objects of API group galaxy.k8s.io <-> QuotaFacts, and their CustomResourceDefinition. Hand-written, so that what is wrong with
// an object is said in words. Which of several is in force is decided in core/quota.ts.

import type { QuotaFacts } from "../core/quota.ts";
import { galaxyApiVersion, galaxyGroup } from "./established-names.ts";
import { alsoSaying, foreignTextOf } from "./foreign-text.ts";
import { asList, quoteValue, textAt, valueAt } from "./json-value.ts";

/** A quota that was read, or why it cannot be used. */
export type QuotaParse =
  | { readonly kind: "quota"; readonly quota: QuotaFacts }
  | {
      readonly kind: "problem";
      readonly name: string;
      readonly uid: string;
      /** Names object, field, value and remedy. */
      readonly problem: string;
    };

/** The largest limit that the schema lets through. */
export const largestQuota = 2 ** 31 - 1;

/** As many namespaces as one quota may name: objects have bounds, and so does the work of each look. */
const mostNamespaces = 1_000;

/** An RFC 1123 label, of at most 63 characters. */
const namespacePattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/** Reads a FloatingIPQuota. */
export function parseQuota(json: unknown): QuotaParse {
  const name = textAt(json, "metadata", "name") ?? "";
  const uid = textAt(json, "metadata", "uid") ?? "";
  const problem = (text: string): QuotaParse => ({
    kind: "problem",
    name,
    uid,
    problem: `FloatingIPQuota ${name}: ${text}; until then it limits nothing`,
  });
  const limit = valueAt(json, "spec", "limit");
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 0 || limit > largestQuota) {
    return problem(
      `spec.limit ${limit === undefined ? "is missing" : `${quoteValue(limit)} is no whole number from 0 to ${largestQuota}`}; write how many addresses a namespace may have`,
    );
  }
  const written = valueAt(json, "spec", "namespaces") ?? [];
  const namespaces = asList(written);
  if (!Array.isArray(written) || !namespaces.every((item) => isNamespaceName(item))) {
    return problem(
      `spec.namespaces ${quoteValue(written)} is no list of names of namespaces; write for example [team-a], or leave it out for every namespace that no other quota names`,
    );
  }
  const version = textAt(json, "metadata", "resourceVersion") ?? "";
  const foreignText = foreignTextOf(json, quotaSchema);
  return {
    kind: "quota",
    quota: {
      name,
      uid,
      limit,
      namespaces: [...new Set(namespaces as string[])],
      ...(foreignText === undefined ? {} : { foreignText }),
      version,
    },
  };
}

/** Whether a text may be the name of a namespace (RFC 1123 label). */
export function isNamespaceName(value: unknown): value is string {
  return (
    typeof value === "string" && value.length <= 63 && new RegExp(namespacePattern).test(value)
  );
}

/** A new FloatingIPQuota, with what it says besides. */
export function formatQuota(quota: QuotaFacts): Readonly<Record<string, unknown>> {
  const object = {
    apiVersion: galaxyApiVersion,
    kind: "FloatingIPQuota",
    metadata: { name: quota.name },
    spec: specOf(quota),
  };
  return alsoSaying(object, quota.foreignText);
}

/** The change that makes an object say what the facts say, if it still has the version that they were read with. */
export function quotaPatch(quota: QuotaFacts): Readonly<Record<string, unknown>> {
  return { metadata: { resourceVersion: quota.version }, spec: specOf(quota) };
}

function specOf({ limit, namespaces }: QuotaFacts) {
  return { limit, namespaces: [...namespaces] };
}

/** The CustomResourceDefinition of FloatingIPQuota. */
export const quotaCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: `floatingipquotas.${galaxyGroup}`,
    annotations: {
      "api-approved.kubernetes.io": "unapproved, established API of tkestack/galaxy",
    },
  },
  spec: {
    group: galaxyGroup,
    scope: "Cluster",
    names: {
      plural: "floatingipquotas",
      singular: "floatingipquota",
      kind: "FloatingIPQuota",
      listKind: "FloatingIPQuotaList",
      shortNames: ["fipq"],
    },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        additionalPrinterColumns: [
          { name: "Limit", type: "integer", jsonPath: ".spec.limit" },
          { name: "Namespaces", type: "string", jsonPath: ".spec.namespaces" },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: {
          openAPIV3Schema: {
            description:
              "Most addresses that a namespace may have; GET /v1/quota and galaxyctl quota list show what it has.",
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["limit"],
                properties: {
                  limit: {
                    type: "integer",
                    minimum: 0,
                    maximum: largestQuota,
                    description: "Most addresses of one namespace, used and reserved.",
                  },
                  namespaces: {
                    type: "array",
                    "x-kubernetes-list-type": "set",
                    maxItems: mostNamespaces,
                    items: { type: "string", maxLength: 63, pattern: namespacePattern },
                    description:
                      "Namespaces with this limit, each for itself; empty or absent: every namespace that no other quota names.",
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
} as const;

/** What this release knows of a quota. */
const quotaSchema = quotaCrd.spec.versions[0].schema.openAPIV3Schema;
