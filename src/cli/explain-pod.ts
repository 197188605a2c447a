// `galaxyctl explain pod`: why a pod has or does not get an address, and what to do. The server decides; this lays its answer out.

import type { ExplanationAnswer, explainPod } from "../wire/api/explain.ts";
import { policyWords } from "./address-list.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes } from "./command-problem.ts";
import { fieldLines, writeObject } from "./output.ts";
import type { Color } from "./terminal.ts";
import { colored, printable } from "./terminal.ts";

/**
 * Explains a pod.
 * @param word NAMESPACE/NAME, or NAME in the namespace of `-n`, else `default`
 */
export async function explain(context: CommandContext, word: string): Promise<ExitCode> {
  const parts = word.split("/");
  const name = parts.at(-1) ?? "";
  const namespace =
    parts.length === 2 ? (parts[0] ?? "") : (context.options.namespace ?? "default");
  if (parts.length > 2 || name === "" || namespace === "") {
    throw new CommandProblem(
      exitCodes.usage,
      `"${word}" is no pod; write NAMESPACE/NAME, or NAME with -n NAMESPACE`,
    );
  }
  const client = await context.connect();
  const { body } = await client.call<typeof explainPod>({
    method: "GET",
    path: "/v1/explain/pod/{namespace}/{name}",
    params: { namespace, name },
    about: `pod ${namespace}/${name}`,
  });
  const { terminal, options } = context;
  await writeObject(terminal, options.output, body, (answer) =>
    describe(answer, terminal.hasColor),
  );
  return body.decision === "not found" ? exitCodes.notFound : exitCodes.done;
}

const decisionColors: Readonly<Record<ExplanationAnswer["decision"], Color>> = {
  "has address": "green",
  "would get address": "green",
  refused: "red",
  "no node": "red",
  "not wanted": "gray",
  finished: "gray",
  "not found": "red",
  unknown: "yellow",
};

function describe(answer: ExplanationAnswer, hasColor: boolean): string {
  const { facts, decision } = answer;
  const shownDecision = hasColor ? colored(decision, decisionColors[decision]) : decision;
  const sections = [
    fieldLines([
      ["Pod", answer.pod],
      ["Decision", shownDecision],
      ["Because", printable(answer.because)],
    ]),
    section("What to do", answer.remedy),
    fieldLines([
      [
        "Phase",
        `${facts.phase ?? "unknown"}${facts.isTerminating === true ? ", terminating" : ""}`,
      ],
      ["Node", facts.nodeName],
      ["Policy", facts.policy],
      ["Pool", facts.pool === undefined ? undefined : poolText(facts.pool, facts.poolSize)],
      ["Request", facts.request],
      ["Workload", workloadText(facts)],
      ["Carries", facts.carries.join(", ")],
      ["Uid", facts.uid],
    ]),
    section(
      "Addresses",
      answer.addresses.map(
        ({ ip, state, policy, nodeName, ifPodGoes }) =>
          `${ip} ${state}, ${policyWords[policy] ?? `policy ${policy}`}${nodeName === undefined ? "" : `, on ${nodeName}`}; if the pod goes: ${ifPodGoes}`,
      ),
    ),
    section(
      "Nodes",
      answer.nodes.map(({ nodes, nodeCount, subnets, addresses, because }) => {
        const rest = nodeCount - nodes.length;
        const names = `${nodes.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
        const where = subnets.length === 0 ? "" : ` (${subnets.join(", ")})`;
        const plan = addresses.map(({ ip, from }) => `${ip} (${from})`).join(", ");
        return `${names}${where}: ${because ?? `would get ${plan}`}`;
      }),
    ),
  ];
  return sections.filter((text) => text !== "").join("\n");
}

function poolText(pool: string, size: number | undefined): string {
  return size === undefined ? pool : `${pool}, size ${size}`;
}

function workloadText(facts: ExplanationAnswer["facts"]): string | undefined {
  const { workload, workloadState, replicas } = facts;
  if (workload === undefined) return undefined;
  const count = replicas === undefined ? "" : `, ${replicas} replicas`;
  return `${workload}${workloadState === undefined ? "" : `, ${workloadState}`}${count}`;
}

function section(title: string, lines: readonly string[]): string {
  if (lines.length === 0) return "";
  return `${title}:\n${lines.map((line) => `  - ${printable(line)}\n`).join("")}`;
}
