// `galaxyctl ip list --watch`: the list, and then a line for each change until interrupted.

import { parseIpNumber } from "../core/ip.ts";
import { parseCidr, rangeContains } from "../core/ip-range.ts";
import type { FloatingIp } from "../wire/api/floating-ip.ts";
import type { AddressFilter } from "./address-list.ts";
import { addressColumns, queryOf, readAddresses, stateOf } from "./address-list.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { followEvents, untilInterrupted } from "./event-stream.ts";
import { tableFor } from "./output.ts";

/** States that the server lists; the others pass within moments and come as events. */
const statesInUse = ["bound", "reserved", "admin", "draining"] as const;

/** Lists at the start and after lost events; JSON comes as one object a line, YAML as one document each. */
export async function ipWatch(
  context: CommandContext,
  options: AddressFilter & { readonly limit?: number },
): Promise<ExitCode> {
  const { terminal } = context;
  const { output } = context.options;
  const client = await context.connect();
  const { signal } = untilInterrupted();
  const table = tableFor<FloatingIp>(terminal, output, addressColumns);
  const note = (line: string) => terminal.note(`note: ${line}`);
  /** Addresses that were shown: one that leaves the filter is shown once more, so that a person sees it go. */
  const shown = new Set<string>();

  const write = async (addresses: readonly FloatingIp[]): Promise<void> => {
    if (context.isForPeople) await terminal.write(table.lines(addresses));
    else if (output === "json") {
      await terminal.write(addresses.map((address) => `${JSON.stringify(address)}\n`).join(""));
    } else {
      const { stringify } = await import("yaml");
      for (const address of addresses) await terminal.write(`---\n${stringify(address)}`);
    }
  };
  const list = async (): Promise<void> => {
    shown.clear();
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    // Free addresses are not listed at the start: they are what is not there. A change to free is shown.
    for (const state of options.state === undefined ? statesInUse : [options.state]) {
      const query = { ...queryOf(context, options), state };
      for await (const part of readAddresses(client, query, { limit, note })) {
        for (const { ip } of part.addresses) shown.add(ip);
        if (part.addresses.length > 0) await write(part.addresses);
      }
    }
  };
  const matches = matcherOf({ ...options, namespace: context.options.namespace });

  await followEvents(client, {
    signal,
    note,
    opened: list,
    event: async (event) => {
      if (event.kind === "reset") {
        note(event.message);
        await list();
      } else if (event.kind === "configuration") {
        note(event.message);
      } else if (event.kind === "address") {
        const { address } = event;
        const isIn = matches(address);
        if (!isIn && !shown.has(address.ip)) return;
        if (isIn) shown.add(address.ip);
        else shown.delete(address.ip);
        await write([address]);
      }
    },
  });
  return exitCodes.done;
}

/** The server's filters on an address that an event brought. A keyword is looked for in each name and in the names joined by `_`. */
export function matcherOf(
  filter: AddressFilter & { readonly namespace?: string | undefined },
): (address: FloatingIp) => boolean {
  const block = filter.subnet === undefined ? undefined : parseCidr(filter.subnet);
  const same = (wanted: string | undefined, found: string | undefined) =>
    wanted === undefined || wanted === found;
  const kind = filter.appType?.toLowerCase();
  return (address) => {
    const number = parseIpNumber(address.ip);
    const { poolName, appType, namespace, appName, podName } = address;
    const names = [poolName, appType, namespace, appName, podName].filter(
      (name) => name !== undefined && name !== "",
    );
    return (
      same(filter.namespace, namespace) &&
      same(filter.pool, poolName) &&
      same(filter.app, appName) &&
      same(filter.pod, podName) &&
      same(filter.state, stateOf(address)) &&
      (kind === undefined || kind === appType || kind === `${appType}s`) &&
      (filter.keyword === undefined || names.join("_").includes(filter.keyword)) &&
      (block === undefined || (number !== undefined && rangeContains(block.range, number)))
    );
  };
}
