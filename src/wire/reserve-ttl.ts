// How long a reserved address may be without a pod, as text: a duration as Go writes it ("168h", "1h30m"), or "never". Stands in an annotation of
// pods, in Pool objects and in records.

import type { ReserveTtl } from "../core/reserve-ttl.ts";
import { shortestReserveTtlMs } from "../core/reserve-ttl.ts";
import { quoteValue } from "./json-value.ts";

/** Ten years: what is longer is a typing error, or means "never". */
const longestMs = 87_600 * 3_600_000;

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Reads the text. Undefined when nothing is said.
 * @param where names object and field, for the problem
 * @param meanwhile what happens until it is corrected, for the problem; empty when nothing was changed
 */
export function parseReserveTtl(
  value: unknown,
  where: string,
  meanwhile = "; the address is kept for now",
): ReserveTtl | undefined | { readonly problem: string } {
  if (value === undefined || value === null || value === "") return undefined;
  if (value === "never") return "never";
  const ms = typeof value === "string" ? parseGoDurationMs(value) : undefined;
  if (ms !== undefined && ms >= shortestReserveTtlMs && ms <= longestMs) return ms;
  return {
    problem: `${where}: ${quoteValue(value)} is no duration from 1s to 87600h${meanwhile}: write for example "168h" (a week) or "never"`,
  };
}

/** A duration of Go's time.ParseDuration without a sign, in whole milliseconds; undefined when it is none. */
function parseGoDurationMs(text: string): number | undefined {
  if (!/^(?:(?:[0-9]{1,12}\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  }
  return Math.round(totalMs);
}

/** The text that {@link parseReserveTtl} reads as the same: hours, minutes and seconds as far as they are not 0. */
export function formatReserveTtl(ttl: ReserveTtl): string {
  if (ttl === "never") return ttl;
  const hours = Math.floor(ttl / 3_600_000);
  const minutes = Math.floor(ttl / 60_000) % 60;
  const seconds = (ttl % 60_000) / 1_000;
  const text = [
    hours === 0 ? "" : `${hours}h`,
    minutes === 0 ? "" : `${minutes}m`,
    seconds === 0 ? "" : `${seconds}s`,
  ].join("");
  return text === "" ? "0s" : text;
}
