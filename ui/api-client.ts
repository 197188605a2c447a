// Calls of the HTTP API with the types of its schemas. Knows nothing of how answers are shown.

import type {
  BodyOf,
  EndpointShape,
  ParamsOf,
  QueryOf,
  SuccessOf,
} from "../src/wire/api/endpoint.ts";
import type { explainPod } from "../src/wire/api/explain.ts";
import type { getIp, listIps, releaseIps } from "../src/wire/api/floating-ip.ts";
import type { listHistory } from "../src/wire/api/history.ts";
import type { listIdle } from "../src/wire/api/idle.ts";
import type { deletePool, listPools, putPool } from "../src/wire/api/pool.ts";
import type { Problem } from "../src/wire/api/problem.ts";
import type { deleteQuota, listQuotas, putQuota } from "../src/wire/api/quota.ts";
import type { deleteReservation, putReservation } from "../src/wire/api/reservation.ts";
import type { getStatus } from "../src/wire/api/status.ts";
import type { getAddressMap, listSubnets } from "../src/wire/api/subnet.ts";
import type { listVips } from "../src/wire/api/vip.ts";

/** A call that did not succeed. `status` is 0 when the server could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly requestId: string | undefined;

  constructor(status: number, message: string, requestId?: string) {
    super(message);
    this.status = status;
    this.requestId = requestId;
  }
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const tokenKey = "galaxy-token";

/** The bearer token of this tab; empty without one. It does not outlive the tab. */
export function readToken(): string {
  return sessionStorage.getItem(tokenKey) ?? "";
}

/** Keeps the token for this tab; an empty one signs out. */
export function writeToken(token: string): void {
  if (token === "") sessionStorage.removeItem(tokenKey);
  else sessionStorage.setItem(tokenKey, token);
}

/** Headers of a call with this tab's token. */
export function authorization(): Record<string, string> {
  const token = readToken();
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}

/** Longer than any answer of a healthy server takes. */
const timeoutMs = 15_000;

/**
 * One call. @returns the body of a 2xx answer
 * @throws ApiError otherwise
 */
export async function call<T>(
  method: string,
  path: string,
  options: { readonly query?: Query; readonly body?: unknown; readonly signal?: AbortSignal } = {},
): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(text === "" ? path : `${path}?${text}`, {
      method,
      headers: {
        ...authorization(),
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
    });
  } catch (error) {
    throw new ApiError(0, error instanceof Error ? error.message : String(error));
  }
  const body: unknown = await response.json().catch(() => undefined);
  if (response.ok) return body as T;
  const problem = body as Partial<Problem> | undefined;
  throw new ApiError(
    response.status,
    problem?.message ?? `${response.status} ${response.statusText}`,
    problem?.requestId,
  );
}

type Get<E extends EndpointShape> = SuccessOf<E>;
type Filters<E extends EndpointShape> = Partial<QueryOf<E>>;

const segment = encodeURIComponent;

/** The operations that the page uses. */
export const api = {
  status: () => call<Get<typeof getStatus>>("GET", "/v1/status"),
  subnets: () => call<Get<typeof listSubnets>>("GET", "/v1/subnet"),
  addressMap: (query: QueryOf<typeof getAddressMap>, signal?: AbortSignal) =>
    call<Get<typeof getAddressMap>>("GET", "/v1/address-map", {
      query,
      ...(signal === undefined ? {} : { signal }),
    }),
  address: (ip: string, signal?: AbortSignal) =>
    call<Get<typeof getIp>>("GET", `/v1/ip/${segment(ip)}`, signal === undefined ? {} : { signal }),
  addresses: (query: Filters<typeof listIps>, signal?: AbortSignal) =>
    call<Get<typeof listIps>>("GET", "/v1/ip", {
      query,
      ...(signal === undefined ? {} : { signal }),
    }),
  release: (body: BodyOf<typeof releaseIps>) =>
    call<Get<typeof releaseIps>>("POST", "/v1/ip", { body }),
  reserve: ({ ip }: ParamsOf<typeof putReservation>, body: BodyOf<typeof putReservation>) =>
    call<Get<typeof putReservation>>("PUT", `/v1/reservation/${segment(ip)}`, { body }),
  unreserve: ({ ip }: ParamsOf<typeof deleteReservation>) =>
    call<Get<typeof deleteReservation>>("DELETE", `/v1/reservation/${segment(ip)}`),
  pools: () => call<Get<typeof listPools>>("GET", "/v1/pool"),
  putPool: (body: BodyOf<typeof putPool>) =>
    call<Get<typeof putPool>>("POST", "/v1/pool", { body }),
  deletePool: ({ name }: ParamsOf<typeof deletePool>, query: QueryOf<typeof deletePool>) =>
    call<Get<typeof deletePool>>("DELETE", `/v1/pool/${segment(name)}`, { query }),
  idle: (query: Filters<typeof listIdle>, signal?: AbortSignal) =>
    call<Get<typeof listIdle>>("GET", "/v1/idle", {
      query,
      ...(signal === undefined ? {} : { signal }),
    }),
  quotas: () => call<Get<typeof listQuotas>>("GET", "/v1/quota"),
  putQuota: ({ name }: ParamsOf<typeof putQuota>, body: BodyOf<typeof putQuota>) =>
    call<Get<typeof putQuota>>("PUT", `/v1/quota/${segment(name)}`, { body }),
  deleteQuota: ({ name }: ParamsOf<typeof deleteQuota>) =>
    call<Get<typeof deleteQuota>>("DELETE", `/v1/quota/${segment(name)}`),
  vips: () => call<Get<typeof listVips>>("GET", "/v1/vip"),
  explain: ({ namespace, name }: ParamsOf<typeof explainPod>) =>
    call<Get<typeof explainPod>>("GET", `/v1/explain/pod/${segment(namespace)}/${segment(name)}`),
  history: (query: Filters<typeof listHistory>) =>
    call<Get<typeof listHistory>>("GET", "/v1/history", { query }),
};
