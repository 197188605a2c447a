// Defects as real systems had them, each a replacement of one place in the product's text. The simulator must find every one of them;
// they exist only in memory while `sim/defects/run.ts` runs.

/** A place of the product's text and what stands there instead. */
export type Edit = {
  /** How the path of the file ends. */
  readonly file: string;
  /** Text that occurs once in the file. */
  readonly find: string;
  readonly replace: string;
};

/** A planted defect. */
export type Defect = Edit & {
  readonly name: string;
  /** What goes wrong, for the table. */
  readonly breaks: string;
  /** Where a second line of defence makes up for the one place, that is taken away too: both together are the defect. */
  readonly also?: readonly Edit[];
};

const allocator = "src/ipam/allocator.ts";
const scheduling = "src/ipam/scheduling.ts";
const reclaim = "src/ipam/reclaim.ts";
const reconfigure = "src/ipam/reconfigure.ts";
const service = "src/ipam/ipam-service.ts";
const table = "src/core/allocation-table.ts";
const decideFilter = "src/core/decide-filter.ts";
const decideReclaim = "src/core/decide-reclaim.ts";
const decidePool = "src/core/decide-pool.ts";
const pick = "src/core/pick.ts";
const idle = "src/ipam/idle-addresses.ts";
const decideIdle = "src/core/decide-idle.ts";

/** What the watch shows of a write while it is under way is thrown away. */
const echoIgnored: Edit = {
  file: allocator,
  find: "    if (seen.at(-1) !== version) void this.#verify(ip);\n",
  replace: "    if (seen.length > 1e6) void version;\n",
};

