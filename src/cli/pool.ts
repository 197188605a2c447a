// `galaxyctl pool list`, `pool create`, `pool update` and `pool delete`: named groups of addresses.

import type { deletePool, listPools, PoolUsage, putPool } from "../wire/api/pool.ts";
import { parseReserveTtl } from "../wire/reserve-ttl.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { isConfirmed } from "./confirm.ts";
import type { Columns } from "./output.ts";
import { writeList, writeObject } from "./output.ts";
import { redrawOnEvents } from "./redraw.ts";

const columns: Columns<PoolUsage> = {
  usual: [
    { title: "NAME", text: ({ name }) => name },
    { title: "SIZE", text: ({ size }) => size ?? "grows", align: "right" },
    { title: "PRE-ALLOCATED", text: ({ preAllocateIP }) => (preAllocateIP ? "yes" : "no") },
    { title: "ADDRESSES", text: ({ allocated }) => allocated, align: "right" },
    { title: "IN USE", text: ({ used }) => used, align: "right" },
    {
      title: "MISSING",
      text: ({ missing }) => missing,
      align: "right",
      color: ({ missing }) => (missing > 0 ? "red" : undefined),
    },
    { title: "RESERVE TTL", text: ({ reserveTTL }) => reserveTTL },
    { title: "PROBLEM", text: ({ problem }) => problem, color: () => "yellow" },
  ],
  wide: [{ title: "NAMESPACE", text: ({ namespace }) => namespace }],
};

/** Lists pools. */
export async function poolList(
  context: CommandContext,
  options: { readonly watch?: boolean },
): Promise<ExitCode> {
  const client = await context.connect();
  const show = async () => {
    await writeList(context.terminal, context.options.output, await readPools(client), columns, {
      empty: "there are no pools; make one with galaxyctl pool create NAME --size N",
    });
  };
  if (options.watch === true) {
    await redrawOnEvents(context, client, {
      kinds: ["address", "usage", "pool", "configuration"],
      show,
    });
  } else {
    await show();
  }
  return exitCodes.done;
}

async function readPools(client: ApiClient): Promise<readonly PoolUsage[]> {
  const { body } = await client.call<typeof listPools>({
    method: "GET",
    path: "/v1/pool",
    about: "pools",
  });
  return body.pools;
}

/** Options of `pool create` and `pool update`. */
export type PoolFlags = {
  /** `none`, of `pool update` alone: it grows with its workloads. */
  readonly size?: number | "none";
  readonly preAllocate?: boolean;
  readonly reserveTtl?: string;
  readonly dryRun?: boolean;
};

/** Creates a pool, or sets size and pre-allocation of one that is there; ends with `refused` when not all addresses could be pre-allocated. */
export async function poolCreate(
  context: CommandContext,
  name: string,
  flags: PoolFlags,
): Promise<ExitCode> {
  const { preAllocate = false, reserveTtl } = flags;
  const size = flags.size === "none" ? undefined : flags.size;
  const client = await context.connect();
  const before = flags.dryRun === true ? await readPool(client, name) : undefined;
  return await writePool(
    context,
    client,
    { name, size, preAllocate, reserveTtl },
    flags.dryRun === true ? { before } : undefined,
  );
}

/** Changes what is named of a pool that is there, as {@link poolCreate} ends. */
export async function poolUpdate(
  context: CommandContext,
  name: string,
  flags: PoolFlags,
): Promise<ExitCode> {
  if ([flags.size, flags.preAllocate, flags.reserveTtl].every((given) => given === undefined)) {
    throw new CommandProblem(
      exitCodes.usage,
      `pool ${name}: nothing says what to change; name --size, --pre-allocate, --no-pre-allocate or --reserve-ttl`,
    );
  }
  const client = await context.connect();
  const before = await readPool(client, name);
  if (before?.namespace === undefined) {
    throw new CommandProblem(
      exitCodes.notFound,
      `pool ${name}: there is no Pool of this name; make one with galaxyctl pool create ${name}`,
    );
  }
  const { preAllocate = before.preAllocateIP, size: given = before.size } = flags;
  const size = given === "none" ? undefined : given;
  if (preAllocate && size === undefined && flags.preAllocate === undefined) {
    throw new CommandProblem(
      exitCodes.usage,
      `pool ${name} takes its addresses before there are pods, for which it needs a size; add --no-pre-allocate`,
    );
  }
  const reserveTtl = flags.reserveTtl === "none" ? "" : flags.reserveTtl;
  return await writePool(
    context,
    client,
    { name, size, preAllocate, reserveTtl },
    flags.dryRun === true ? { before } : undefined,
  );
}

