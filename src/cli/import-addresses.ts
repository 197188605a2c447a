// `galaxyctl import`: enters addresses that are in use already, each line all or nothing, with a report of what became of each.

import type { SuccessOf } from "../wire/api/endpoint.ts";
import type { importIps } from "../wire/api/import.ts";
import type { ReadLine } from "../wire/import-lines.ts";
import { readCsv, readObjects } from "../wire/import-lines.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { isConfirmed, showProgress } from "./confirm.ts";
import { readFileOf } from "./connection.ts";
import { writeList } from "./output.ts";

/** What a file may hold. */
export const importFormats = ["auto", "csv", "objects"] as const;

type Result = SuccessOf<typeof importIps>["results"][number];
type Row = {
  readonly from: string;
  readonly ip?: string;
  readonly outcome: Result["outcome"] | "not readable";
  readonly message: string;
};

/** The API takes 10,000 lines at once; smaller requests show progress and lose less when one fails. */
const batchSize = 1_000;

/** Imports a file; `-` is standard input. */
export async function importAddresses(
  context: CommandContext,
  file: string,
  options: {
    readonly format: (typeof importFormats)[number];
    readonly dryRun?: boolean;
    readonly yes?: boolean;
  },
): Promise<ExitCode> {
  const { terminal } = context;
  const text = file === "-" ? await terminal.readInput() : readFileOf("import", file);
  const lines = await readLines(text, file, options.format);
  const readable = lines.filter((line) => line.kind === "line");
  const rows: Row[] = lines.flatMap((line) =>
    line.kind === "line"
      ? []
      : [{ from: line.from, outcome: "not readable", message: line.problem }],
  );
  if (readable.length > 0) {
    const client = await context.connect();
    if (options.dryRun !== true) {
      const question = `Enter ${readable.length} address${readable.length === 1 ? "" : "es"} from ${file}?`;
      if (!(await isConfirmed(terminal, question, options.yes === true))) {
        terminal.note("nothing was entered");
        return exitCodes.refused;
      }
    }
    rows.push(...(await send(context, client, readable, options.dryRun === true)));
  }
  // People look for what went wrong; programs want each line.
  const isWide = context.options.output === "wide" || !context.isForPeople;
  const shown = isWide
    ? rows
    : rows.filter(({ outcome }) => outcome !== "entered" && outcome !== "unchanged");
  await writeList<Row>(
    terminal,
    context.options.output,
    shown,
    {
      usual: [
        { title: "FROM", text: ({ from }) => from },
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        {
          title: "OUTCOME",
          text: ({ outcome }) => outcome,
          isWhole: true,
          color: ({ outcome }) =>
            outcome === "entered" ? "green" : outcome === "unchanged" ? "gray" : "red",
        },
        { title: "MESSAGE", text: ({ message }) => message },
      ],
    },
    { empty: lines.length === 0 ? `${file} names no address` : "every line is in" },
  );
  const countOf = (outcome: Row["outcome"]) => rows.filter((row) => row.outcome === outcome).length;
  const failed = countOf("refused") + countOf("not readable");
  terminal.note(
    `${countOf("entered")} ${options.dryRun === true ? "would be entered" : "entered"}, ${countOf("unchanged")} there already, ${countOf("refused")} refused, ${countOf("not readable")} not readable`,
  );
  return failed === 0 ? exitCodes.done : exitCodes.refused;
}

async function send(
  context: CommandContext,
  client: ApiClient,
  lines: readonly (ReadLine & { readonly kind: "line" })[],
  isDryRun: boolean,
): Promise<Row[]> {
  const rows: Row[] = [];
  const steps = Math.ceil(lines.length / batchSize);
  const title = isDryRun ? "Asking" : "Entering";
  const progress = await showProgress(context.terminal, { title, count: lines.length, steps });
  for (let start = 0; start < lines.length; start += batchSize) {
    const batch = lines.slice(start, start + batchSize);
    const { body } = await client
      .call<typeof importIps>({
        method: "POST",
        path: "/v1/import",
        body: { lines: batch.map(({ line }) => line), ...(isDryRun ? { dryRun: true } : {}) },
        about: `import of ${batch[0]?.from ?? ""} and what follows`,
      })
      .catch((error: unknown) => {
        progress.end(`stopped after ${rows.length} of ${lines.length}`);
        context.terminal.note(
          `${rows.length} lines were sent before; importing again is safe, what is there stays`,
        );
        throw error;
      });
    for (const [index, { ip, outcome, message }] of body.results.entries()) {
      rows.push({ from: batch[index]?.from ?? "", ip, outcome, message });
    }
    progress.at(rows.length);
  }
  progress.end(`${rows.length} of ${lines.length}`);
  return rows;
}

async function readLines(
  text: string,
  file: string,
  format: (typeof importFormats)[number],
): Promise<ReadLine[]> {
  const isCsv = format === "csv" || (format === "auto" && looksLikeCsv(text, file));
  if (isCsv) return readCsv(text);
  const start = text.trimStart()[0];
  if (start === "{" || start === "[") {
    try {
      const json = JSON.parse(text) as unknown;
      return readObjects(Array.isArray(json) ? json : [json]);
    } catch {
      // YAML has braces too, and says where it breaks.
    }
  }
  const { parseAllDocuments } = await import("yaml");
  const documents = parseAllDocuments(text);
  const objects: unknown[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const error = document.errors[0];
    if (error !== undefined) {
      throw new CommandProblem(
        exitCodes.usage,
        `${file}: neither YAML nor JSON: ${error.message.split("\n")[0] ?? ""}; correct it, or say --format csv`,
      );
    }
    const value = document.toJSON() as unknown;
    if (Array.isArray(value)) objects.push(...(value as unknown[]));
    else if (value !== null) objects.push(value);
  }
  return readObjects(objects);
}

/** By name, or because the first line that says something is a list of columns with the address among them. */
function looksLikeCsv(text: string, file: string): boolean {
  if (/\.(csv|tsv)$/i.test(file)) return true;
  if (/\.(ya?ml|json)$/i.test(file)) return false;
  const first = text.split("\n").find((line) => line.trim() !== "" && !line.startsWith("#")) ?? "";
  return /^[\w "_-]+([,;\t][\w "_-]+)*\r?$/.test(first) && /\b(ip|address)\b/i.test(first);
}
