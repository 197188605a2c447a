// Making an attachment: plan, write down, make what is shared, ask the wire, make what is the pod's own. Whatever fails is undone.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import { functionUses, stepsOf } from "../core/attachment-record.ts";
import type { AttachmentPlan, AttachmentRequest } from "../core/cni-plan.ts";
import { markOf, planAttachment, sysctlsToRead } from "../core/cni-plan.ts";
import type { CniRefusal, CniResult } from "../core/cni-result.ts";
import { cniCode } from "../core/cni-result.ts";
import type { NetStep, NetworkFacts } from "../core/net-model.ts";
import { missingSteps } from "../core/net-model.ts";
import { undoAttachment } from "./cni-del.ts";
import type { NodePorts } from "./network-facts.ts";
import { containerLock, lockLimitMs, readFacts, sharedLock } from "./network-facts.ts";

/** How long the wire is given to answer for an address that is to be ours. */
const probeLimitMs = 250;

/** What an attachment came to. */
export type AddOutcome =
  | { readonly kind: "added"; readonly result: CniResult; readonly record: AttachmentRecord }
  | CniRefusal;

/**
 * Makes the attachment, or finds it made. After a refusal or a rejection nothing of it is left, unless undoing failed too, which the
 * record then stays for. Neighbours are not told here: {@link announceAttachment}.
 */
export async function addAttachment(
  ports: NodePorts,
  request: AttachmentRequest,
): Promise<AddOutcome> {
  return ports.locks.withLock(containerLock(request.id), lockLimitMs, async () => {
    const begun = await begin(ports, request);
    if ("kind" in begun) return begun;
    const { record, plan, facts } = begun;
    try {
      const conflicts = await ports.announcer.probe(plan.probes, probeLimitMs);
      const [conflict] = conflicts;
      if (conflict !== undefined) {
        await undoAttachment(ports, record, "rollback");
        return {
          kind: "refused",
          code: cniCode.addressInUse,
          message: `address ${conflict.ip} is in use on the wire: ${conflict.mac} answers for it on ${conflict.link}; find that machine, or release the address, or set conflict_check to false`,
        };
      }
      const { netns } = request;
      const { steps } = plan;
      // What an interrupted ADD left goes first, so that what is made then is judged by what is really there.
      const leftovers = steps.filter((step) => step.do.startsWith("no "));
      if (leftovers.length > 0) await ports.network.apply(leftovers, { netns });
      // Nobody else touches this container meanwhile. What was not read (a route, a value) counts as missing, and making it
      // again changes nothing.
      const now =
        leftovers.length === 0 ? facts : await readFacts(ports.network, netns, record.steps);
      await ports.network.apply(missingSteps(record.steps, now), { netns });
      const complete = { ...record, isComplete: true };
      await ports.store.put(complete);
      return { kind: "added", result: record.result, record: complete };
    } catch (error) {
      await undoAfter(ports, record, error);
      throw error;
    }
  });
}

/** Writes the record and makes the shared parts, while nobody else changes either. */
async function begin(
  ports: NodePorts,
  request: AttachmentRequest,
): Promise<{ record: AttachmentRecord; plan: AttachmentPlan; facts: NetworkFacts } | CniRefusal> {
  return ports.locks.withLock(sharedLock, lockLimitMs, async () => {
    const mark = markOf(request.id);
    const others = (await ports.store.all()).filter(({ id }) => markOf(id) !== mark);
    const before = await ports.store.get(request.id);
    await ensureFunctions(ports, request);
    const facts = await readForPlan(ports, request);
    const known = typeof before === "string" ? others : [before, ...others];
    const undoInForce = new Map<string, readonly NetStep[]>();
    for (const { shared } of known) {
      for (const { key, undo } of shared) if (!undoInForce.has(key)) undoInForce.set(key, undo);
    }
    const outcome = planAttachment(request, facts, undoInForce, functionUses(known));
    if (outcome.kind === "refused") return outcome;
    const { plan } = outcome;
    const record: AttachmentRecord = {
      id: request.id,
      netns: request.netns,
      shared: plan.shared,
      // What clears the way for this ADD is no state that a later check could find missing.
      steps: plan.steps.filter((step) => !step.do.startsWith("no ")),
      undo: plan.undo,
      announcements: plan.announcements,
      result: plan.result,
      createdAtMs: ports.clock.nowMs(),
      isComplete: false,
    };
    const shared = stepsOf({ shared: plan.shared, steps: [] });
    const missing = missingSteps(shared, await withSysctls(ports, facts, shared));
    await ports.store.put(record);
    try {
      if (missing.length > 0) await ports.network.apply(missing, { netns: undefined });
    } catch (error) {
      // Only here, where the lock is held already, the way back is taken without it.
      const back = plan.shared
        .filter(({ key }) => !undoInForce.has(key))
        .toReversed()
        .flatMap(({ undo, rollback }) => rollback ?? undo);
      try {
        await ports.network.apply(back, { netns: undefined });
        await ports.store.remove(request.id);
      } catch (undoError) {
        // The record stays, so that DEL can do what could not be done here.
        ports.log.error("shared devices could not be undone", { mark }, undoError);
      }
      throw error;
    }
    return { record, plan, facts };
  });
}

