// How long a reserved address may be without a pod, as a column: milliseconds, 0 for "never", NULL when nothing is said.

import type { ReserveTtl } from "../../core/reserve-ttl.ts";

/** The value of the column. */
export function ttlColumn(ttl: ReserveTtl | undefined): number | null {
  return ttl === undefined ? null : ttl === "never" ? 0 : ttl;
}

/** What the column says. */
export function ttlOfColumn(value: number | null): ReserveTtl | undefined {
  return value === null ? undefined : value === 0 ? "never" : value;
}
