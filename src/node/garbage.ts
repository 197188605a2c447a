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
  isWanted: (record: AttachmentRecord) => boolean | Promise<boolean>,
  youngestMs: number,
): Promise<number> {
  let undone = 0;
  for (const record of await ports.store.all()) {
    if (ports.clock.nowMs() - record.createdAtMs < youngestMs) continue;
    const { containerId: container, network } = record.id;
    try {
      if (await isWanted(record)) continue;
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

/**
 * Undoes attachments whose namespace is gone, as after a restart of the machine: no pod can use them any more, and a DEL that
 * comes all the same finds nothing to do.
 * @param isSeen whether the namespace of that attachment would be seen from here if it were there. A daemon in a container does not see those
 * that other runtimes keep for plugins which they call themselves
 */
export async function collectGone(
  ports: NodePorts,
  youngestMs: number,
  isSeen: (record: AttachmentRecord) => boolean,
): Promise<number> {
  const isWanted = async (record: AttachmentRecord) =>
    !isSeen(record) || (await ports.network.readPod(record.netns)) !== undefined;
  return collectGarbage(ports, isWanted, youngestMs);
}
