// `galaxyctl vip list`: shared virtual IPs and the pods that answer for them.

import type { SuccessOf } from "../wire/api/endpoint.ts";
import type { listVips } from "../wire/api/vip.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { writeList } from "./output.ts";

type Vip = SuccessOf<typeof listVips>["vips"][number];

/** Lists virtual IPs, of one namespace with `-n`. */
export async function vipList(context: CommandContext): Promise<ExitCode> {
  const client = await context.connect();
  const { body } = await client.call<typeof listVips>({
    method: "GET",
    path: "/v1/vip",
    about: "virtual IPs",
  });
  const { namespace, output } = context.options;
  const vips = body.vips.filter((vip) => namespace === undefined || vip.namespace === namespace);
  await writeList<Vip>(
    context.terminal,
    output,
    vips,
    {
      usual: [
        { title: "IP", text: ({ ip }) => ip, isWhole: true },
        { title: "STATE", text: ({ state }) => state },
        { title: "NAMESPACE", text: (vip) => vip.namespace },
        { title: "NAME", text: ({ name }) => name },
        { title: "HOLDER", text: ({ holder }) => holder },
        { title: "NODE", text: ({ nodeName }) => nodeName },
      ],
    },
    { empty: "there are no virtual IPs" },
  );
  return exitCodes.done;
}
