// Undoing an attachment: from its record, else from the marks on devices. Succeeds when there is nothing (left) to undo, and says so
// only after it looked.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import type { AttachmentId, SharedPart } from "../core/cni-plan.ts";
import { markOf } from "../core/cni-plan.ts";
import type { NamespaceFacts, NetStep } from "../core/net-model.ts";
import { describeStep, missingSteps } from "../core/net-model.ts";
import { WorldError } from "../ports/world-error.ts";
import type { NodePorts } from "./network-facts.ts";
import { containerLock, lockLimitMs, readFacts, sharedLock } from "./network-facts.ts";

/**
 * Removes everything that belongs to the attachment, and the parts that it was the last to use. Needs neither the pod's namespace nor
 * anybody's permission. Rejects with a WorldError when something could not be removed; the record stays then, and DEL can be repeated.
 */
export async function delAttachment(ports: NodePorts, id: AttachmentId): Promise<void> {
  await ports.locks.withLock(containerLock(id), lockLimitMs, async () => {
    const record = await ports.store.get(id);
    if (record === "absent" || record === "unreadable") {
      if (record === "unreadable") {
        ports.log.warn(
          "state of an attachment is unreadable, its devices are found by their mark",
          {
            container: id.containerId,
            network: id.network,
          },
        );
      }
      await removeByMark(ports, id);
      if (record === "unreadable") await ports.store.remove(id);
      return;
    }
    await undoAttachment(ports, record, "undo");
  });
}

/**
 * Undoes a record and removes it; the caller holds the container's lock.
 * @param how `rollback` after an ADD that failed: shared parts that nobody else uses go back to what was before
 */
export async function undoAttachment(
  ports: NodePorts,
  record: AttachmentRecord,
  how: "undo" | "rollback",
): Promise<void> {
  const { netns, shared, undo } = record;
  await carryOut(ports, netns, undo);
  if (shared.length === 0) {
    await ports.store.remove(record.id);
    return;
  }
  await ports.locks.withLock(sharedLock, lockLimitMs, async () => {
    const mark = markOf(record.id);
    const others = (await ports.store.all()).filter(({ id }) => markOf(id) !== mark);
    const inUse = new Set(others.flatMap((other) => other.shared.map(({ key }) => key)));
    for (const part of shared.toReversed()) {
      if (inUse.has(part.key)) continue;
      const steps = how === "rollback" ? (part.rollback ?? part.undo) : part.undo;
      await removePart(ports, part, steps);
    }
    await ports.store.remove(record.id);
  });
}

async function removePart(
  ports: NodePorts,
  part: SharedPart,
  steps: readonly NetStep[],
): Promise<void> {
  if (steps.length === 0) return;
  const { host } = await readFacts(ports.network, undefined, steps);
  const users = foreignUsers(host, steps);
  if (users.length > 0) {
    ports.log.warn("a device of ours is kept because others use it", { part: part.key, users });
    return;
  }
  await carryOut(ports, undefined, steps);
}

/** Devices that stand on those that are to go, or are ports of them, and are not part of it. */
function foreignUsers(host: NamespaceFacts, steps: readonly NetStep[]): string[] {
  const going = new Set(steps.flatMap((step) => (step.do === "no link" ? [step.name] : [])));
  const released = new Set(steps.flatMap((step) => (step.do === "no master" ? [step.link] : [])));
  return host.links
    .filter(
      ({ name, master, parent, kind }) =>
        !going.has(name) &&
        ((going.has(master) && !released.has(name)) || (going.has(parent) && kind !== "veth")),
    )
    .map(({ name }) => name);
}

/** How often removing is tried: something that goes can take something else with it, which then fails to be removed. */
const mostRounds = 3;

/** Takes steps that remove, and looks whether they worked. */
async function carryOut(
  ports: NodePorts,
  netns: string | undefined,
  steps: readonly NetStep[],
): Promise<void> {
  if (steps.length === 0) return;
  let left: readonly NetStep[] = steps;
  for (let round = 0; ; round += 1) {
    const facts = await readFacts(ports.network, netns, steps);
    left = missingSteps(steps, facts);
    if (left.length === 0) return;
    if (round === mostRounds) break;
    const place = facts.pod === undefined ? undefined : netns;
    await ports.network.apply(left, { netns: place });
  }
  throw new WorldError("NETWORK_CHANGE_FAILED", {
    tried: `make ${left.map(describeStep).join(", ")}`,
    message: "it was tried and is not so; DEL can be repeated",
  });
}

/** Without a record the mark on a device of the host is what says whose it is; shared devices go with somebody else's record. */
async function removeByMark(ports: NodePorts, id: AttachmentId): Promise<void> {
  const mark = markOf(id);
  const host = await ports.network.readHost({ routesOf: [], routesTo: [] });
  const steps = host.links
    // A virtual function cannot be deleted: it comes back when its pod's namespace ends, and the next ADD that takes it sets it anew.
    .filter(({ alias, kind }) => alias === mark && kind !== "")
    .map(({ name }): NetStep => ({ do: "no link", place: "host", name, alias: mark }));
  await carryOut(ports, undefined, steps);
}
