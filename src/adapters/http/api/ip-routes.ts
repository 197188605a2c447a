// /v1/ip: pages of addresses, one address with its reasons, and releasing.

import type { Ip } from "../../../core/ip.ts";
import { ipToNumber, parseIp } from "../../../core/ip.ts";
import type { Owner } from "../../../core/owner.ts";
import { podIdText } from "../../../core/owner.ts";
import type { Topology } from "../../../core/subnets.ts";
import type { AddressLook, Admin, ReleaseEntry, ReleaseOutcome } from "../../../ipam/admin.ts";
import type { Allocator } from "../../../ipam/allocator.ts";
import {
  addressStateOf,
  formatAddress,
  formatWideAddress,
} from "../../../wire/api/address-answer.ts";
import { appTypeOf, isEstablishedAppType } from "../../../wire/api/app-type.ts";
import type { BodyOf } from "../../../wire/api/endpoint.ts";
import { getIp, listIps, releaseIps } from "../../../wire/api/floating-ip.ts";
import { parseListQuery } from "../../../wire/api/list-query.ts";
import { formatTime, quoteValue } from "../../../wire/json-value.ts";
import { formatOwnerKey } from "../../../wire/owner-key.ts";
import type { ProblemAnswer, Route } from "./route.ts";
import { problem, route } from "./route.ts";

/** What these routes are made over. */
export type IpRouteParts = {
  readonly admin: Admin;
  readonly allocator: Allocator;
  /** Why an address is in its state, as sentences; what explains pods explains addresses. */
  readonly reasonsOf: (look: AddressLook) => readonly string[];
};

/** A full page of what a list shows, posted as it came. */
const releaseBodyLimitBytes = 8 * 1024 * 1024;

/** The routes of addresses. */
export function ipRoutes({ admin, allocator, reasonsOf }: IpRouteParts): readonly Route[] {
  return [
    route(listIps, async ({ rawQuery }) => {
      const parsed = parseListQuery(rawQuery);
      if (parsed.kind === "invalid") return problem(400, parsed.message, { field: parsed.field });
      const { page, size, isWide, query } = parsed;
      const found = await admin.list(query);
      const looks = found.addresses.map((address) => admin.look(address));
      return {
        status: 200,
        body: {
          last: query.offset + size >= found.totalCount,
          totalElements: found.totalCount,
          totalPages: Math.ceil(found.totalCount / size),
          first: page === 0,
          numberOfElements: looks.length,
          size,
          number: page,
          content: looks.map(isWide ? formatWideAddress : formatAddress),
        },
      };
    }),
    route(
      releaseIps,
      async ({ body }) => {
        const parsed = parseReleaseBody(body, (appType) => isInUse(appType, allocator));
        if ("problem" in parsed) return parsed;
        const outcomes = await admin.release(parsed, { isDryRun: body.dryRun ?? false });
        const unreleased: Ip[] = [];
        const reasons: string[] = [];
        for (const [index, outcome] of outcomes.entries()) {
          const reason = reasonOf(outcome);
          if (reason === undefined) continue;
          unreleased.push((parsed[index] as ReleaseEntry).ip);
          reasons.push(reason);
        }
        if (unreleased.length === 0) return { status: 200, body: { code: 200, message: "" } };
        const message =
          `Released ${outcomes.length - unreleased.length} ips, ${unreleased.length} ips failed, ` +
          "please check the reasons why they failed";
        return { status: 202, body: { code: 202, message, unreleased, reasons } };
      },
      { bodyLimitBytes: releaseBodyLimitBytes },
    ),
    route(getIp, ({ params }) => {
      const ip = parseIp(params.ip);
      if (ip === undefined) return notAnAddress(params.ip, "ip");
      const look = admin.lookAt(ip);
      if (look === undefined) {
        return problem(404, `no pod subnet lists ${ip} and no record names it`);
      }
      const { topology } = allocator.view;
      const { allocation } = look;
      const releasedAtMs = allocator.view.releasedAtMs(ip);
      const subnet = topology.subnetFor(ip);
      return {
        status: 200,
        body: {
          ...formatWideAddress(look),
          state: addressStateOf(look),
          isConfigured: isConfigured(topology, ip),
          ...(subnet === undefined ? {} : { gateway: subnet.gateway, vlan: subnet.vlan }),
          ...(allocation === undefined ? {} : { key: formatOwnerKey(allocation.owner) }),
          ...(releasedAtMs === undefined ? {} : { releasedAt: formatTime(releasedAtMs) }),
          reasons: [...reasonsOf(look)],
        },
      };
    }),
  ];
}

function isConfigured(topology: Topology, ip: Ip): boolean {
  return topology.subnetIndexOf(ipToNumber(ip)) >= 0;
}

/** The answer to a text that is no address. */
export function notAnAddress(text: string, field: string): ProblemAnswer {
  return problem(400, `${quoteValue(text)} is not a valid ip`, { field });
}

/** All entries, or what is wrong with the first one that cannot be meant: then nothing is released. */
function parseReleaseBody(
  body: BodyOf<typeof releaseIps>,
  isKnownType: (appType: string) => boolean,
): readonly ReleaseEntry[] | ProblemAnswer {
  const entries: ReleaseEntry[] = [];
  for (const [index, entry] of body.ips.entries()) {
    const ip = parseIp(entry.ip);
    if (ip === undefined) return notAnAddress(entry.ip, `ips[${index}].ip`);
    const appType = entry.appType === undefined ? "" : appTypeOf(entry.appType);
    if (appType !== "" && !isEstablishedAppType(appType) && !isKnownType(appType)) {
      const field = `ips[${index}].appType`;
      return problem(400, `unknown app type ${quoteValue(entry.appType)}`, { field });
    }
    entries.push({
      ip,
      expected: {
        namespace: entry.namespace ?? "",
        appName: entry.appName ?? "",
        appType: appType !== "" ? appType : entry.isDeployment === true ? "deployment" : undefined,
        podName: entry.podName ?? "",
        poolName: entry.poolName ?? "",
      },
    });
  }
  return entries;
}

/** Whether some record belongs to a workload of that kind. */
function isInUse(appType: string, allocator: Allocator): boolean {
  for (const { owner } of allocator.view.all()) {
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload?.kind === appType) return true;
  }
  return false;
}

/** Why an address was not released; undefined when it was. The words of the Go system come first. */
function reasonOf(outcome: ReleaseOutcome): string | undefined {
  switch (outcome.kind) {
    case "released":
    case "free again":
      return undefined;
    case "not configured":
      return "not within valid range: no pod subnet lists it and no record names it";
    case "never used":
      return "it is free and belongs to nobody";
    case "of another":
      return otherOwner(outcome.owner);
    case "pod runs":
      return `releasable is false, pod status ${outcome.podStatus} (${podIdText(outcome.pod)})`;
    case "busy":
      return "it is being given to a pod or changed at this moment; try again";
    case "failed":
      return outcome.reason;
    default:
      return outcome satisfies never;
  }
}

function otherOwner(owner: Owner): string {
  const key = formatOwnerKey(owner);
  if (owner.kind === "admin") {
    return `it is reserved by the administrator (${key}); give it back with DELETE /v1/reservation/IP`;
  }
  return `ip allocated to another pod ${key}`;
}
