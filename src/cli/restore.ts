// `galaxyctl restore`: enters what a backup has and the server lacks. The whole file is checked first; then the server judges every part by itself,
// shows the plan, and enters what is free. Doing it again, also after half of it, does the rest.

import { setTimeout as pause } from "node:timers/promises";
import type {
  RestoreResult,
  restoreIps,
  restorePools,
  restoreQuotas,
} from "../wire/api/restore.ts";
import { asObject, formatTime } from "../wire/json-value.ts";
import type { ApiClient } from "./api-client.ts";
import { counted, describeBackup } from "./backup.ts";
import type { BackupFile } from "./backup-file.ts";
import { openBackup, readBytesOf } from "./backup-file.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { isConfirmed, showProgress } from "./confirm.ts";
import type { Columns } from "./output.ts";
import { writeList } from "./output.ts";

type Row = RestoreResult & { readonly what: "address" | "pool" | "quota" };

/** Objects of one request: as many as make a request of a megabyte. */
const batchSize = 1_000;

/** What is being changed at the moment is asked for again so often. */
const busyRounds = 5;
const busyPauseMs = 1_000;

const columns: Columns<Row> = {
  usual: [
    { title: "WHAT", text: ({ what }) => what, isWhole: true },
    { title: "NAME", text: ({ name }) => name, isWhole: true },
    {
      title: "OUTCOME",
      text: ({ outcome }) => outcome,
      isWhole: true,
      color: ({ outcome }) =>
        outcome === "restored"
          ? "green"
          : outcome === "refused" || outcome === "busy"
            ? "red"
            : "gray",
    },
    { title: "MESSAGE", text: ({ message }) => message },
  ],
};

/** Restores a backup; `-` is standard input. */
export async function restore(
  context: CommandContext,
  file: string,
  options: {
    readonly dryRun?: boolean;
    readonly yes?: boolean;
    readonly manifests?: boolean;
    readonly configuration?: boolean;
  },
): Promise<ExitCode> {
  const { terminal } = context;
  const bytes = file === "-" ? Buffer.from(await terminal.readInput()) : readBytesOf(file);
  const backup = openBackup(file, bytes);
  if (options.configuration === true) return await printConfiguration(context, file, backup);
  if (options.manifests === true) return await printManifests(context, backup);
  terminal.note(`${file}: ${describeBackup(backup)}`);
  const client = await context.connect();
  const isDryRun = options.dryRun === true;
  if (!isDryRun && options.yes !== true) {
    const plan = await run(context, client, backup, true);
    const count = plan.filter(({ outcome }) => outcome === "restored").length;
    await show(context, plan, true);
    if (count === 0) return exitCodeOf(plan);
    if (!(await isConfirmed(terminal, `Restore ${counted(count, "object")}?`, false))) {
      terminal.note("nothing was restored");
      return exitCodes.refused;
    }
  }
  const rows = await run(context, client, backup, isDryRun);
  await show(context, rows, isDryRun);
  const ownCount = backup.counts["vip pool"];
  if (ownCount > 0) {
    terminal.note(
      `${counted(ownCount, "VIPPool")} of the backup are yours to apply: galaxyctl restore ${file} --manifests | kubectl apply -f -`,
    );
  }
  return exitCodeOf(rows);
}

function exitCodeOf(rows: readonly Row[]): ExitCode {
  const isOpen = rows.some(({ outcome }) => outcome === "refused" || outcome === "busy");
  return isOpen ? exitCodes.refused : exitCodes.done;
}

