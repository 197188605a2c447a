// `galaxyctl ip release`: shows what would be released, asks, and releases in batches. The server looks again at each address, and at
// its owner: what changed since it was shown stays.

import { parseIp } from "../core/ip.ts";
import { addressesOf, parseIpRange, rangeSize } from "../core/ip-range.ts";
import type { FloatingIp, getIp, releaseIps } from "../wire/api/floating-ip.ts";
import type { AddressFilter } from "./address-list.ts";
import { addressColumns, queryOf, readAddresses } from "./address-list.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { isConfirmed, showProgress } from "./confirm.ts";
import { readFileOf } from "./connection.ts";
import { tableFor, writeList } from "./output.ts";

/** Options of the command. */
export type IpReleaseOptions = AddressFilter & {
  readonly file?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
};

/** What became of one address. */
type Outcome = {
  readonly ip: string;
  readonly outcome: "released" | "would be released" | "kept";
  readonly reason?: string;
};

/** Addresses in one request: the API releases a thousand at once, and progress shows after each. */
const batchSize = 500;
/** More in one range is a slip of the finger. */
const mostInRange = 65_536;
/** Rows of the plan that a person is shown. */
const planRows = 20;

/** Releases addresses by name, range, file or filter. */
export async function ipRelease(
  context: CommandContext,
  words: readonly string[],
  options: IpReleaseOptions,
): Promise<ExitCode> {
  const { terminal } = context;
  const named = await namedAddresses(context, words, options.file);
  const query = queryOf(context, options);
  if (named.length === 0 && Object.keys(query).length === 0) {
    throw new CommandProblem(
      exitCodes.usage,
      "nothing says which addresses to release; name addresses or ranges A~B, give --file FILE, or filter with -n, --app, --pod, --pool or --keyword",
    );
  }
  if (named.length > 0 && Object.keys(query).length > 0) {
    throw new CommandProblem(
      exitCodes.usage,
      "addresses are named and filtered at once; do one of the two",
    );
  }
  const client = await context.connect();
  const found =
    named.length > 0 ? await lookUp(client, named) : await search(context, client, query);
  const wanted = found.filter(({ state }) => state !== "free");
  const free = found.filter(({ state }) => state === "free");
  if (wanted.length === 0) {
    await report(context, free.map(asFree));
    terminal.note(found.length === 0 ? "no address is like that" : "all of them are free already");
    return exitCodes.done;
  }
  if (context.isForPeople && options.yes !== true) await showPlan(context, wanted);
  if (options.dryRun !== true) {
    const question = `Release ${wanted.length} address${wanted.length === 1 ? "" : "es"}?`;
    if (!(await isConfirmed(terminal, question, options.yes === true))) {
      terminal.note("nothing was released");
      return exitCodes.refused;
    }
  }
  const outcomes = await release(context, client, wanted, options.dryRun === true);
  const all = [...outcomes, ...free.map(asFree)];
  await report(context, all);
  const kept = all.filter(({ outcome }) => outcome === "kept").length;
  const verb = options.dryRun === true ? "would be released" : "released";
  terminal.note(`${all.length - kept} ${verb}, ${kept} kept`);
  return kept === 0 ? exitCodes.done : exitCodes.refused;
}

/** Releasing twice is the same as once, as in the API. */
function asFree({ ip }: FloatingIp): Outcome {
  return { ip, outcome: "released", reason: "it is free" };
}

