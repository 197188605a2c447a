// `galaxyctl ip reserve` and `ip unreserve`: an administrator takes addresses out of allocation and gives them back, one after the other.

import { addressesOf, parseIpRange, rangeSize } from "../core/ip-range.ts";
import type { getIp } from "../wire/api/floating-ip.ts";
import type { deleteReservation, putReservation } from "../wire/api/reservation.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { writeList } from "./output.ts";

type Outcome = { readonly ip: string; readonly outcome: string; readonly reason?: string };

/** More at once belongs into the configuration: leave the range out of `ips`. */
const mostAddresses = 4_096;

/** Takes addresses out of allocation. */
export async function ipReserve(
  context: CommandContext,
  words: readonly string[],
  options: { readonly reason?: string; readonly dryRun?: boolean },
): Promise<ExitCode> {
  return await forEachAddress(context, words, async (client, ip) => {
    if (options.dryRun === true) return await preview(client, ip, "reserve");
    await client.call<typeof putReservation>({
      method: "PUT",
      path: "/v1/reservation/{ip}",
      params: { ip },
      body: options.reason === undefined ? {} : { reason: options.reason },
      about: `reservation of ${ip}`,
    });
    return { ip, outcome: "reserved" };
  });
}

/** Gives reserved addresses back. */
export async function ipUnreserve(
  context: CommandContext,
  words: readonly string[],
  options: { readonly dryRun?: boolean },
): Promise<ExitCode> {
  return await forEachAddress(context, words, async (client, ip) => {
    if (options.dryRun === true) return await preview(client, ip, "unreserve");
    await client.call<typeof deleteReservation>({
      method: "DELETE",
      path: "/v1/reservation/{ip}",
      params: { ip },
      about: `reservation of ${ip}`,
    });
    return { ip, outcome: "free" };
  });
}

/** What the change would do, judged by the state now. */
async function preview(
  client: ApiClient,
  ip: string,
  what: "reserve" | "unreserve",
): Promise<Outcome> {
  const { body } = await client.call<typeof getIp>({
    method: "GET",
    path: "/v1/ip/{ip}",
    params: { ip },
    about: `address ${ip}`,
  });
  const allowed = what === "reserve" ? ["free", "admin"] : ["admin"];
  if (allowed.includes(body.state)) return { ip, outcome: `would be ${what}d` };
  return { ip, outcome: "refused", reason: `it is ${body.state}: ${body.reasons.join("; ")}` };
}

async function forEachAddress(
  context: CommandContext,
  words: readonly string[],
  change: (client: ApiClient, ip: string) => Promise<Outcome>,
): Promise<ExitCode> {
  const ips = words.flatMap((word) => {
    const parse = parseIpRange(word);
    if (parse.kind === "problem") {
      throw new CommandProblem(
        exitCodes.usage,
        `${parse.problem}; write addresses, or ranges like 10.0.70.2~10.0.70.9. Nothing was changed`,
      );
    }
    if (rangeSize(parse.range) > mostAddresses) {
      throw new CommandProblem(
        exitCodes.usage,
        `range ${word} has more than ${mostAddresses} addresses; leave it out of ips in the configuration instead`,
      );
    }
    return [...addressesOf(parse.range)];
  });
  const client = await context.connect();
  const outcomes: Outcome[] = [];
  let code: ExitCode = exitCodes.done;
  for (const ip of ips) {
    try {
      const outcome = await change(client, ip);
      if (outcome.outcome === "refused") code = exitCodes.refused;
      outcomes.push(outcome);
    } catch (error) {
      const isAboutIp =
        error instanceof CommandProblem &&
        (error.exitCode === exitCodes.refused || error.exitCode === exitCodes.notFound);
      // One address alone: its message is the whole answer. Any other failure would meet the next address too.
      if (!isAboutIp || ips.length === 1) throw error;
      outcomes.push({ ip, outcome: "refused", reason: error.message });
      code = exitCodes.refused;
    }
  }
  await writeList(
    context.terminal,
    context.options.output,
    outcomes,
    {
      usual: [
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        { title: "OUTCOME", text: ({ outcome }) => outcome, isWhole: true },
        { title: "REASON", text: ({ reason }) => reason },
      ],
    },
    { empty: "nothing was changed" },
  );
  return code;
}
