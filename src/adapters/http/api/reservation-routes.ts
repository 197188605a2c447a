// /v1/reservation/{ip}: an administrator takes an address out of allocation and gives it back.

import { parseIp } from "../../../core/ip.ts";
import { describeOwner } from "../../../core/owner.ts";
import type { Admin } from "../../../ipam/admin.ts";
import { deleteReservation, putReservation } from "../../../wire/api/reservation.ts";
import { notAnAddress } from "./ip-routes.ts";
import type { Route } from "./route.ts";
import { problem, route } from "./route.ts";

/** What stands in the record when nobody says why. */
const usualReason = "reserved";

const done = { status: 200, body: { code: 200, message: "" } } as const;

/** The routes of reservations. */
export function reservationRoutes(admin: Admin): readonly Route[] {
  return [
    route(putReservation, async ({ params, body }) => {
      const ip = parseIp(params.ip);
      if (ip === undefined) return notAnAddress(params.ip, "ip");
      const reason = body.reason === undefined || body.reason === "" ? usualReason : body.reason;
      const outcome = await admin.reserve(ip, reason);
      switch (outcome.kind) {
        case "reserved":
          return done;
        case "not configured":
          return problem(404, `no pod subnet lists ${ip}; there is nothing to reserve`);
        case "in use":
          return problem(
            409,
            `${ip} belongs to ${describeOwner(outcome.owner)}; release it first, or wait until its pod is gone`,
          );
        case "busy":
          return problem(
            409,
            `${ip} is promised to a pod that is being scheduled, or is changing; try again in a moment`,
          );
        default:
          return outcome satisfies never;
      }
    }),
    route(deleteReservation, async ({ params }) => {
      const ip = parseIp(params.ip);
      if (ip === undefined) return notAnAddress(params.ip, "ip");
      const outcome = await admin.unreserve(ip);
      if (outcome === "free") return done;
      return outcome === "busy"
        ? problem(409, `${ip} is changing; try again in a moment`)
        : problem(404, `${ip} is not reserved by the administrator`);
    }),
  ];
}
