// The PodConditions port: writes a condition of a pod about its virtual addresses: whether it holds them, or what a probe of it found. Decides
// nothing.

import type { PodId } from "../../core/owner.ts";
import { podIdText } from "../../core/owner.ts";
import type { HolderCondition, PodConditions } from "../../ports/vip-claims.ts";
import { formatTime } from "../../wire/json-value.ts";
import { vipHolderCondition } from "../../wire/vip-claim.ts";
import { type ApiClient, segment } from "./api-client.ts";

/** Writes to an API server. */
export class KubernetesPodConditions implements PodConditions {
  readonly #client: ApiClient;
  readonly #type: string;

  /** @param type of the condition that is written */
  constructor(client: ApiClient, type: string = vipHolderCondition) {
    this.#client = client;
    this.#type = type;
  }

  async tell(
    pod: { readonly id: PodId; readonly uid: string },
    condition: HolderCondition,
  ): Promise<"told" | "gone"> {
    const { id, uid } = pod;
    const answer = await this.#client.write({
      method: "PATCH",
      path: `/api/v1/namespaces/${segment(id.namespace)}/pods/${segment(id.name)}/status`,
      body: {
        // Another pod of the name is another uid, which the API server refuses.
        metadata: { uid },
        status: {
          conditions: [
            {
              type: this.#type,
              status: condition.isHolder ? "True" : "False",
              reason: condition.reason,
              message: condition.message,
              lastTransitionTime: formatTime(Date.now()),
            },
          ],
        },
      },
      tried: `write condition ${this.#type} of pod ${podIdText(id)}`,
      mergesLists: true,
    });
    return answer.kind === "done" ? "told" : "gone";
  }
}
