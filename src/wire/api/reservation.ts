// /v1/reservation/{ip}: an administrator takes an address out of allocation and gives it back.

import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";
import { envelopeSchema } from "./problem.ts";

const ipParams = Type.Object({ ip: Type.String({ description: "IPv4 or IPv6 address" }) });

/** Takes an address out of allocation; once more is the same as once. */
export const putReservation = endpoint({
  id: "putReservation",
  method: "PUT",
  path: "/v1/reservation/{ip}",
  topic: "reservations",
  summary: "Take an address out of allocation",
  access: { verb: "create", resource: "floatingips" },
  changes: true,
  params: ipParams,
  body: Type.Object(
    {
      reason: Type.Optional(
        Type.String({
          maxLength: 253,
          description: "why; stands in the record as its key",
        }),
      ),
    },
    { title: "api.Reservation", additionalProperties: false },
  ),
  answers: {
    200: { description: "the address is reserved by the administrator", schema: envelopeSchema },
    404: { description: "no pod subnet has the address" },
    409: { description: "somebody has the address; the message says who" },
  },
});

/** Gives an address back to allocation. */
export const deleteReservation = endpoint({
  id: "deleteReservation",
  method: "DELETE",
  path: "/v1/reservation/{ip}",
  topic: "reservations",
  summary: "Give a reserved address back to allocation",
  access: { verb: "delete", resource: "floatingips" },
  changes: true,
  params: ipParams,
  answers: {
    200: { description: "the address is free", schema: envelopeSchema },
    404: { description: "the address is not reserved by the administrator" },
  },
});
