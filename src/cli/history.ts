// `galaxyctl history`: who held an address when.

import type { HistoryEntryAnswer, listHistory } from "../wire/api/history.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { writeList } from "./output.ts";

/** Options of the command. */
export type HistoryOptions = {
  readonly ip?: string;
  readonly pod?: string;
  readonly app?: string;
  readonly appType?: string;
  readonly at?: string;
  readonly from?: string;
  readonly until?: string;
  readonly limit?: number;
};

/** Shows history, the latest first. */
export async function history(context: CommandContext, options: HistoryOptions): Promise<ExitCode> {
  const { terminal } = context;
  const { namespace, output } = context.options;
  const client = await context.connect();
  const { body } = await client.call<typeof listHistory>({
    method: "GET",
    path: "/v1/history",
    query: {
      ...(options.ip === undefined ? {} : { ip: options.ip }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(options.pod === undefined ? {} : { podName: options.pod }),
      ...(options.app === undefined ? {} : { appName: options.app }),
      ...(options.appType === undefined ? {} : { appType: options.appType }),
      ...timeOf("at", options.at),
      ...timeOf("from", options.from),
      ...timeOf("until", options.until),
      limit: options.limit ?? 100,
    },
    about: "history",
  });
  await writeList<HistoryEntryAnswer>(
    terminal,
    output,
    body.entries,
    {
      usual: [
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        {
          title: "FROM",
          text: ({ from, fromIsAbout }) => (fromIsAbout === true ? `~${from}` : from),
          isWhole: true,
        },
        {
          title: "UNTIL",
          text: ({ until = "now", untilIsAbout }) => (untilIsAbout === true ? `~${until}` : until),
          isWhole: true,
        },
        { title: "STATE", text: ({ state }) => state, isWhole: true },
        { title: "NAMESPACE", text: (entry) => entry.namespace },
        { title: "POD", text: ({ podName }) => podName },
        { title: "WORKLOAD", text: ({ appName }) => appName },
        { title: "POOL", text: ({ poolName }) => poolName },
      ],
      wide: [
        { title: "NODE", text: ({ nodeName }) => nodeName },
        { title: "POD UID", text: ({ podUid }) => podUid },
        { title: "KEY", text: ({ key }) => key },
      ],
    },
    { empty: "nothing is known of that" },
  );
  if (!body.isComplete && context.isForPeople) {
    const since = body.keptSince === undefined ? "" : `; nothing before ${body.keptSince} is kept`;
    terminal.note(
      `there is more, or there was: --limit shows more, --from and --until choose${since}`,
    );
  }
  return exitCodes.done;
}

/** A time as people write it, as the API wants it (RFC 3339). */
function timeOf<Name extends "at" | "from" | "until">(
  name: Name,
  text: string | undefined,
): { readonly [N in Name]?: string } {
  if (text === undefined) return {};
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw new CommandProblem(
      exitCodes.usage,
      `"${text}" of --${name} is no time; write it like 2026-11-21T08:30:00Z`,
    );
  }
  return { [name]: time.toISOString() } as { readonly [N in Name]?: string };
}
