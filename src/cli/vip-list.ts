// `galaxyctl vip list` and `galaxyctl explain vip`: virtual IPs, the pods that answer for them, and why others do not.

import type { SuccessOf } from "../wire/api/endpoint.ts";
import type { listVips } from "../wire/api/vip.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { fieldLines, writeList, writeObject } from "./output.ts";
import type { Color } from "./terminal.ts";
import { colored, printable } from "./terminal.ts";

type Vip = SuccessOf<typeof listVips>["vips"][number];

const stateColors: Readonly<Record<Vip["state"], Color>> = {
  Held: "green",
  Moving: "yellow",
  Unheld: "red",
  Conflict: "red",
  Rejected: "red",
};

/** Lists virtual IPs, with `-n` those that pods of one namespace claim. */
export async function vipList(context: CommandContext): Promise<ExitCode> {
  const { namespace, output } = context.options;
  const { vips } = await readVips(context, namespace === undefined ? {} : { namespace });
  await writeList<Vip>(
    context.terminal,
    output,
    vips,
    {
      usual: [
        { title: "ADDRESS", text: ({ ip }) => ip, isWhole: true },
        { title: "STATE", text: ({ state }) => state, color: ({ state }) => stateColors[state] },
        { title: "HOLDER", text: ({ holder }) => holder },
        { title: "NODE", text: ({ nodeName }) => nodeName },
        { title: "EPOCH", text: ({ epoch }) => String(epoch) },
        { title: "SINCE", text: ({ since }) => since },
      ],
      wide: [
        { title: "CLAIMANTS", text: ({ candidates }) => candidates.map(shortOf).join(", ") },
        { title: "LAST MOVE", text: ({ lastTransition }) => lastTransition?.reason },
        { title: "MESSAGE", text: ({ message }) => message },
      ],
    },
    { empty: "there are no virtual IPs" },
  );
  return exitCodes.done;
}

/** Explains one virtual IP. */
export async function explainVip(context: CommandContext, ip: string): Promise<ExitCode> {
  const { vips, pools = [] } = await readVips(context, { ip });
  const [vip] = vips;
  if (vip === undefined) {
    const isIn = `which VIPPool ${pools.join(", ")} has`;
    const rest =
      pools.length === 0
        ? "and no VIPPool has it; extend the ranges of one, or look at another address"
        : `${isIn}; claim it with the annotation vip.galaxy.k8s.io/addresses of a pod`;
    throw new CommandProblem(exitCodes.notFound, `no pod claims ${ip}, ${rest}`);
  }
  const { terminal, options } = context;
  await writeObject(terminal, options.output, vip, (shown) => describe(shown, terminal.hasColor));
  return exitCodes.done;
}

async function readVips(
  context: CommandContext,
  query: { readonly ip?: string; readonly namespace?: string },
): Promise<SuccessOf<typeof listVips>> {
  const client = await context.connect();
  const { body } = await client.call<typeof listVips>({
    method: "GET",
    path: "/v1/vip",
    query,
    about: "virtual IPs",
  });
  return body;
}

function shortOf({ pod, reason }: Vip["candidates"][number]): string {
  return reason === undefined ? pod : `${pod} (${reason})`;
}

function describe(vip: Vip, hasColor: boolean): string {
  const { lastTransition: move } = vip;
  const claimants = vip.candidates.map(({ message }) => `  - ${printable(message)}\n`).join("");
  return [
    fieldLines([
      ["Address", vip.ip],
      ["State", hasColor ? colored(vip.state, stateColors[vip.state]) : vip.state],
      ["Because", printable(vip.message)],
      ["Holder", vip.holder],
      ["Node", vip.nodeName],
      ["Pool", vip.pools.join(", ") || undefined],
      ["Epoch", `${vip.epoch}${vip.since === undefined ? "" : `, since ${vip.since}`}`],
      ["Last move", move === undefined ? undefined : moveText(move)],
      ["Also at", vip.foreignOwner],
    ]),
    claimants === "" ? "" : `Claimants:\n${claimants}`,
  ]
    .filter((text) => text !== "")
    .join("\n");
}

function moveText(move: NonNullable<Vip["lastTransition"]>): string {
  const { at, decideMs, detectMs, from = "nobody", programMs, reason, to = "nobody" } = move;
  const took = [
    detectMs === undefined ? undefined : `noticed after ${detectMs} ms`,
    `decided in ${decideMs} ms`,
    programMs === undefined ? undefined : `answered after ${programMs} ms`,
  ].filter((text) => text !== undefined);
  return `${from} to ${to} at ${at} (${reason}; ${took.join(", ")})`;
}
