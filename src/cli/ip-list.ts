// `galaxyctl ip list`: addresses with their owners, page by page, and live with --watch.

import type { FloatingIp } from "../wire/api/floating-ip.ts";
import type { AddressFilter } from "./address-list.ts";
import { addressColumns, queryOf, readAddresses } from "./address-list.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { ListWriter } from "./output.ts";

/** Options of the command. */
export type IpListOptions = AddressFilter & {
  readonly sort?: string;
  readonly limit?: number;
  readonly all?: boolean;
  readonly watch?: boolean;
};

/** Rows that a table shows unless told otherwise: a million free addresses are no help to anybody. */
const tableLimit = 500;

/** Lists addresses. */
export async function ipList(context: CommandContext, options: IpListOptions): Promise<ExitCode> {
  if (options.watch === true) {
    const { ipWatch } = await import("./ip-watch.ts");
    return await ipWatch(context, options);
  }
  const { terminal } = context;
  const client = await context.connect();
  const isWhole = options.all === true || !context.isForPeople;
  const limit = options.limit ?? (isWhole ? Number.POSITIVE_INFINITY : tableLimit);
  const writer = new ListWriter<FloatingIp>(terminal, context.options.output, addressColumns, {
    empty: "no address is like that; leave filters away, or see galaxyctl subnet list",
  });
  const query = { ...queryOf(context, options), sort: options.sort ?? "ip asc" };
  let shown = 0;
  let total = 0;
  const note = (line: string) => terminal.note(`note: ${line}`);
  for await (const part of readAddresses(client, query, { limit, note })) {
    await writer.write(part.addresses);
    shown += part.addresses.length;
    total = part.total;
  }
  await writer.end();
  if (shown < total && context.isForPeople) {
    terminal.note(
      `${shown} of ${total} addresses; --all shows the rest, filters and --limit choose`,
    );
  }
  return exitCodes.done;
}