/** A pool as it is to be. */
type WantedPool = {
  readonly name: string;
  readonly size: number | undefined;
  readonly preAllocate: boolean;
  /** Empty: none any more; undefined: as it is. */
  readonly reserveTtl: string | undefined;
};

/** @param dryRun what is there now, when nothing is to be changed */
async function writePool(
  context: CommandContext,
  client: ApiClient,
  { name, preAllocate, reserveTtl, size }: WantedPool,
  dryRun: { readonly before: PoolUsage | undefined } | undefined,
): Promise<ExitCode> {
  if (preAllocate && size === undefined) {
    throw new CommandProblem(
      exitCodes.usage,
      `pool ${name}: --pre-allocate needs --size N, the number of addresses to take now`,
    );
  }
  const ttlProblem = parseReserveTtl(reserveTtl, `pool ${name}: --reserve-ttl`, "");
  if (typeof ttlProblem === "object") {
    throw new CommandProblem(exitCodes.usage, ttlProblem.problem);
  }
  const ttlText =
    reserveTtl === undefined
      ? ""
      : reserveTtl === ""
        ? "; it has no reserve TTL any more"
        : `; reserve TTL ${reserveTtl}`;
  if (dryRun !== undefined) {
    const { before } = dryRun;
    const sizeText = (count: number | undefined) =>
      count === undefined ? "growing with its workloads" : `size ${count}`;
    const was =
      before === undefined ? "created with " : `changed from ${sizeText(before.size)} to `;
    const outcome = `would be ${was}${sizeText(size)}${ttlText}`;
    await writeObject(
      context.terminal,
      context.options.output,
      { name, outcome },
      () => `pool ${name} ${outcome}\n`,
    );
    return exitCodes.done;
  }
  const { status, body } = await client.call<typeof putPool>({
    method: "POST",
    path: "/v1/pool",
    body: {
      name,
      ...(size === undefined ? {} : { size }),
      ...(preAllocate ? { preAllocateIP: true } : {}),
      ...(reserveTtl === undefined ? {} : { reserveTTL: reserveTtl }),
    },
    about: `pool ${name}`,
  });
  const isShort = status === 202;
  const answer = {
    name,
    outcome: isShort ? "short" : "done",
    message: body.message,
    realPoolSize: body.realPoolSize,
  };
  await writeObject(context.terminal, context.options.output, answer, () =>
    isShort
      ? `pool ${name}: ${body.message}: it has ${body.realPoolSize} of ${size ?? 0} addresses; free some or extend ips, the rest follows${ttlText}\n`
      : `pool ${name} is set${size === undefined ? "" : ` to size ${size}`}; it has ${body.realPoolSize} addresses${ttlText}\n`,
  );
  return isShort ? exitCodes.refused : exitCodes.done;
}

async function readPool(client: ApiClient, name: string): Promise<PoolUsage | undefined> {
  return (await readPools(client)).find((pool) => pool.name === name);
}

/** Deletes a pool. Its addresses stay unless `release` asks for those that no pod has. */
export async function poolDelete(
  context: CommandContext,
  name: string,
  options: { readonly release?: boolean; readonly yes?: boolean; readonly dryRun?: boolean },
): Promise<ExitCode> {
  const { terminal } = context;
  const client = await context.connect();
  const pool = await readPool(client, name);
  const free = pool === undefined ? 0 : pool.allocated - pool.used;
  const what =
    options.release === true
      ? `pool ${name} and release its ${free} addresses that no pod has`
      : `pool ${name}; its ${pool?.allocated ?? 0} addresses stay`;
  if (options.dryRun === true) {
    const text = pool === undefined ? `there is no pool ${name}` : `would delete ${what}`;
    await writeObject(terminal, context.options.output, { name, outcome: text }, () => `${text}\n`);
    return pool === undefined ? exitCodes.notFound : exitCodes.done;
  }
  if (
    pool !== undefined &&
    !(await isConfirmed(terminal, `Delete ${what}?`, options.yes === true))
  ) {
    terminal.note("nothing was deleted");
    return exitCodes.refused;
  }
  await client.call<typeof deletePool>({
    method: "DELETE",
    path: "/v1/pool/{name}",
    params: { name },
    ...(options.release === true ? { query: { release: true } } : {}),
    about: `pool ${name}`,
  });
  const outcome = options.release === true ? "deleted, with its free addresses" : "deleted";
  await writeObject(
    terminal,
    context.options.output,
    { name, outcome },
    () => `pool ${name} is ${outcome}\n`,
  );
  return exitCodes.done;
}
