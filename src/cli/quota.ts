// `galaxyctl quota list`, `quota set` and `quota delete`: how many addresses namespaces may have.

import type { deleteQuota, listQuotas, putQuota, QuotaUseAnswer } from "../wire/api/quota.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { isConfirmed } from "./confirm.ts";
import type { Columns } from "./output.ts";
import { writeList, writeObject } from "./output.ts";

const columns: Columns<QuotaUseAnswer> = {
  usual: [
    { title: "NAMESPACE", text: ({ namespace }) => namespace },
    { title: "QUOTA", text: ({ quota }) => quota },
    { title: "LIMIT", text: ({ limit }) => limit, align: "right" },
    {
      title: "USED",
      text: ({ used }) => used,
      align: "right",
      color: ({ used, limit }) => (used >= limit ? "red" : undefined),
    },
    { title: "PROMISED", text: ({ promised }) => promised, align: "right" },
  ],
  wide: [],
};

/** Lists namespaces under a quota. */
export async function quotaList(context: CommandContext): Promise<ExitCode> {
  const client = await context.connect();
  const { body } = await client.call<typeof listQuotas>({
    method: "GET",
    path: "/v1/quota",
    about: "quotas",
  });
  const { namespace } = context.options;
  const shown = body.namespaces.filter(
    (use) => namespace === undefined || use.namespace === namespace,
  );
  await writeList(context.terminal, context.options.output, shown, columns, {
    empty:
      body.quotas.length === 0
        ? "there are no quotas; make one with galaxyctl quota set NAME --limit N"
        : "no namespace with addresses is under a quota",
  });
  return exitCodes.done;
}

/** Creates a quota or changes it. */
export async function quotaSet(
  context: CommandContext,
  name: string,
  flags: { readonly limit: number; readonly for?: readonly string[]; readonly forAll?: boolean },
): Promise<ExitCode> {
  if (flags.for !== undefined && flags.forAll === true) {
    throw new CommandProblem(
      exitCodes.usage,
      `quota ${name}: --for and --for-all at once; name namespaces, or all that no other quota names`,
    );
  }
  const namespaces = flags.forAll === true ? [] : flags.for;
  const client = await context.connect();
  const { body } = await client.call<typeof putQuota>({
    method: "PUT",
    path: "/v1/quota/{name}",
    params: { name },
    body: {
      limit: flags.limit,
      ...(namespaces === undefined ? {} : { namespaces: [...namespaces] }),
    },
    about: `quota ${name}`,
  });
  const who =
    body.namespaces.length === 0
      ? "every namespace that no other quota names"
      : body.namespaces.join(", ");
  await writeObject(
    context.terminal,
    context.options.output,
    body,
    () => `quota ${name}: ${body.limit} addresses for ${who}\n`,
  );
  return exitCodes.done;
}

/** Deletes a quota. */
export async function quotaDelete(
  context: CommandContext,
  name: string,
  flags: { readonly yes?: boolean },
): Promise<ExitCode> {
  const client = await context.connect();
  if (!(await isConfirmed(context.terminal, `Delete quota ${name}?`, flags.yes === true))) {
    context.terminal.note("nothing was deleted");
    return exitCodes.refused;
  }
  const { body } = await client.call<typeof deleteQuota>({
    method: "DELETE",
    path: "/v1/quota/{name}",
    params: { name },
    about: `quota ${name}`,
  });
  await writeObject(
    context.terminal,
    context.options.output,
    body,
    () => `quota ${name} is deleted\n`,
  );
  return exitCodes.done;
}
