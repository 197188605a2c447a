// The name of an address's record, which is an object of Kubernetes: colons cannot stand in it.

import type { Ip } from "./ip.ts";
import { ipToNumber } from "./ip.ts";

/** The address; of IPv6 its eight groups without leading zeros, "-" for ":". */
export function recordNameOf(ip: Ip): string {
  const value = ipToNumber(ip);
  if (typeof value === "number") return ip;
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    groups.push(((value >> shift) & 0xffffn).toString(16));
  }
  return groups.join("-");
}
