// `galaxyctl backup`: everything that galaxy keeps as one file, from the server or from objects that kubectl printed. Restoring is restore.ts.

import { createHash } from "node:crypto";
import {
  formatBackupEnd,
  formatBackupHeader,
  formatBackupObjects,
  readClusterObjects,
  usualConfigurationPlace,
} from "../wire/backup.ts";
import { asList, textAt, valueAt } from "../wire/json-value.ts";
import type { BackupFile } from "./backup-file.ts";
import { openBackup, readBytesOf, writeWhole } from "./backup-file.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes, messageOf } from "./command-problem.ts";

/** Makes a backup; `-` is standard output. */
export async function backup(
  context: CommandContext,
  file: string,
  options: { readonly objects?: string; readonly overwrite?: boolean },
): Promise<ExitCode> {
  const { terminal } = context;
  const bytes =
    options.objects === undefined
      ? await fromServer(context)
      : await fromObjects(context, options.objects);
  // What arrived is checked as a restore would check it, before it takes the name of a backup.
  const made = openBackup(options.objects === undefined ? "the answer" : options.objects, bytes);
  if (file === "-") await terminal.write(bytes.toString("utf8"));
  else writeWhole(file, bytes, { replaces: options.overwrite === true });
  terminal.note(`${file === "-" ? "" : `${file}: `}${describeBackup(made)}`);
  if (made.header.from.role === "follower") {
    terminal.note(
      "a replica answered that does not lead: what changed in the last moments may be missing",
    );
  }
  return exitCodes.done;
}

/** What a backup has, in words. */
export function describeBackup({ counts, header }: BackupFile): string {
  const parts = (
    [
      ["record", counts.record],
      ["Pool", counts.pool],
      ["FloatingIPQuota", counts.quota],
      ["VIPPool", counts["vip pool"]],
      ["virtual address", counts.vip],
    ] as const
  )
    .filter(([what, count]) => what === "record" || count > 0)
    .map(([what, count]) => counted(count, what));
  const configuration = counts.configuration > 0 ? ", the configuration" : "";
  return `${parts.join(", ")}${configuration}, as of ${new Date(header.createdAtMs).toISOString()}`;
}

/** A count with its noun. */
export function counted(count: number, noun: string): string {
  const plural = noun.endsWith("s") ? `${noun}es` : `${noun}s`;
  return `${count} ${count === 1 ? noun : plural}`;
}

async function fromServer(context: CommandContext): Promise<Buffer> {
  const client = await context.connect();
  const chunks: Buffer[] = [];
  const stream = await client.open("/v1/backup", {}, new AbortController().signal, "backup");
  try {
    for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  } catch (cause) {
    throw new CommandProblem(
      exitCodes.unreachable,
      `the connection broke while the backup was read (${messageOf(cause)}); nothing was written: try again`,
      { cause },
    );
  }
  return Buffer.concat(chunks);
}

async function fromObjects({ terminal }: CommandContext, list: string): Promise<Buffer> {
  const text = list === "-" ? await terminal.readInput() : readBytesOf(list).toString("utf8");
  const read = readClusterObjects(await objectsOf(text, list), usualConfigurationPlace);
  if (read.kind === "problem") {
    throw new CommandProblem(exitCodes.usage, `${list}: ${read.problem}; nothing was written`);
  }
  if (read.ignoredCount > 0) {
    terminal.note(`${counted(read.ignoredCount, "object")} of other kinds left out`);
  }
  const header = formatBackupHeader({
    createdAtMs: Date.now(),
    from: { version: "objects", mode: "kubernetes", instance: "kubectl", role: "objects" },
  });
  const lines = [...formatBackupObjects(read.content)];
  const body = `${header}${lines.join("")}`;
  const sha256 = createHash("sha256").update(body).digest("hex");
  return Buffer.from(`${body}${formatBackupEnd({ objectCount: lines.length, sha256 })}`);
}

/** The objects of what `kubectl get -o json` or `-o yaml` prints: a List, lists, or objects one after the other. */
async function objectsOf(text: string, list: string): Promise<readonly unknown[]> {
  const documents: unknown[] = [];
  try {
    documents.push(JSON.parse(text));
  } catch {
    const { parseAllDocuments } = await import("yaml");
    const parsed = parseAllDocuments(text);
    for (const document of Array.isArray(parsed) ? parsed : []) {
      const error = document.errors[0];
      if (error !== undefined) {
        throw new CommandProblem(
          exitCodes.usage,
          `${list}: neither JSON nor YAML: ${error.message.split("\n")[0] ?? ""}; give what kubectl get -o json prints`,
        );
      }
      documents.push(document.toJSON());
    }
  }
  return documents.flatMap((document) =>
    textAt(document, "kind")?.endsWith("List") === true
      ? asList(valueAt(document, "items"))
      : [document],
  );
}
