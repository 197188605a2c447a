// `galaxyctl check`: what of records, pods, annotations and configuration contradicts each other; with --repair shows the plan, asks, and
// has it done. The server finds and repairs; a repair of a state that changed meanwhile is refused there.

import type { FindingAnswer, getCheck, repair } from "../wire/api/check.ts";
import type { SuccessOf } from "../wire/api/endpoint.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { isConfirmed, showProgress } from "./confirm.ts";
import type { Columns } from "./output.ts";
import { tableFor, writeList } from "./output.ts";
import type { Color } from "./terminal.ts";

type Repair = NonNullable<FindingAnswer["repair"]>;
type RepairResult = SuccessOf<typeof repair>["results"][number];

const batchSize = 500;

const severityColors: Readonly<Record<FindingAnswer["severity"], Color>> = {
  error: "red",
  warning: "yellow",
  note: "gray",
};

const columns: Columns<FindingAnswer> = {
  usual: [
    {
      title: "SEVERITY",
      text: ({ severity }) => severity,
      isWhole: true,
      color: ({ severity }) => severityColors[severity],
    },
    { title: "IP", text: ({ ip }) => ip, isWhole: true },
    { title: "POD", text: ({ pod }) => pod },
    { title: "WHAT", text: ({ message }) => message },
    { title: "WHAT TO DO", text: (finding) => finding.repair?.message ?? finding.advice },
  ],
  wide: [{ title: "KIND", text: ({ kind }) => kind }],
};

/** Looks, and repairs when asked to. */
export async function check(
  context: CommandContext,
  options: { readonly repair?: boolean; readonly yes?: boolean; readonly dryRun?: boolean },
): Promise<ExitCode> {
  const { terminal } = context;
  const { output } = context.options;
  const client = await context.connect();
  const { body } = await client.call<typeof getCheck>({
    method: "GET",
    path: "/v1/check",
    about: "check",
  });
  const { findings } = body;
  const isWrong = findings.some(({ severity }) => severity !== "note");
  const summary = `${body.recordCount} records and ${body.podCount} pods compared: ${findings.length} finding${findings.length === 1 ? "" : "s"}`;
  if (options.repair !== true) {
    await writeList(terminal, output, findings, columns, { empty: "everything agrees" });
    terminal.note(`${summary}${body.isTruncated ? "; there are more than are shown" : ""}`);
    const count = findings.filter((finding) => finding.repair !== undefined).length;
    if (count > 0) terminal.note(`galaxyctl check --repair would repair ${count} of them`);
    return isWrong ? exitCodes.refused : exitCodes.done;
  }

  const repairable = findings.flatMap((finding) =>
    finding.repair === undefined ? [] : [{ finding, repair: finding.repair }],
  );
  const others = findings.filter(
    ({ repair: proposal, severity }) => proposal === undefined && severity !== "note",
  );
  terminal.note(summary);
  if (repairable.length === 0) {
    await writeList(terminal, output, others, columns, { empty: "there is nothing to repair" });
    return others.length > 0 ? exitCodes.refused : exitCodes.done;
  }
  const plan = tableFor(terminal, context.isForPeople ? output : "table", columns);
  const table = plan.lines(repairable.map(({ finding }) => finding)).trimEnd();
  terminal.note(`what will be done:\n${table}`);
  if (options.dryRun === true) return exitCodes.refused;
  const question = `Do ${repairable.length === 1 ? "this repair" : `these ${repairable.length} repairs`}?`;
  if (!(await isConfirmed(terminal, question, options.yes === true))) {
    terminal.note("nothing was repaired");
    return exitCodes.refused;
  }
  const results = await doRepairs(
    context,
    client,
    repairable.map((item) => item.repair),
  );
  const rows = results.map((result, index) => {
    const finding = repairable[index]?.finding;
    return {
      ...(finding?.ip === undefined ? {} : { ip: finding.ip }),
      ...(finding?.pod === undefined ? {} : { pod: finding.pod }),
      ...result,
    };
  });
  await writeList(
    terminal,
    output,
    rows,
    {
      usual: [
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        { title: "POD", text: ({ pod }) => pod },
        {
          title: "OUTCOME",
          text: ({ outcome }) => outcome,
          isWhole: true,
          color: ({ outcome }) => (outcome === "done" ? "green" : "yellow"),
        },
        { title: "WHAT", text: ({ message }) => message },
      ],
    },
    { empty: "nothing was repaired" },
  );
  const done = results.filter(({ outcome }) => outcome === "done").length;
  terminal.note(
    `${done} of ${results.length} repairs done${others.length === 0 ? "" : `; ${others.length} findings need a person, see galaxyctl check`}`,
  );
  return done === results.length && others.length === 0 ? exitCodes.done : exitCodes.refused;
}

async function doRepairs(
  context: CommandContext,
  client: ApiClient,
  repairs: readonly Repair[],
): Promise<RepairResult[]> {
  const results: RepairResult[] = [];
  const steps = Math.ceil(repairs.length / batchSize);
  const count = repairs.length;
  const progress = await showProgress(context.terminal, { title: "Repairing", count, steps });
  for (let start = 0; start < count; start += batchSize) {
    const { body } = await client.call<typeof repair>({
      method: "POST",
      path: "/v1/check/repair",
      body: { repairs: repairs.slice(start, start + batchSize).map(({ id }) => id) },
      about: "repairs",
    });
    results.push(...body.results);
    progress.at(results.length);
  }
  progress.end(`${results.length} of ${count}`);
  return results;
}
