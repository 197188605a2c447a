// `galaxyctl ip get`: one address, its state and why it is so.

import type { AnswerOf } from "../wire/api/endpoint.ts";
import type { getIp } from "../wire/api/floating-ip.ts";
import { policyWords } from "./address-list.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";
import { fieldLines, writeObject } from "./output.ts";
import { printable } from "./terminal.ts";

type Address = AnswerOf<typeof getIp, 200>;

/** Shows one address. */
export async function ipGet(context: CommandContext, ip: string): Promise<ExitCode> {
  const client = await context.connect();
  const { body } = await client.call<typeof getIp>({
    method: "GET",
    path: "/v1/ip/{ip}",
    params: { ip },
    about: `address ${ip}`,
  });
  await writeObject(context.terminal, context.options.output, body, describe);
  return exitCodes.done;
}

function describe(address: Address): string {
  const isInUse = address.state !== "free";
  const fields = fieldLines([
    ["Address", address.ip],
    ["State", address.isConfigured ? address.state : `${address.state}, not configured`],
    ["Namespace", address.namespace],
    ["Workload", address.appName && `${address.appType ?? "workload"}/${address.appName}`],
    ["Pod", address.podName],
    ["Pod phase", address.status],
    ["Pod uid", address.podUid],
    ["Pool", address.poolName],
    ["Policy", isInUse ? policyWords[address.policy] : undefined],
    ["Node", address.nodeName],
    ["Last node", address.lastNodeName],
    ["Releasable", isInUse ? (address.releasable === true ? "yes" : "no") : undefined],
    ["Updated", address.updateTime],
    ["Released", address.releasedAt],
    ["Subnet", address.subnet],
    ["Gateway", address.gateway],
    ["VLAN", address.vlan],
    ["Key", address.key === undefined ? undefined : printable(address.key)],
  ]);
  return `${fields}${address.reasons.map((reason) => `- ${printable(reason)}\n`).join("")}`;
}
