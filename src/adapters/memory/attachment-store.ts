// The AttachmentStore that keeps its records in memory, as text, so that nobody shares an object with it.

import type { AttachmentRecord } from "../../core/attachment-record.ts";
import type { AttachmentId } from "../../core/cni-plan.ts";
import { markOf } from "../../core/cni-plan.ts";
import type { AttachmentStore } from "../../ports/attachment-store.ts";
import { formatAttachmentRecord, parseAttachmentRecord } from "../../wire/attachment-record.ts";

/** Records that last as long as the object. */
export class MemoryAttachmentStore implements AttachmentStore {
  readonly #texts = new Map<string, string>();

  async put(record: AttachmentRecord): Promise<void> {
    this.#texts.set(markOf(record.id), formatAttachmentRecord(record));
  }

  async get(id: AttachmentId): Promise<AttachmentRecord | "absent" | "unreadable"> {
    const text = this.#texts.get(markOf(id));
    if (text === undefined) return "absent";
    return parseAttachmentRecord(text) ?? "unreadable";
  }

  async all(): Promise<readonly AttachmentRecord[]> {
    return [...this.#texts.values()].flatMap((text) => parseAttachmentRecord(text) ?? []);
  }

  async remove(id: AttachmentId): Promise<void> {
    this.#texts.delete(markOf(id));
  }

  /** Leaves only the beginning of every record, as a disk may that lost power. */
  cut(): void {
    for (const [key, text] of this.#texts) this.#texts.set(key, text.slice(0, 20));
  }
}