/** All of them. */
export const defects: readonly Defect[] = [
  {
    name: "commit after await",
    breaks: "what bind decided is carried out after others could take the address",
    file: scheduling,
    find: "      const decision = decideBind(context, allocator.view, zone);\n",
    replace:
      "      const decision = decideBind(context, allocator.view, zone);\n      await cluster.readNode(nodeName);\n",
    also: [
      {
        file: allocator,
        find: '      if (phase !== undefined && phase !== "idle") return { kind: "lost", ip };\n      const holder',
        replace: "      const holder",
      },
      {
        file: allocator,
        find: '      if (before !== undefined && !mayGoTo(before, request)) return { kind: "lost", ip };\n',
        replace: "      void mayGoTo;\n      void before;\n",
      },
    ],
  },
  {
    name: "promise after await",
    breaks: "what filter decided is promised after others could take the address",
    file: scheduling,
    find: "    this.#hold(context, decision.plans);\n",
    replace:
      "    await this.#ports.cluster.readPod(pod.id).catch(() => {});\n    this.#hold(context, decision.plans);\n",
  },
  {
    name: "filter commits",
    breaks: "filter writes records instead of promising (D-6)",
    file: scheduling,
    find: "    this.#hold(context, decision.plans);\n",
    replace:
      '    this.#hold(context, decision.plans);\n    const [plan] = decision.plans.values();\n    if (plan?.kind === "plan") await allocator.take({ addresses: plan.addresses, owner: ownerOfPod(context), policy: pod.policy, podUid: pod.uid, nodeName: "" }).catch(() => {});\n',
  },
  {
    name: "error of a write taken as no",
    breaks: "an address is free again although its record may have been written",
    file: allocator,
    find: "      if (!(error instanceof WorldError && error.mayHaveHappened)) {\n        this.#revert(ip, before, origin);",
    replace: "      if (error !== undefined) {\n        this.#revert(ip, before, origin);",
    also: [echoIgnored],
  },
  {
    name: "error of a release taken as yes",
    breaks: "an address is free although its record may still be there",
    file: allocator,
    find: '      if (found === "unknown") throw error;\n      if (found !== undefined) {\n        this.#settle(ip, allocation, found);\n        throw error;\n      }\n    }\n    this.#noteGivenUp(allocation);\n',
    replace: "    }\n    this.#noteGivenUp(allocation);\n",
  },
  {
    name: "free in memory before the store",
    breaks: "an address is given away while its record is being removed",
    file: allocator,
    find: '    this.#table.setPhase(ip, "leaving");\n',
    replace: '    this.#table.drop(ip, { kind: "released", atMs: this.#ports.clock.nowMs() });\n',
  },
  {
    name: "unsettled taken as free",
    breaks: "a record whose write had an unknown outcome is forgotten",
    file: allocator,
    find: '      this.#table.setPhase(ip, "unsettled");\n      this.#afterWrite(ip);\n',
    replace: '      this.#table.drop(ip, { kind: "fresh" });\n      this.#afterWrite(ip);\n',
    also: [echoIgnored],
  },
  {
    name: "exists taken for created",
    breaks: "a record that somebody else made is taken for our own",
    file: allocator,
    find: '      if (outcome.kind === "created" || outcome.kind === "updated") {\n',
    replace:
      '      if (outcome.kind === "exists") {\n        this.#entered(before, next);\n        return { kind: "ok", allocation: next };\n      }\n      if (outcome.kind === "created" || outcome.kind === "updated") {\n',
  },
  {
    name: "version conflict forced",
    breaks: "a record that changed meanwhile is overwritten",
    file: allocator,
    find: '    if (found === "unknown") return { kind: "lost" };\n',
    replace:
      '    if (found === "unknown") return { kind: "lost" };\n    if (found !== undefined) {\n      const forced = await store.update({ ...next, version: found.version });\n      if (forced.kind === "updated") {\n        this.#entered(before, forced.allocation);\n        return { kind: "ok", allocation: forced.allocation };\n      }\n    }\n',
  },
  {
    name: "leader believes the watch",
    breaks: "an old event overwrites what the leader knows",
    file: allocator,
    find: "    if (!this.#isFollower) void this.#verify(ip);\n    else if",
    replace: "    if",
  },
  {
    name: "relist not compared",
    breaks: "what an interrupted watch did not tell stays unknown (D-10)",
    file: allocator,
    find: "      this.#reconcileUntilDone();\n      return;",
    replace: "      return;",
  },
  {
    name: "lost record taken as free",
    breaks: "the address of a living pod is free when its record was deleted by hand (D-10)",
    file: allocator,
    find: "    } else if (mayBeInAPod(before) || this.#formers.has(ip)) {\n",
    replace: "    } else if (mayBeInAPod(before) && before.version === unreadVersion) {\n",
  },
  {
    name: "lost record not made again",
    breaks: "the record of a living pod stays deleted",
    file: reclaim,
    find: '        if (!isLost) return "done";\n',
    replace: '        if (!isLost || allocation.version !== "") return "done";\n',
  },
  {
    name: "edited record taken at its word",
    breaks: "the address of a pod that is being bound is another's when its record was edited",
    file: allocator,
    find: '    if (before.version === "") return;\n',
    replace: "    if (before.version !== undefined) return;\n",
    also: [
      {
        file: reclaim,
        find: "    if (hold !== undefined) this.#queue",
        replace: "    if (hold === null) this.#queue",
      },
      {
        file: reclaim,
        find: "if (isBound(allocation) && this.#isHeldForCarrier(allocation.ip)) ",
        replace: "if (allocation.ip === undefined) ",
      },
      {
        file: allocator,
        find: "    if (!isBound(after)) this.#holdAgain(after.ip);\n",
        replace: "",
      },
    ],
  },
  {
    name: "release without uid check",
    breaks: "the deletion of a pod is believed of its successor of the same name (D-11)",
    file: reclaim,
    find: "      this.#noteLeaving(event.pod);\n      this.#queue",
    replace:
      "      this.#noteLeaving(event.pod);\n      if (this.#ports.cluster.pod(event.pod) === undefined) this.#leaving.add(`gone ${podIdText(event.pod)}`);\n      this.#queue",
    also: [
      {
        file: reclaim,
        find: '{ kind: "present", pod: cached };\n    return await this.#readState(pod);\n',
        replace:
          '{ kind: "present", pod: cached };\n    if (this.#leaving.delete(`gone ${podIdText(pod)}`)) return { kind: "gone" };\n    return await this.#readState(pod);\n',
      },
    ],
  },
  {
    name: "uid not compared",
    breaks: "an address is kept for a pod that is gone because another has its name",
    file: decideReclaim,
    find: "    if (allocation.podUid === pod.pod.uid) {\n",
    replace: "    if (isBound(allocation)) {\n",
  },
  {
    name: "finished pod keeps its address",
    breaks: "completed and evicted pods hold addresses for ever",
    file: decideReclaim,
    find: '  if (pod.kind === "present" && !podIsFinished(pod.pod)) {\n',
    replace: '  if (pod.kind === "present") {\n',
  },
  {
    name: "pod gone in a stale cache",
    breaks: "an address is released because a late watch does not show its pod",
    file: reclaim,
    find: '{ kind: "present", pod: cached };\n    return await this.#readState(pod);\n',
    replace:
      '{ kind: "present", pod: cached };\n    return cached === undefined ? { kind: "gone" } : { kind: "present", pod: cached };\n',
  },
  {
    name: "workload gone in a stale cache",
    breaks: "addresses are released because a late watch does not show their workload",
    file: reclaim,
    find: "    const id = workloadIdText(workload);\n    let reading =",
    replace:
      '    if (cached.kind === "gone") return cached;\n    const id = workloadIdText(workload);\n    let reading =',
  },
  {
    name: "scaled down in a stale cache",
    breaks: "addresses are released because a late watch shows fewer replicas",
    file: reclaim,
    find: '      if (decision.do !== "release") return cached;\n',
    replace: "      if (decision !== undefined) return cached;\n",
  },
  {
    name: "never released with the workload",
    breaks: "immutable addresses outlive their Deployment",
    file: decideReclaim,
    find: '    if (workload.kind === "gone") return { do: "release", because: "workload gone" };\n    const limit',
    replace:
      '    if (workload.kind === "gone") return keepOrReserve("within replicas", ownerWithoutPod(allocation.owner, ref));\n    const limit',
  },
  {
    name: "never taken for immutable",
    breaks: "addresses of policy never go with their workload",
    file: decideReclaim,
    find: '    if (policy === "never") {\n',
    replace: '    if (policy === "never" && workload.kind === "present") {\n',
  },
  {
    name: "ordinal off by one",
    breaks: "the address of the first ordinal beyond the replicas is kept",
    file: decideReclaim,
    find: "ordinal >= workload.firstOrdinal && ordinal < workload.firstOrdinal + workload.replicas;",
    replace:
      "ordinal >= workload.firstOrdinal && ordinal <= workload.firstOrdinal + workload.replicas;",
  },
  {
    name: "first ordinal ignored",
    breaks: "the address of the last ordinal of a StatefulSet that starts at 1 is released",
    file: decideReclaim,
    find: "ordinal < workload.firstOrdinal + workload.replicas;",
    replace: "ordinal < workload.replicas;",
  },
  {
    name: "surplus counted too early",
    breaks: "a Deployment loses an address although it has no more than replicas",
    file: decideReclaim,
    find: "    return limit === 0 || ownedCount > limit\n",
    replace: "    return limit === 0 || ownedCount >= limit\n",
  },
  {
    name: "surplus counted too late",
    breaks: "a Deployment keeps an address more than replicas",
    file: decideReclaim,
    find: "    return limit === 0 || ownedCount > limit\n",
    replace: "    return limit === 0 || ownedCount > limit + 1\n",
  },
  {
    name: "addresses for rolling updates released",
    breaks: "a Deployment loses the addresses that it has beside those of its replicas (surge-ips)",
    file: decideReclaim,
    find: "    const limit = addressLimitOf(workload);\n",
    replace: "    const limit = Math.min(addressLimitOf(workload), workload.replicas ?? 1);\n",
  },
  {
    name: "administrator's record released",
    breaks: "resync gives reserved addresses away (D-5)",
    file: reclaim,
    find: "      if (!this.#isPlainlyAlive(allocation) && !this.#isPlainlyKept(allocation)) {\n        this.#look(allocation);\n      }\n",
    replace:
      '      if (allocation.owner.kind === "admin") void allocator.release(allocation, "no pod").catch(() => {});\n      else if (!this.#isPlainlyAlive(allocation)) this.#look(allocation);\n',
  },
  {
    name: "resync looks at nothing",
    breaks: "an event that was missed is missed for ever",
    file: reclaim,
    find: "      if (!this.#isPlainlyAlive(allocation) && !this.#isPlainlyKept(allocation)) {\n        this.#look(allocation);\n      }\n",
    replace: "      this.#isPlainlyAlive(allocation) || this.#isPlainlyKept(allocation);\n",
  },
  {
    name: "adoption left out",
    breaks: "addresses that pods carry without a record get none (D-46)",
    file: reclaim,
    find: '    if (pod.nodeName === "" || podIsFinished(pod) || !pod.wantsAddress) return false;\n    const { view }',
    replace: "    if (pod.nodeName !== undefined) return false;\n    const { view }",
  },
  {
    name: "old queue stopped after the new one started",
    breaks: "a turn of leadership that follows at once has no queue",
    file: reclaim,
    find: "    const queue = this.#queue;\n    this.#queue = undefined;\n    await queue?.stop();\n",
    replace: "    await this.#queue?.stop();\n    this.#queue = undefined;\n",
  },
  {
    name: "config shrink releases living records",
    breaks: "addresses of running pods are free when the ranges shrink (D-3)",
    file: reconfigure,
    find: "      if (isBound(allocation)) {\n",
    replace: "      if (isBound(allocation) && isConfigured) {\n",
  },
  {
    name: "hold not taken out of the free addresses",
    breaks: "filter promises one address to two pods",
    file: table,
    find: "        const origin = this.#allocations.has(ip) ? undefined : this.#free[index]?.remove(ip);\n",
    replace:
      "        const origin = this.#allocations.has(ip) || index < -1 ? undefined : undefined;\n",
  },
  {
    name: "holds never expire",
    breaks: "what was promised to a pod that is not bound is lost to others",
    file: table,
    find: "      if (hold.expiresAtMs <= nowMs) this.dropHold(hold.podUid);\n",
    replace: "      if (hold.expiresAtMs <= nowMs - 1e12) this.dropHold(hold.podUid);\n",
  },
  {
    name: "reserved addresses never reused",
    breaks: "a Deployment of policy never takes a new address with each pod",
    file: decideFilter,
    find: "  const tiers = [ownTier, heldTier, offer(reserved)];\n",
    replace: "  const tiers = [ownTier, heldTier, offer(reserved.slice(0, 0))];\n",
  },
  {
    name: "own address does not pin",
    breaks: "a pod name loses its address by being placed elsewhere (D-13)",
    file: decideFilter,
    find: "  if (!wanted.every((ip) => topology.zoneMayUse(zone, ip))) {\n",
    replace: "  if (wanted.length > 1e6) {\n",
  },
  {
    name: "free addresses of other subnets offered",
    breaks: "a pod gets an address that its node may not use (D-6)",
    file: decideFilter,
    find: "view.freeFor(slot, zone.subnetIndexes, limit);",
    replace: "view.freeFor(slot, [...topology.subnets.keys()], limit);",
  },
  {
    name: "pool size not checked",
    breaks: "a sized pool grows beyond its size",
    file: decideFilter,
    find: "  return poolObject.size - countPoolAddresses(pod.pool, view, pod.uid);",
    replace: "  return poolObject.size + countPoolAddresses(pod.pool, view, pod.uid);",
  },
  {
    name: "replicas not checked",
    breaks: "a rolling update gives a Deployment more addresses than replicas",
    file: decideFilter,
    find: "  if (podCount < limit) return undefined;\n",
    replace: "  if (podCount < limit + 1) return undefined;\n",
  },
  {
    name: "pool shrunk by one too many",
    breaks: "a pool that is made smaller loses an address more",
    file: decidePool,
    find: "release: spare.slice(0, surplusCount)",
    replace: "release: spare.slice(0, surplusCount + 1)",
  },
  {
    name: "pool never shrunk",
    breaks: "a smaller size releases nothing (D-45)",
    file: decidePool,
    find: "  if (surplusCount > 0) {\n",
    replace: "  if (surplusCount > 100) {\n",
  },
  {
    name: "greedy ranges",
    breaks: "the first list of request_ip_range takes the only address of the second (D-9)",
    file: pick,
    find: "      if (augment(slotOf.get(picked.ip) as number, seen)) return assign(slotIndex, picked);\n",
    replace: "",
  },
  {
    name: "one address for two lists",
    breaks: "identical lists of request_ip_range get one address twice (D-8)",
    file: pick,
    find: "    const open = own.find((picked) => !slotOf.has(picked.ip));\n",
    replace: "    const open = own[0];\n",
  },
  {
    name: "surplus of a pod not released",
    breaks: "addresses that a pod does not ask for any more stay its own",
    file: scheduling,
    find: "      await this.#giveBack(pod.id, decision.surplus);\n",
    replace:
      "      if (decision.surplus.length > 1e6) await this.#giveBack(pod.id, decision.surplus);\n",
    also: [
      {
        file: reclaim,
        find: '    if (podUid !== pod.uid || pod.nodeName === "" || pod.assignedIps.includes(ip)) return false;\n',
        replace: '    if (podUid !== "nobody" || ip === undefined) return false;\n',
      },
    ],
  },
  {
    name: "writes without leading",
    breaks: "a process that leads no more goes on writing",
    file: allocator,
    find: "    if (this.#ports.leadership.isLeader()) return;\n",
    replace: '    if (this.#ports.leadership.leaderName() !== "nobody") return;\n',
    also: [
      {
        file: service,
        find: "  async stopLeading(): Promise<void> {\n",
        replace: "  async stopLeading(): Promise<void> {\n    if (this.#term >= 0) return;\n",
      },
    ],
  },
  {
    name: "idle since it was given",
    breaks: "the time of an idle address counts from when its last pod got it",
    file: allocator,
    find: "  if (isBound(before)) return { idleSinceMs: nowMs };\n",
    replace:
      "  if (isBound(before)) return { idleSinceMs: Math.min(nowMs, before.updatedAtMs) };\n",
  },
  {
    name: "idle address goes untold",
    breaks: "an idle address is released without a word to its owner",
    file: decideIdle,
    find: "  if (idleWarnedMs === undefined || idleWarnedMs < idleSinceMs) {\n",
    replace: "  if (idleWarnedMs !== undefined && idleWarnedMs < idleSinceMs) {\n",
  },
  {
    name: "told after it is noted",
    breaks: "an owner is not told when the answer to the note is lost, and nobody makes up for it",
    file: idle,
    find: '        this.#announce(allocation, live, decision.releaseAtMs);\n        const outcome = await this.#note(allocation, { sinceMs: decision.sinceMs, warnedMs });\n        if (outcome === "changed") return clock.nowMs();\n',
    replace:
      '        const outcome = await this.#note(allocation, { sinceMs: decision.sinceMs, warnedMs });\n        if (outcome === "changed") return clock.nowMs();\n        this.#announce(allocation, live, decision.releaseAtMs);\n',
  },
  {
    name: "idle time starts again",
    breaks: "each look at an idle address counts from now",
    file: decideIdle,
    find: "  if (idleSinceMs === undefined || idleSinceMs > nowMs) {\n",
    replace: "  if (idleSinceMs === undefined || idleSinceMs <= nowMs) {\n",
  },
  {
    name: "quota counts no reserved addresses",
    breaks: "a namespace gets its quota of addresses beside those that are reserved for it",
    file: decideFilter,
    find: "  if (recordedCount + promisedCount + newCount <= quota.limit) return undefined;\n",
    replace:
      '  const used = [...view.all()].filter(({ owner, podUid }) => owner.kind === "pod" && owner.pod.namespace === namespace && podUid !== "");\n  if (used.length + promisedCount + newCount <= quota.limit) return undefined;\n',
  },
  {
    name: "quota asked by filter only",
    breaks:
      "pods that come at once exceed a quota: nobody asks when the address is taken, and promises do not count",
    file: decideFilter,
    find: "  const { recordedCount, promisedCount } = namespaceUse(namespace, view, pod.uid);\n",
    replace:
      "  const { recordedCount } = namespaceUse(namespace, view, pod.uid);\n  const promisedCount = 0;\n  if (view.holdsIn(namespace)[Symbol.iterator]().next().done !== true) return undefined;\n",
  },
  {
    name: "quota of a stale count",
    breaks: "what is taken counts for the quota only when it has been there for a while",
    file: decideFilter,
    find: "  if (recordedCount + promisedCount + newCount <= quota.limit) return undefined;\n",
    replace:
      '  const fresh = [...view.all()].filter(({ ip, owner }) => owner.kind === "pod" && owner.pod.namespace === namespace && view.phaseOf(ip) !== "idle");\n  if (recordedCount - fresh.length + newCount <= quota.limit) return undefined;\n  void promisedCount;\n',
  },
];

/**
 * The text with one edit of a defect in it.
 * @throws when the place is not there exactly once: the product's text has changed, and the defect must follow it
 */
export function plantInto(source: string, name: string, edit: Edit): string {
  const parts = source.split(edit.find);
  if (parts.length !== 2) {
    throw new Error(
      `the defect "${name}" finds its place ${parts.length - 1} times in ${edit.file}, not once; ` +
        "adapt its text in sim/defects/defects.ts",
    );
  }
  return parts.join(edit.replace);
}

/** All places of a defect. */
export function editsOf(defect: Defect): readonly Edit[] {
  return [defect, ...(defect.also ?? [])];
}
