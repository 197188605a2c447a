// What scenarios ask about records, pods and events again and again, read from the API server. It knows how keys look and nothing of
// the product's code.

import { type ApiClient, floatIpsOf, type WaitOptions } from "./api.ts";
import { events, type FloatingIp, floatingIps, type KubeEvent, type Pod } from "./kinds.ts";

/** The address of a record in its usual spelling; the name of an IPv6 one has all groups and `-` for `:`. */
export function addressOf(record: FloatingIp): string {
  return usualSpelling(record.metadata.name.replaceAll("-", ":"));
}

/** An address as RFC 5952 wants it written. */
export function usualSpelling(ip: string): string {
  return ip.includes(":") ? new URL(`http://[${ip}]`).hostname.slice(1, -1) : ip;
}

/** Node name and uid that a record names; both "" while no pod has the address. */
export function holderOf(record: FloatingIp): { readonly NodeName: string; readonly Uid: string } {
  return JSON.parse(record.spec.attribute ?? '{"NodeName":"","Uid":""}') as {
    readonly NodeName: string;
    readonly Uid: string;
  };
}

/** Whether no pod has the address. */
export function isReservation(record: FloatingIp): boolean {
  return holderOf(record).Uid === "";
}

/** Waits until the records whose key begins so satisfy the predicate, and returns them in the order of their addresses. */
export async function waitForRecords(
  api: ApiClient,
  what: string,
  keyStart: string,
  predicate: (records: readonly FloatingIp[]) => boolean,
  options: WaitOptions = {},
): Promise<readonly FloatingIp[]> {
  const mine = (all: readonly FloatingIp[]) =>
    all.filter(({ spec }) => spec.key.startsWith(keyStart));
  const all = await api.waitFor(
    `${what} (keys ${keyStart}…)`,
    { kind: floatingIps },
    (seen) => predicate(mine(seen)),
    options,
  );
  return mine(all).toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Waits until no key begins so. */
export async function waitForNoRecords(api: ApiClient, keyStart: string): Promise<void> {
  await waitForRecords(api, "no records", keyStart, (records) => records.length === 0);
}

/** All addresses of pods, sorted. */
export function addressesOf(pods: readonly Pod[]): readonly string[] {
  return pods.flatMap(floatIpsOf).toSorted();
}

/** The address of each pod by the pod's name; a pod with several has them joined by a comma. */
export function addressByPod(pods: readonly Pod[]): Readonly<Record<string, string>> {
  const named = pods.map((pod) => [pod.metadata.name, floatIpsOf(pod).join(",")] as const);
  return Object.fromEntries(named.toSorted((a, b) => (a[0] < b[0] ? -1 : 1)));
}

/** Waits for an event about an object whose message matches, and returns it. */
export async function waitForEvent(
  api: ApiClient,
  about: { readonly kind: string; readonly name: string; readonly namespace?: string },
  message: RegExp,
  options: WaitOptions = {},
): Promise<KubeEvent> {
  const fits = (event: KubeEvent) =>
    event.involvedObject.kind === about.kind &&
    event.involvedObject.name === about.name &&
    message.test(event.message);
  const found = await api.waitFor(
    `an event about ${about.kind} ${about.name} that says ${message.source}`,
    { kind: events, namespace: about.namespace ?? "default" },
    (seen) => seen.some(fits),
    options,
  );
  return found.find(fits) as KubeEvent;
}