async function namedAddresses(
  context: CommandContext,
  words: readonly string[],
  file: string | undefined,
): Promise<readonly string[]> {
  const text =
    file === undefined
      ? ""
      : file === "-"
        ? await context.terminal.readInput()
        : readFileOf("--file", file);
  const listed = text
    .replace(/#.*$/gm, "")
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  const addresses = new Set<string>();
  for (const word of [...words, ...listed]) {
    const parse = parseIpRange(word);
    if (parse.kind === "problem") {
      throw new CommandProblem(
        exitCodes.usage,
        `${parse.problem}; write addresses, or ranges like 10.0.70.2~10.0.70.9. Nothing was released`,
      );
    }
    if (rangeSize(parse.range) > mostInRange) {
      throw new CommandProblem(
        exitCodes.usage,
        `range ${word} has more than ${mostInRange} addresses; name smaller ones, or filter`,
      );
    }
    for (const ip of addressesOf(parse.range)) addresses.add(ip);
  }
  return [...addresses];
}

/** The addresses with their owners as the server has them, which a release has to name. */
async function lookUp(client: ApiClient, ips: readonly string[]): Promise<FloatingIp[]> {
  const found: FloatingIp[] = [];
  const width = 8;
  for (let start = 0; start < ips.length; start += width) {
    const answers = await Promise.all(
      ips.slice(start, start + width).map((ip) =>
        client.call<typeof getIp>({
          method: "GET",
          path: "/v1/ip/{ip}",
          params: { ip },
          about: `address ${ip}`,
        }),
      ),
    );
    found.push(...answers.map(({ body }) => body));
  }
  return found;
}

async function search(
  context: CommandContext,
  client: ApiClient,
  query: ReturnType<typeof queryOf>,
): Promise<FloatingIp[]> {
  const found: FloatingIp[] = [];
  const note = (line: string) => context.terminal.note(`note: ${line}`);
  const limit = Number.POSITIVE_INFINITY;
  for await (const part of readAddresses(client, query, { limit, note })) {
    // A filter by subnet alone matches free addresses too, which nobody has to release.
    found.push(...part.addresses.filter(({ state }) => state !== "free"));
  }
  return found;
}

async function showPlan(context: CommandContext, addresses: readonly FloatingIp[]): Promise<void> {
  const { terminal, options } = context;
  const table = tableFor<FloatingIp>(terminal, options.output, addressColumns);
  terminal.note(table.lines(addresses.slice(0, planRows)).trimEnd());
  if (addresses.length > planRows) terminal.note(`and ${addresses.length - planRows} more`);
}

async function release(
  context: CommandContext,
  client: ApiClient,
  addresses: readonly FloatingIp[],
  isDryRun: boolean,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const steps = Math.ceil(addresses.length / batchSize);
  const title = isDryRun ? "Asking" : "Releasing";
  const progress = await showProgress(context.terminal, { title, count: addresses.length, steps });
  for (let start = 0; start < addresses.length; start += batchSize) {
    const batch = addresses.slice(start, start + batchSize);
    try {
      outcomes.push(...(await releaseBatch(client, batch, isDryRun)));
    } catch (error) {
      progress.end(`stopped after ${outcomes.length} of ${addresses.length}`);
      // What was released before the server failed has to be said: it is done.
      await report(context, outcomes);
      throw error;
    }
    progress.at(outcomes.length);
  }
  progress.end(`${outcomes.length} of ${addresses.length}`);
  return outcomes;
}

async function releaseBatch(
  client: ApiClient,
  batch: readonly FloatingIp[],
  isDryRun: boolean,
): Promise<Outcome[]> {
  const { body } = await client.call<typeof releaseIps>({
    method: "POST",
    path: "/v1/ip",
    body: {
      ips: batch.map(({ ip, namespace, appName, appType, podName, poolName }) => ({
        ip,
        ...(namespace === undefined ? {} : { namespace }),
        ...(appName === undefined ? {} : { appName }),
        ...(appType === undefined ? {} : { appType }),
        ...(podName === undefined ? {} : { podName }),
        ...(poolName === undefined ? {} : { poolName }),
      })),
      ...(isDryRun ? { dryRun: true } : {}),
    },
    about: `release of ${batch.length} addresses`,
  });
  const kept = new Map(
    (body.unreleased ?? []).map((ip, index) => [parseIp(ip) ?? ip, body.reasons?.[index] ?? ""]),
  );
  return batch.map(({ ip }): Outcome => {
    const reason = kept.get(ip);
    if (reason !== undefined) return { ip, outcome: "kept", reason };
    return { ip, outcome: isDryRun ? "would be released" : "released" };
  });
}

async function report(context: CommandContext, outcomes: readonly Outcome[]): Promise<void> {
  await writeList(
    context.terminal,
    context.options.output,
    outcomes,
    {
      usual: [
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        {
          title: "OUTCOME",
          text: ({ outcome }) => outcome,
          isWhole: true,
          color: ({ outcome }) => (outcome === "kept" ? "yellow" : "green"),
        },
        { title: "REASON", text: ({ reason }) => reason },
      ],
    },
    { empty: "nothing was released" },
  );
}
