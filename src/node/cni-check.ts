// Looking whether attachments still are what they were made as, and making them so again: a network restart of the node takes routes,
// neighbours and rules away, and nobody tells.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import { stepsOf } from "../core/attachment-record.ts";
import type { AttachmentId } from "../core/cni-plan.ts";
import type { CniRefusal } from "../core/cni-result.ts";
import { cniCode } from "../core/cni-result.ts";
import type { NetStep } from "../core/net-model.ts";
import { describeStep, missingSteps } from "../core/net-model.ts";
import type { NodePorts } from "./network-facts.ts";
import { containerLock, lockLimitMs, readFacts } from "./network-facts.ts";

/** `whole`, or what is missing. */
export type CheckOutcome = { readonly kind: "whole" } | CniRefusal;

/** Compares an attachment with its record. */
export async function checkAttachment(ports: NodePorts, id: AttachmentId): Promise<CheckOutcome> {
  const record = await ports.store.get(id);
  if (record === "absent" || record === "unreadable") {
    return {
      kind: "refused",
      code: cniCode.unknownContainer,
      message: `container ${id.containerId} has no ${record === "absent" ? "" : "readable "}state for network ${id.network}; repeat ADD`,
    };
  }
  const missing = await missingOf(ports, record);
  if (missing === "gone") {
    return {
      kind: "refused",
      code: cniCode.unknownContainer,
      message: `network namespace ${record.netns} of container ${id.containerId} does not exist`,
    };
  }
  if (missing.length === 0) return { kind: "whole" };
  return {
    kind: "refused",
    code: cniCode.checkFailed,
    message: `missing: ${missing.map(describeStep).join(", ")}; the daemon restores it within its repair interval, or repeat ADD`,
  };
}

/**
 * Restores what is missing from the attachment.
 * @returns what was restored, in words; empty when nothing was missing or the pod is gone
 */
export async function repairAttachment(
  ports: NodePorts,
  id: AttachmentId,
): Promise<readonly string[]> {
  return ports.locks.withLock(containerLock(id), lockLimitMs, async () => {
    const record = await ports.store.get(id);
    if (typeof record === "string" || !record.isComplete) return [];
    const missing = await missingOf(ports, record);
    if (missing === "gone" || missing.length === 0) return [];
    await ports.network.apply(missing, { netns: record.netns });
    return missing.map(describeStep);
  });
}

async function missingOf(ports: NodePorts, record: AttachmentRecord): Promise<NetStep[] | "gone"> {
  const steps = stepsOf(record);
  const facts = await readFacts(ports.network, record.netns, steps);
  return facts.pod === undefined ? "gone" : missingSteps(steps, facts);
}

/**
 * Repairs every attachment of the node, one after the other; a failure of one is logged and does not keep the others from it.
 * @returns of how many something was missing and was restored, or could not be
 */
export async function repairAll(
  ports: NodePorts,
): Promise<{ readonly restored: number; readonly failed: number }> {
  let [restoredCount, failed] = [0, 0];
  for (const { id } of await ports.store.all()) {
    try {
      const restored = await repairAttachment(ports, id);
      if (restored.length > 0) {
        restoredCount += 1;
        ports.log.info("network of a pod repaired", { container: id.containerId, restored });
      }
    } catch (error) {
      failed += 1;
      ports.log.warn(
        "network of a pod could not be repaired, it is tried again",
        { container: id.containerId },
        error,
      );
    }
  }
  return { restored: restoredCount, failed };
}
