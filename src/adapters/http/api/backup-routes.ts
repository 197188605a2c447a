// GET /v1/backup: everything that is kept, as a stream of lines. POST /v1/restore, /v1/restore/pools and /v1/restore/quotas: entering parts of it again.

import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import type { FastifyReply } from "fastify";
import type { Allocation } from "../../../core/allocation.ts";
import type { PoolFacts } from "../../../core/facts.ts";
import { compareIps } from "../../../core/ip.ts";
import type { QuotaFacts } from "../../../core/quota.ts";
import type { VipRecord } from "../../../core/vip.ts";
import type { VipPool } from "../../../core/vip-holder.ts";
import type { IpamService } from "../../../ipam/ipam-service.ts";
import type { RestoreOutcome } from "../../../ipam/restore.ts";
import type { RestoreResult } from "../../../wire/api/restore.ts";
import { getBackup, restoreIps, restorePools, restoreQuotas } from "../../../wire/api/restore.ts";
import type { ConfigurationPlace } from "../../../wire/backup.ts";
import { formatBackupEnd, formatBackupHeader, formatBackupObjects } from "../../../wire/backup.ts";
import { parseFloatingIp, parsePool } from "../../../wire/crd.ts";
import { parseTimeMs, quoteValue } from "../../../wire/json-value.ts";
import { parseQuota } from "../../../wire/quota.ts";
import type { ProblemAnswer, Route } from "./route.ts";
import { problem, route } from "./route.ts";
import type { ProcessFacts } from "./status-routes.ts";

/** What a backup is made from besides the use cases. */
export type BackupParts = {
  readonly service: IpamService;
  readonly process: ProcessFacts;
  readonly place: ConfigurationPlace;
  readonly vips: () => readonly VipRecord[];
  readonly vipPools: () => readonly VipPool[];
};

/** Lines that leave together; other work has its turn between two such pieces. */
const linesAtOnce = 500;

/** A thousand records with long names, and some to spare. */
const restoreBodyLimitBytes = 16 * 1024 * 1024;

/** The routes of backup and restore. */
export function backupRoutes(parts: BackupParts): readonly Route[] {
  const { restore } = parts.service;
  return [
    { endpoint: getBackup, answer: (_, reply) => sendBackup(parts, reply) },
    route(
      restoreIps,
      async ({ body }) => {
        const backedUpAtMs = parseTimeMs(body.backedUpAt);
        if (backedUpAtMs === undefined) {
          const message = `backedUpAt ${quoteValue(body.backedUpAt)} is no time; write it like 2026-11-21T08:30:00Z`;
          return problem(400, message, { field: "backedUpAt" });
        }
        const records: Allocation[] = [];
        for (const [index, object] of body.records.entries()) {
          const record = parseFloatingIp(object);
          if (record === undefined) {
            return notReadable(`records[${index}].metadata.name`, object.metadata.name);
          }
          records.push(record);
        }
        const isDryRun = body.dryRun ?? false;
        const outcomes = await restore.records(records, { isDryRun, backedUpAtMs });
        return answerOf(
          records.map(({ ip }) => ip),
          outcomes,
        );
      },
      { bodyLimitBytes: restoreBodyLimitBytes },
    ),
    route(restorePools, async ({ body }) => {
      const pools: PoolFacts[] = [];
      for (const [index, object] of body.pools.entries()) {
        const parsed = parsePool(object);
        if (parsed.kind === "problem") {
          return problem(400, parsed.problem, { field: `pools[${index}]` });
        }
        pools.push(parsed.pool);
      }
      const outcomes = await restore.pools(pools, { isDryRun: body.dryRun ?? false });
      return answerOf(
        pools.map(({ name }) => name),
        outcomes,
      );
    }),
    route(restoreQuotas, async ({ body }) => {
      const quotas: QuotaFacts[] = [];
      for (const [index, object] of body.quotas.entries()) {
        const parsed = parseQuota(object);
        if (parsed.kind === "problem") {
          return problem(400, parsed.problem, { field: `quotas[${index}]` });
        }
        quotas.push(parsed.quota);
      }
      const outcomes = await restore.quotas(quotas, { isDryRun: body.dryRun ?? false });
      return answerOf(
        quotas.map(({ name }) => name),
        outcomes,
      );
    }),
  ];
}

function notReadable(field: string, name: string): ProblemAnswer {
  return problem(400, `${field} ${quoteValue(name)} is no address as FloatingIPs are named`, {
    field,
  });
}

function answerOf(names: readonly string[], outcomes: readonly RestoreOutcome[]) {
  const results: RestoreResult[] = outcomes.map(({ kind, message }, index) => ({
    name: names[index] ?? "",
    outcome: kind,
    message,
  }));
  return { status: 200 as const, body: { results } };
}

/** What is sent is of one moment, however long sending takes: the snapshot is made before anything leaves. */
async function sendBackup(parts: BackupParts, reply: FastifyReply): Promise<FastifyReply> {
  const { place, process, service, vipPools, vips } = parts;
  const { atMs, isLeader, pools, quotas, records, subnets } = service.backup.snapshot();
  const content = {
    configuration: { place, subnets },
    pools,
    quotas,
    vipPools: [...vipPools()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    records,
    vips: [...vips()].sort((a, b) => compareIps(a.ip, b.ip)),
  };
  const { instance, mode, version } = process;
  const role = isLeader ? ("leader" as const) : ("follower" as const);
  const header = formatBackupHeader({
    createdAtMs: atMs,
    from: { version, mode, instance, role },
  });
  reply
    .header("cache-control", "no-store")
    .header("content-disposition", 'attachment; filename="galaxy-backup.jsonl"')
    .type("application/octet-stream");
  // The port's time for an answer is not for this one.
  reply.hijack();
  reply.raw.writeHead(200, reply.getHeaders() as Record<string, string>);
  const lines = Readable.from(inPieces(header, formatBackupObjects(content)));
  // Who hangs up in the middle has a file without its last line, which nobody takes for a backup.
  await pipeline(lines, reply.raw).catch(() => {});
  return reply;
}

async function* inPieces(header: string, objects: Iterable<string>): AsyncGenerator<string> {
  const hash = createHash("sha256").update(header);
  yield header;
  let objectCount = 0;
  let piece: string[] = [];
  for (const line of objects) {
    piece.push(line);
    objectCount += 1;
    if (piece.length < linesAtOnce) continue;
    const text = piece.join("");
    hash.update(text);
    yield text;
    piece = [];
    await turnOfTheLoop();
  }
  const text = piece.join("");
  hash.update(text);
  yield `${text}${formatBackupEnd({ objectCount, sha256: hash.digest("hex") })}`;
}
