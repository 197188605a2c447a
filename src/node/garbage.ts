// Attachments of containers that nobody has any more: undone like any DEL, from their records.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import { delAttachment } from "./cni-del.ts";
import type { NodePorts } from "./network-facts.ts";

/**
 * Undoes attachments that are not to be kept.
 * @param isWanted whether somebody still has it; asked only for those older than `youngestMs`, because a runtime lists a container only
 * after its network was made
 * @returns how many were undone; a failure is logged, and the attachment stays for the next time
 */
export async function collectGarbage(
  ports: NodePorts,
  isWanted: (record: AttachmentRecord) => boolean,
  youngestMs: number,
): Promise<number> {
  let undone = 0;
  for (const record of await ports.store.all()) {
    if (ports.clock.nowMs() - record.createdAtMs < youngestMs || isWanted(record)) continue;
    const { containerId: container, network } = record.id;
    try {
      await delAttachment(ports, record.id);
      undone += 1;
      ports.log.info("network of a container that is gone was removed", { container, network });
    } catch (error) {
      ports.log.warn(
        "garbage could not be removed, it is tried again",
        { container, network },
        error,
      );
    }
  }
  return undone;
}
