// GET /v1/vip: the records of virtual addresses as the program sees them. Asks nobody.

import { compareIps, parseIp } from "../../../core/ip.ts";
import { podIdText } from "../../../core/owner.ts";
import type { VipParty, VipRecord } from "../../../core/vip.ts";
import { explainClaimant } from "../../../core/vip-reasons.ts";
import type { VipAnswer } from "../../../wire/api/vip.ts";
import { listVips } from "../../../wire/api/vip.ts";
import { floatingIpName } from "../../../wire/crd.ts";
import { formatTime } from "../../../wire/json-value.ts";
import { notAnAddress } from "./ip-routes.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** The route of virtual IPs. @param records all of them, as last seen */
export function vipRoutes(records: () => readonly VipRecord[]): readonly Route[] {
  return [
    route(listVips, ({ query }) => {
      const ip = query.ip === undefined ? undefined : parseIp(query.ip);
      if (query.ip !== undefined && ip === undefined) return notAnAddress(query.ip, "ip");
      const vips = records()
        .filter((record) => ip === undefined || record.ip === ip)
        .filter((record) => query.namespace === undefined || concerns(record, query.namespace))
        .toSorted((a, b) => compareIps(a.ip, b.ip));
      return { status: 200, body: { vips: vips.map(answerOf) } };
    }),
  ];
}

function concerns({ holder, look }: VipRecord, namespace: string): boolean {
  return (
    holder?.pod.namespace === namespace ||
    look.candidates.some(({ pod }) => pod.namespace === namespace)
  );
}

function answerOf(record: VipRecord): VipAnswer {
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
