// Makes calls of a port fail in the ways in which networks fail, as a plan says. For tests; nothing random happens here.

import type { AllocationStore } from "../../ports/allocation-store.ts";
import type { ClusterView } from "../../ports/cluster-view.ts";
import type { PodBinder } from "../../ports/pod-binder.ts";
import type { PoolStore } from "../../ports/pool-store.ts";
import { WorldError } from "../../ports/world-error.ts";

/** Calls that reach the world; everything else is passed on as it is. */
const remoteCalls = [
  "list",
  "read",
  "create",
  "update",
  "remove",
  "write",
  "writeStatus",
  "bind",
  "readPod",
  "readNode",
  "readOwnershipOf",
  "readWorkload",
] as const;

/** Name of a call that can fail. */
export type RemoteCall = (typeof remoteCalls)[number];

/**
 * What happens to a call.
 * - `ok`: it goes through
 * - `fail`: it does not happen, and the error says so
 * - `lost`: it does not happen, but the error says that it may have
 * - `fail-after-applied`: it happens, but the error only says that it may have
 * - `slow`: it happens once `until` settles, and is answered then
 * - `slow-answer`: it happens at once and is answered once `until` settles
 * - `applied-late`: the error comes at once and says that it may have happened; it happens once `until` settles
 */
export type Fault =
  | "ok"
  | "fail"
  | "lost"
  | "fail-after-applied"
  | { readonly kind: "slow" | "slow-answer" | "applied-late"; readonly until: Promise<unknown> };

/** Decides about each call: `count` is 1 for the first call of that name; `args` are the call's own. */
export type FaultPlan = (call: {
  readonly name: RemoteCall;
  readonly count: number;
  readonly args: readonly unknown[];
}) => Fault;

/** The same port with faults. What is lost or late is a WorldError API_TIMEOUT, what failed one of code API_UNAVAILABLE. */
export function withFaults<Port extends AllocationStore | PoolStore | PodBinder | ClusterView>(
  port: Port,
  plan: FaultPlan,
): Port {
  const counts = new Map<RemoteCall, number>();
  return new Proxy(port, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      const name = remoteCalls.find((call) => call === property);
      // Classes with private members accept only themselves as `this`, not the proxy.
      if (name === undefined) return member.bind(target);
      return async (...args: unknown[]): Promise<unknown> => {
        const count = (counts.get(name) ?? 0) + 1;
        counts.set(name, count);
        const apply = async () => (await Reflect.apply(member, target, args)) as unknown;
        return carryOut(plan({ name, count, args }), `${name} (call ${count})`, apply);
      };
    },
  });
}

async function carryOut(
  fault: Fault,
  tried: string,
  apply: () => Promise<unknown>,
): Promise<unknown> {
  if (fault === "ok") return apply();
  if (fault === "fail") {
    throw new WorldError("API_UNAVAILABLE", {
      tried,
      message: "planned failure, not applied; try again",
    });
  }
  if (fault === "lost") throw unknownOutcome(tried);
  if (fault === "fail-after-applied") {
    await apply();
    throw unknownOutcome(tried);
  }
  switch (fault.kind) {
    case "slow":
      await fault.until;
      return apply();
    case "slow-answer": {
      const answer = await apply();
      await fault.until;
      return answer;
    }
    case "applied-late":
      // The caller has its answer already, so that a late failure has nobody to tell.
      fault.until.then(apply).catch(() => undefined);
      throw unknownOutcome(tried);
    default:
      return fault.kind satisfies never;
  }
}

function unknownOutcome(tried: string): WorldError {
  return new WorldError("API_TIMEOUT", {
    tried,
    message: "planned loss of the answer; read back what is there",
    mayHaveHappened: true,
  });
}
