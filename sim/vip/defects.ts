// Defects of the protocol of virtual addresses, each a replacement of one place in the product's text, as in sim/defects. They exist only in
// memory while a world runs with SIM_DEFECT set.

import type { Defect } from "../defects/defects.ts";

const agent = "src/vip/vip-agent.ts";
const controller = "src/vip/vip-controller.ts";
const move = "src/core/vip-move.ts";

/** All of them. */
export const vipDefects: readonly Defect[] = [
  {
    name: "vip: grant without revoke",
    breaks: "a lease that was only not seen renewed counts as over",
    file: move,
    find: '  return nowMs >= endMs ? { kind: "silent" } : { kind: "live", silentAtMs: endMs };\n',
    replace:
      '  return nowMs >= endMs ? { kind: "over", by: "time" } : { kind: "live", silentAtMs: endMs };\n',
  },
  {
    name: "vip: grant without waiting",
    breaks: "a revoked lease counts as over at once",
    file: move,
    find: '    return nowMs >= endMs ? { kind: "over", by: "time" } : { kind: "ending", overAtMs: endMs };\n',
    replace:
      '    return nowMs >= 0 ? { kind: "over", by: "time" } : { kind: "ending", overAtMs: endMs };\n',
  },
  {
    name: "vip: grant when asked",
    breaks: "the next holder is granted the address as soon as the old one was asked to let go",
    file: move,
    find: 'record.release === "done" || isEnded',
    replace: 'record.release !== "none" || isEnded',
  },
  {
    name: "vip: silence counted from the answer of the revocation",
    breaks: "every revocation counts as one of a lease that had been silent",
    file: move,
    find: "sentMs >= sight.sinceMs + waitOutMs(sight.lease.durationMs);",
    replace: "sentMs >= 0;",
  },
  {
    name: "vip: renewed in spite of a revocation",
    breaks: "after a conflict the agent goes on with the version that it finds",
    file: agent,
    find: "found === undefined || found.isRevoked || found.session !== membership.lease.session",
    replace: "found === undefined || found.session !== membership.lease.session",
  },
  {
    name: "vip: lease counted from the reply",
    breaks: "the kernel answers for the time that the answer took too long",
    file: agent,
    find: "    this.#isLeaseUnsure = false;\n    this.#membership = { lease: outcome.value, endMs: sentMs + timers.leaseMs };\n",
    replace:
      "    this.#isLeaseUnsure = false;\n    this.#membership = { lease: outcome.value, endMs: clock.nowMs() + timers.leaseMs + 0 * sentMs };\n",
  },
  {
    name: "vip: opened without arming",
    breaks: "a process that stood still opens with a time that has passed",
    file: "src/adapters/memory/vip-gate.ts",
    find: "permit.serial !== this.#serial || nowMs >= this.#armedUntilMs",
    replace: "permit.serial !== this.#serial && nowMs < 0",
  },
  {
    name: "vip: said before done",
    breaks: "the record says that the node let go before the kernel stopped answering",
    file: agent,
    find: "        await this.#close(ip);\n        const outcome",
    replace: "        void this.#close(ip);\n        const outcome",
  },
  {
    name: "vip: renew after a higher epoch",
    breaks:
      "a node whose lease was revoked takes it back, and answers on although the record has a higher epoch of another",
    file: agent,
    find: "      if (granted === undefined) return;\n",
    replace: "      if (granted === undefined || record !== undefined) return;\n",
    also: [
      {
        file: agent,
        find: "found === undefined || found.isRevoked || found.session !== membership.lease.session",
        replace: "found === undefined || found.session !== membership.lease.session",
      },
      {
        file: agent,
        find: "    this.#membership = { lease: found, endMs: membership.endMs };\n",
        replace:
          "    this.#membership = { lease: { ...found, isRevoked: false }, endMs: membership.endMs };\n",
      },
    ],
  },
  {
    name: "vip: let go and renewed",
    breaks: "what was let go is opened again with the next renewal",
    file: agent,
    find: "    this.#forget(ip);\n    this.#closed.set(ip, record);\n",
    replace: "    this.#closed.set(ip, record);\n",
  },
  {
    name: "vip: old grants after joining again",
    breaks: "a grant counts in every session of its node",
    file: agent,
    find: "holder?.nodeName === this.#ports.nodeName && holder.session === session",
    replace: "holder?.nodeName === this.#ports.nodeName && session !== undefined",
  },
  {
    name: "vip: joined before cleaning",
    breaks: "a new session begins while the kernel still answers for the old one",
    file: agent,
    find: "    await gate.clear();\n    const found = await leases.read(nodeName);\n",
    replace: "    const found = await leases.read(nodeName);\n",
  },
  {
    name: "vip: revoked by force",
    breaks:
      "the controller revokes whatever version the lease has, and takes the old sight for the new",
    file: controller,
    find: "      const outcome =\n        present === undefined ? await leases.create(revoked) : await leases.update(revoked);\n",
    replace:
      "      const live = await leases.read(nodeName);\n      const outcome = live === undefined ? await leases.create(revoked) : await leases.update({ ...live, isRevoked: true });\n",
  },
  {
    name: "vip: overruled without a majority",
    breaks:
      "the lease of a node that holds by others' word is taken away although nobody else is proven to renew",
    file: "src/core/vip-quorum.ts",
    find: "return proven.length > voters.length / 2;",
    replace: "return proven.length >= 0;",
  },
  {
    name: "vip: held on alone",
    breaks: "a node that hears nobody holds on without the API server",
    file: "src/core/vip-hold.ts",
    find: "return voters.filter((voter) => heard.has(voter)).length > voters.length / 2;",
    replace: "return voters.filter((voter) => heard.has(voter)).length > 0;",
  },
  {
    name: "vip: held on although a voter reaches the API server",
    breaks: "a voter that renews is not heard",
    file: "src/core/vip-hold.ts",
    find: "words.some(({ reachesApi, knowsLater }) => reachesApi || knowsLater)",
    replace: "words.some(({ knowsLater }) => knowsLater)",
  },
];