/** An SR-IOV card has to have functions before one can be chosen. */
async function ensureFunctions(ports: NodePorts, request: AttachmentRequest): Promise<void> {
  const { mode, devices, mostFunctions } = request.config;
  if (mode !== "sriov") return;
  const { links } = await ports.network.readHost({ routesOf: [], routesTo: [] });
  const pf = devices.find((name) => links.some((link) => link.name === name));
  if (pf === undefined) return;
  const step: NetStep = { do: "functions", pf, count: mostFunctions };
  const facts = await readFacts(ports.network, undefined, [step]);
  await ports.network.apply(missingSteps([step], facts), { netns: undefined });
}

async function readForPlan(ports: NodePorts, request: AttachmentRequest): Promise<NetworkFacts> {
  const { network } = ports;
  const [host, pod] = await Promise.all([
    network.readHost({
      routesOf: request.config.devices,
      routesTo: [],
      functionsOf: request.config.mode === "sriov" ? request.config.devices : [],
    }),
    network.readPod(request.netns),
  ]);
  const sysctls = await network.readSysctls(undefined, sysctlsToRead(request, host));
  return { host: { ...host, sysctls }, pod };
}

/** The same facts with the sysctls that the steps are about. */
async function withSysctls(
  ports: NodePorts,
  facts: NetworkFacts,
  steps: readonly NetStep[],
): Promise<NetworkFacts> {
  const keys = steps.flatMap((step) => (step.do === "sysctl" ? [step.key] : []));
  const sysctls = await ports.network.readSysctls(undefined, keys);
  return { ...facts, host: { ...facts.host, sysctls: { ...facts.host.sysctls, ...sysctls } } };
}

async function undoAfter(
  ports: NodePorts,
  record: AttachmentRecord,
  cause: unknown,
): Promise<void> {
  const { containerId: container, network } = record.id;
  try {
    await undoAttachment(ports, record, "rollback");
  } catch (error) {
    ports.log.error(
      "an ADD that failed could not be undone, DEL will do it",
      {
        container,
        network,
        because: cause instanceof Error ? cause.message : String(cause),
      },
      error,
    );
  }
}

/**
 * Tells the neighbours, several times because nobody confirms; meant to run beside the answer to ADD. Failures are logged.
 * @param pausesMs pauses before each time
 */
export async function announceAttachment(
  ports: Pick<NodePorts, "announcer" | "clock" | "log">,
  record: AttachmentRecord,
  pausesMs: readonly number[],
): Promise<void> {
  for (const pauseMs of pausesMs) {
    if (pauseMs > 0) await new Promise<void>((resolve) => ports.clock.after(pauseMs, resolve));
    try {
      await ports.announcer.announce(record.announcements, record.netns);
    } catch (error) {
      ports.log.warn(
        "neighbours were not told about an address",
        {
          container: record.id.containerId,
          ips: record.announcements.flatMap(({ ips }) => ips),
        },
        error,
      );
    }
  }
}
