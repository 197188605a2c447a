// The body of every answer from 400 on, and the envelope that the established answers share. Not the texts: who refuses says why.

import type { Static } from "typebox";
import { Type } from "typebox";

/** What went wrong. `code` and `message` are the established fields. */
export const problemSchema = Type.Object(
  {
    code: Type.Integer({ description: "the HTTP status code" }),
    message: Type.String({ description: "what is wrong with which value, and what to do next" }),
    requestId: Type.Optional(
      Type.String({ description: "the number under which the server's log has the request" }),
    ),
    errorCode: Type.Optional(
      Type.String({ description: "stable name of the error, as in docs/errors.md" }),
    ),
    field: Type.Optional(
      Type.String({ description: "the parameter, or the path in the body, that is wrong" }),
    ),
    leader: Type.Optional(
      Type.String({ description: "who leads, when this replica may not answer" }),
    ),
  },
  { title: "api.Problem" },
);

/** {@link problemSchema} */
export type Problem = Static<typeof problemSchema>;

/** Always empty; the established documents name it. */
const contentSchema = Type.Object({}, { title: "httputil.Resp.content" });

/** Fields of the established answers to a change. */
export const envelopeFields = {
  code: Type.Integer({ format: "int32" }),
  message: Type.String(),
  content: Type.Optional(contentSchema),
};

/** The established answer to a change that has nothing else to say. */
export const envelopeSchema = Type.Object(envelopeFields, { title: "httputil.Resp" });
