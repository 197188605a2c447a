// What is known about an attachment that was made or begun: enough to undo, check and repair it without asking anybody.

import type { Announcement, AttachmentId, FunctionUse, SharedPart } from "./cni-plan.ts";
import { markOf } from "./cni-plan.ts";
import type { CniResult } from "./cni-result.ts";
import type { NetStep } from "./net-model.ts";

/** An attachment as it was meant to be. */
export type AttachmentRecord = {
  readonly id: AttachmentId;
  readonly netns: string;
  /** Parts that other attachments may use too; they come before `steps`. */
  readonly shared: readonly SharedPart[];
  /** What shall hold, in order. */
  readonly steps: readonly NetStep[];
  readonly undo: readonly NetStep[];
  readonly announcements: readonly Announcement[];
  readonly result: CniResult;
  readonly createdAtMs: number;
  /** Whether ADD came to its end. */
  readonly isComplete: boolean;
};

/** Everything that shall hold for an attachment, in order. */
export function stepsOf(record: Pick<AttachmentRecord, "shared" | "steps">): NetStep[] {
  return [...record.shared.flatMap(({ steps }) => steps), ...record.steps];
}

/** The virtual functions that attachments have, from before the first effect until nothing of it is left. */
export function functionUses(records: readonly AttachmentRecord[]): FunctionUse[] {
  return records.flatMap(({ id, undo }) =>
    undo.flatMap((step) => {
      if (step.do !== "no moved link") return [];
      const { pf, index, link, name } = step;
      const own = undo.filter(
        (other) => "index" in other && other.pf === pf && other.index === index,
      );
      return [{ pf, index, link, name, mark: markOf(id), undo: own }];
    }),
  );
}
