// `galaxyctl status`: the replica that answers, its configuration and its figures.

import type { getStatus, StatusAnswer } from "../wire/api/status.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { fieldLines, writeObject } from "./output.ts";
import { redrawOnEvents } from "./redraw.ts";
import { printable } from "./terminal.ts";

/** Shows the status; ends with `refused` when the server is not ready or its configuration has problems. */
export async function status(
  context: CommandContext,
  options: { readonly watch?: boolean },
): Promise<ExitCode> {
  const client = await context.connect();
  let code: ExitCode = exitCodes.done;
  const show = async () => {
    const { body } = await client.call<typeof getStatus>({
      method: "GET",
      path: "/v1/status",
      about: "status",
    });
    const isWell = body.isReady && body.configuration.problems.length === 0;
    code = isWell ? exitCodes.done : exitCodes.refused;
    await writeObject(context.terminal, context.options.output, body, (answer) =>
      describe(answer, client.connection.base.href),
    );
  };
  if (options.watch === true) {
    await redrawOnEvents(context, client, {
      kinds: ["address", "usage", "pool", "configuration"],
      show,
    });
    return exitCodes.done;
  }
  await show();
  return code;
}

function describe(answer: StatusAnswer, server: string): string {
  const { configuration, counts } = answer;
  const lines = (title: string, texts: readonly string[]) =>
    texts.map((text) => `${title}: ${printable(text)}\n`).join("");
  return (
    fieldLines([
      ["Server", server],
      ["Version", `${answer.version}, ${answer.mode}`],
      ["Replica", `${answer.instance}${answer.isLeader ? ", leads" : ""}`],
      ["Leader", answer.leader === "" ? "unknown" : answer.leader],
      ["Ready", answer.isReady ? "yes" : `no: ${answer.reason}`],
      ["Started", answer.startedAt],
      ["Configuration", configuration.source],
      [
        "Addresses",
        `${counts.total}: ${counts.free} free, ${counts.bound} bound, ${counts.reserved} reserved, ${counts.admin} admin, ${counts.held} held; ${counts.draining} draining`,
      ],
      [
        "Records",
        counts.unsettled === 0
          ? counts.records
          : `${counts.records}, ${counts.unsettled} unsettled`,
      ],
      ["Subnets", counts.subnets],
      ["Nodes", counts.nodes],
      ["Pods", counts.waiting === 0 ? counts.pods : `${counts.pods}, ${counts.waiting} waiting`],
      ["Pools", counts.pools],
    ]) +
    lines("Problem", configuration.problems) +
    lines("Warning", configuration.warnings)
  );
}
