// The application types of the API: lower-case kinds, also in the plural and in any case, as people write them.

/** Kinds whose plural is understood; of others the letters decide. */
const kinds = ["deployment", "statefulset", "tapp", "replicaset", "daemonset", "job"];

/** The lower-case kind that a text means. */
export function appTypeOf(text: string): string {
  const lower = text.toLowerCase();
  return kinds.find((kind) => lower === `${kind}s`) ?? lower;
}

/** Whether an application type needs no record to be known. */
export function isEstablishedAppType(appType: string): boolean {
  return kinds.includes(appType);
}
