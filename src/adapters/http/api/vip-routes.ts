// GET /v1/vip: the records of virtual addresses as the program sees them. Asks nobody.

import type { Ip } from "../../../core/ip.ts";
import { compareIps, ipToNumber, parseIp } from "../../../core/ip.ts";
import { rangeContains } from "../../../core/ip-range.ts";
import { podIdText } from "../../../core/owner.ts";
import type { VipParty, VipRecord } from "../../../core/vip.ts";
import type { VipPool } from "../../../core/vip-holder.ts";
import { explainClaimant } from "../../../core/vip-reasons.ts";
import type { VipAnswer } from "../../../wire/api/vip.ts";
import { listVips } from "../../../wire/api/vip.ts";
import { floatingIpName } from "../../../wire/crd.ts";
import { formatTime } from "../../../wire/json-value.ts";
import { notAnAddress } from "./ip-routes.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** The route of virtual IPs, over all records and pools as last seen. */
export function vipRoutes(
  records: () => readonly VipRecord[],
  pools: () => readonly VipPool[],
): readonly Route[] {
  return [
    route(listVips, ({ query }) => {
      const ip = query.ip === undefined ? undefined : parseIp(query.ip);
      if (query.ip !== undefined && ip === undefined) return notAnAddress(query.ip, "ip");
      const vips = records()
        .filter((record) => ip === undefined || record.ip === ip)
        .filter((record) => query.namespace === undefined || concerns(record, query.namespace))
        .toSorted((a, b) => compareIps(a.ip, b.ip));
      const asked = ip === undefined ? {} : { pools: poolsOf(ip, pools()) };
      const body = { vips: vips.map((vip) => answerOf(vip, poolsOf(vip.ip, pools()))), ...asked };
      return { status: 200, body };
    }),
  ];
}

function poolsOf(ip: Ip, pools: readonly VipPool[]): string[] {
  const value = ipToNumber(ip);
  return pools
    .filter(({ ranges }) => ranges.some((range) => rangeContains(range, value)))
    .map(({ name }) => name);
}

function concerns({ holder, look }: VipRecord, namespace: string): boolean {
  return (
    holder?.pod.namespace === namespace ||
    look.candidates.some(({ pod }) => pod.namespace === namespace)
  );
}

function answerOf(record: VipRecord, pools: string[]): VipAnswer {
  const { epoch, foreignOwner, grantedAtMs, holder, ip, look, transition } = record;
  return {
    ip,
    name: floatingIpName(ip),
    namespace: (holder ?? look.candidates[0])?.pod.namespace ?? "",
    state: look.state,
    reason: look.reason,
    message: look.message,
    ...(holder === undefined
      ? {}
      : { holder: podIdText(holder.pod), nodeName: holder.nodeName, podIp: holder.podIp }),
    pools,
    epoch,
    ...(grantedAtMs === 0 ? {} : { since: formatTime(grantedAtMs) }),
    candidates: look.candidates.map((claimant) => ({
      pod: podIdText(claimant.pod),
      nodeName: claimant.nodeName,
      ...(claimant.reason === undefined ? {} : { reason: claimant.reason }),
      message: explainClaimant(record, claimant),
    })),
    ...(transition === undefined
      ? {}
      : {
          lastTransition: {
            ...named("from", transition.from),
            ...named("to", transition.to),
            reason: transition.reason,
            at: formatTime(transition.atMs),
            ...(transition.detectMs === undefined ? {} : { detectMs: transition.detectMs }),
            decideMs: transition.decideMs,
            ...(transition.programMs === undefined ? {} : { programMs: transition.programMs }),
          },
        }),
    ...(foreignOwner === undefined ? {} : { foreignOwner }),
  };
}

function named<Member extends string>(member: Member, party: VipParty | undefined) {
  return (party === undefined ? {} : { [member]: podIdText(party.pod) }) as {
    readonly [Name in Member]?: string;
  };
}