/** Records first: a Pool that fills itself would take addresses of others. */
async function run(
  context: CommandContext,
  client: ApiClient,
  backup: BackupFile,
  isDryRun: boolean,
): Promise<Row[]> {
  const backedUpAt = formatTime(backup.header.createdAtMs);
  const dryRun = isDryRun ? { dryRun: true } : {};
  const title = isDryRun ? "Asking" : "Restoring";
  const { record: count } = backup.counts;
  const steps = Math.ceil(count / batchSize);
  const progress = await showProgress(context.terminal, { title, count, steps });
  const rows: Row[] = [];
  const send = async (records: readonly unknown[]): Promise<readonly RestoreResult[]> => {
    const { body } = await client.call<typeof restoreIps>({
      method: "POST",
      path: "/v1/restore",
      // The server reads them by their schema.
      body: { backedUpAt, records: [...records] as never[], ...dryRun },
      about: "restore of addresses",
    });
    return body.results;
  };
  try {
    for (const records of batchesOf(backup, "record")) {
      rows.push(...(await untilSettled(records, isDryRun, send, "address")));
      progress.at(rows.length);
    }
    const pools = [...batchesOf(backup, "pool")];
    for (const batch of pools) {
      const { body } = await client.call<typeof restorePools>({
        method: "POST",
        path: "/v1/restore/pools",
        body: { pools: [...batch] as never[], ...dryRun },
        about: "restore of Pools",
      });
      rows.push(...body.results.map((result) => ({ what: "pool" as const, ...result })));
    }
    for (const batch of batchesOf(backup, "quota")) {
      const { body } = await client.call<typeof restoreQuotas>({
        method: "POST",
        path: "/v1/restore/quotas",
        body: { quotas: [...batch] as never[], ...dryRun },
        about: "restore of FloatingIPQuotas",
      });
      rows.push(...body.results.map((result) => ({ what: "quota" as const, ...result })));
    }
  } catch (error) {
    progress.end(`stopped after ${rows.length}`);
    if (!isDryRun) {
      context.terminal.note(
        `${counted(rows.length, "object")} were sent before; restore again, and the rest is done: what is there stays`,
      );
    }
    throw error;
  }
  progress.end(`${rows.length} of ${count + backup.counts.pool + backup.counts.quota}`);
  return rows;
}

/** What is being changed at this moment is asked for again, a few times. */
async function untilSettled(
  records: readonly unknown[],
  isDryRun: boolean,
  send: (records: readonly unknown[]) => Promise<readonly RestoreResult[]>,
  what: Row["what"],
): Promise<Row[]> {
  const results = [...(await send(records))];
  const rounds = isDryRun ? 0 : busyRounds;
  for (let round = 1; round <= rounds; round += 1) {
    const open = results.flatMap(({ outcome }, index) => (outcome === "busy" ? [index] : []));
    if (open.length === 0) break;
    await pause(busyPauseMs);
    const again = await send(open.map((index) => records[index]));
    for (const [at, index] of open.entries()) {
      const result = again[at];
      if (result !== undefined) results[index] = result;
    }
  }
  return results.map((result) => ({ what, ...result }));
}

function* batchesOf(
  backup: BackupFile,
  kind: "record" | "pool" | "quota",
): Generator<readonly unknown[]> {
  let batch: unknown[] = [];
  for (const part of backup.parts()) {
    if (part.kind !== kind) continue;
    batch.push(part.object);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function show(context: CommandContext, rows: readonly Row[], isPlan: boolean): Promise<void> {
  const { terminal } = context;
  // People look for what is not as in the backup; programs want each line. A plan shows what would be done, too.
  const isWide = context.options.output === "wide" || !context.isForPeople;
  const shown = isWide
    ? rows
    : rows.filter(({ outcome }) => outcome !== "unchanged" && (isPlan || outcome !== "restored"));
  await writeList(terminal, context.options.output, shown, columns, {
    empty: "everything in the backup is there",
  });
  const countOf = (outcome: RestoreResult["outcome"]) =>
    rows.filter((row) => row.outcome === outcome).length;
  const restored = `${countOf("restored")} ${isPlan ? "would be restored" : "restored"}`;
  const open = countOf("refused") + countOf("busy");
  terminal.note(
    `${restored}, ${countOf("unchanged")} there already, ${countOf("left")} overtaken by what happened since, ${open} refused`,
  );
}

/** What is an operator's own, for kubectl. */
async function printManifests({ terminal }: CommandContext, backup: BackupFile): Promise<ExitCode> {
  const items = [...backup.parts()]
    .filter(({ kind }) => kind === "configuration" || kind === "vip pool")
    .map(({ object }) => object);
  const list = { apiVersion: "v1", kind: "List", items };
  await terminal.write(`${JSON.stringify(list, undefined, 2)}\n`);
  return exitCodes.done;
}

async function printConfiguration(
  { terminal }: CommandContext,
  file: string,
  backup: BackupFile,
): Promise<ExitCode> {
  for (const { kind, object } of backup.parts()) {
    if (kind !== "configuration") continue;
    const [text] = Object.values(asObject(object["data"]) ?? {});
    if (typeof text !== "string") continue;
    await terminal.write(`${JSON.stringify(JSON.parse(text), undefined, 2)}\n`);
    return exitCodes.done;
  }
  throw new CommandProblem(
    exitCodes.notFound,
    `${file} has no configuration: it was made from objects without the ConfigMap; use another backup`,
  );
}
