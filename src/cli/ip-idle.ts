// `galaxyctl ip idle`: reserved addresses that no pod uses.

import type { IdleAddressAnswer, listIdle } from "../wire/api/idle.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import type { Columns } from "./output.ts";
import { writeList } from "./output.ts";

const columns: Columns<IdleAddressAnswer> = {
  usual: [
    { title: "IP", text: ({ ip }) => ip, isWhole: true },
    { title: "RESERVED FOR", text: reservedFor },
    { title: "IDLE SINCE", text: ({ idleSince }) => idleSince ?? "unknown" },
    { title: "TTL", text: ({ reserveTTL }) => reserveTTL ?? "none" },
    {
      title: "RELEASED AT",
      text: ({ releaseAt, keptBecause }) => releaseAt ?? (keptBecause === undefined ? "" : "kept"),
      color: ({ warnedAt }) => (warnedAt === undefined ? undefined : "yellow"),
    },
  ],
  wide: [
    { title: "POLICY", text: ({ policy }) => policy },
    { title: "TTL FROM", text: ({ ttlFrom }) => ttlFrom },
    { title: "WARNED AT", text: ({ warnedAt }) => warnedAt },
    { title: "KEPT BECAUSE", text: ({ keptBecause }) => keptBecause },
  ],
};

function reservedFor({ namespace, appType, appName, podName, poolName }: IdleAddressAnswer) {
  if (podName !== undefined) return `pod ${namespace}/${podName}`;
  if (appName !== undefined) return `${appType} ${namespace}/${appName}`;
  return `pool ${poolName ?? ""}`;
}

/** Lists reserved addresses that no pod uses. */
export async function ipIdle(
  context: CommandContext,
  flags: { readonly pool?: string; readonly longerThan?: string; readonly limit?: number },
): Promise<ExitCode> {
  const client = await context.connect();
  const { namespace } = context.options;
  const { body } = await client.call<typeof listIdle>({
    method: "GET",
    path: "/v1/idle",
    query: {
      ...(namespace === undefined ? {} : { namespace }),
      ...(flags.pool === undefined ? {} : { pool: flags.pool }),
      ...(flags.longerThan === undefined ? {} : { longerThan: flags.longerThan }),
      ...(flags.limit === undefined ? {} : { limit: flags.limit }),
    },
    about: "idle addresses",
  });
  await writeList(context.terminal, context.options.output, body.addresses, columns, {
    empty: "no reserved address is without a pod",
  });
  const hidden = body.total - body.addresses.length;
  if (hidden > 0) context.terminal.note(`${hidden} more; --limit shows them`);
  return exitCodes.done;
}
