// `galaxyctl subnet list`: how full each pod subnet is.

import type { listSubnets, SubnetAnswer } from "../wire/api/subnet.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import type { Columns } from "./output.ts";
import { writeList } from "./output.ts";
import { redrawOnEvents } from "./redraw.ts";

const columns: Columns<SubnetAnswer> = {
  usual: [
    { title: "SUBNET", text: ({ subnet }) => subnet, isWhole: true },
    { title: "TOTAL", text: ({ total }) => total, align: "right" },
    {
      title: "FREE",
      text: ({ free }) => free,
      align: "right",
      color: ({ free, total }) => (free === 0 ? "red" : free < total / 10 ? "yellow" : undefined),
    },
    { title: "BOUND", text: ({ bound }) => bound, align: "right" },
    { title: "RESERVED", text: ({ reserved }) => reserved, align: "right" },
    { title: "ADMIN", text: ({ admin }) => admin, align: "right" },
    { title: "HELD", text: ({ held }) => held, align: "right" },
    { title: "DRAINING", text: ({ draining }) => draining, align: "right" },
    { title: "VLAN", text: ({ vlan }) => vlan, align: "right" },
    { title: "NODES", text: ({ nodeSubnets }) => nodeSubnets.join(",") },
  ],
  wide: [
    { title: "GATEWAY", text: ({ gateway }) => gateway },
    { title: "RANGES", text: ({ ranges }) => ranges.join(",") },
  ],
};

/** Lists pod subnets. */
export async function subnetList(
  context: CommandContext,
  options: { readonly watch?: boolean },
): Promise<ExitCode> {
  const client = await context.connect();
  const show = async () => {
    const { body } = await client.call<typeof listSubnets>({
      method: "GET",
      path: "/v1/subnet",
      about: "pod subnets",
    });
    await writeList(context.terminal, context.options.output, body.subnets, columns, {
      empty: "no pod subnet is configured; see galaxyctl status",
    });
  };
  if (options.watch === true) {
    await redrawOnEvents(context, client, { kinds: ["usage", "configuration"], show });
  } else {
    await show();
  }
  return exitCodes.done;
}
