// What the node side keeps about attachments, so that they can be undone, checked and repaired without asking anybody.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import type { AttachmentId } from "../core/cni-plan.ts";

/** Records of attachments. Every method rejects with a WorldError (`NODE_STATE_FAILED`). */
export interface AttachmentStore {
  /** Replaces the record as a whole; after it resolved, the end of the process does not lose it. That of the machine may: what it is about is gone then. */
  put(record: AttachmentRecord): Promise<void>;
  /** `unreadable` when there is a record that cannot be understood. */
  get(id: AttachmentId): Promise<AttachmentRecord | "absent" | "unreadable">;
  /** All records that can be understood. */
  all(): Promise<readonly AttachmentRecord[]>;
  /** Removes the record; absent is fine. */
  remove(id: AttachmentId): Promise<void>;
}
