// /v1/vip: shared virtual IPs. The path is reserved; the answer is an empty list until the capability is there.

import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** All shared virtual IPs. */
export const listVips = endpoint({
  id: "listVips",
  method: "GET",
  path: "/v1/vip",
  topic: "virtual IPs",
  summary: "All shared virtual IPs and who holds them",
  access: { verb: "list", resource: "floatingips" },
  answers: {
    200: {
      description: "the virtual IPs",
      schema: Type.Object(
        {
          vips: Type.Array(
            Type.Object(
              {
                ip: Type.String(),
                name: Type.String(),
                namespace: Type.String(),
                holder: Type.Optional(Type.String({ description: "pod that answers for it" })),
                nodeName: Type.Optional(Type.String()),
                state: Type.String(),
              },
              { title: "api.Vip" },
            ),
          ),
        },
        { title: "api.VipList" },
      ),
    },
  },
});
