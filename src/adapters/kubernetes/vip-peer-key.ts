// The key with which agents know each other's messages: a Secret in the namespace of their leases, made by whichever agent is first.

import { randomBytes } from "node:crypto";
import { WorldError } from "../../ports/world-error.ts";
import { textAt } from "../../wire/json-value.ts";
import { type ApiClient, segment } from "./api-client.ts";

const name = "galaxy-vip-peers";

/** Reads the key, or makes it. Rejects with a WorldError when this may be neither read nor made. */
export async function readVipPeerKey(client: ApiClient, namespace: string): Promise<Buffer> {
  const path = `/api/v1/namespaces/${segment(namespace)}/secrets`;
  const read = async () => {
    const answer = await client.readJson({
      path: `${path}/${name}`,
      tried: `read Secret ${namespace}/${name}`,
    });
    return answer.kind === "missing" ? "" : (textAt(answer.json, "data", "key") ?? "");
  };
  const found = await read();
  if (found !== "") return Buffer.from(found, "base64");
  const tried = `create Secret ${namespace}/${name}`;
  await client.write({
    method: "POST",
    path,
    body: {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name },
      data: { key: randomBytes(32).toString("base64") },
    },
    tried,
  });
  // Another agent may have been faster: what counts is what is there.
  const made = await read();
  if (made !== "") return Buffer.from(made, "base64");
  throw new WorldError("API_REJECTED", {
    tried,
    message: "it has no key; delete it, or put 32 random bytes into data.key",
  });
}
