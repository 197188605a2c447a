// What the program without a cluster says to the person who started it: what there is, what to open and what to try next. Every line that it names
// works as it stands; test/e2e/embedded.test.ts runs them.

import { setTimeout as pause } from "node:timers/promises";
import type { SimulationParts } from "../../adapters/http/api/simulation-routes.ts";
import type { Doors } from "./world.ts";

/** So long the guide waits for pods before it shows what there is. */
const patienceMs = 60_000;

/** Prints the guide on standard output when the pods run, or after a while. */
export async function guide(parts: {
  readonly simulation: SimulationParts;
  readonly doors: Doors;
  readonly isFirstStart: boolean;
  readonly stopping: AbortSignal;
}): Promise<void> {
  const { simulation, doors, isFirstStart, stopping } = parts;
  const { cluster, stateFolder, configurationFile } = simulation;
  say(
    isFirstStart
      ? "No cluster is named: this is a simulated one inside the process, made just now. Its pods start …"
      : "No cluster is named: this is the simulated one inside the process, as it was left. Its pods start …",
  );
  const endMs = performance.now() + patienceMs;
  const isComing = () => cluster.workloads().some(({ ready, replicas }) => ready < replicas);
  while (performance.now() < endMs && isComing()) {
    await pause(100);
    if (stopping.aborted) return;
  }
  const nodes = cluster.nodes();
  if (nodes.length > 0) {
    say(`\nNodes ${nodes.map(({ name }) => name).join(", ")}. Pods and their addresses:\n`);
  } else {
    say("\nThere are no nodes yet. Add some with addresses out of the configured node subnets:");
    say('  POST /v1/simulation/nodes with a body such as {"name":"n1","ips":["10.0.1.1"]}');
  }
  for (const pod of cluster.pods()) {
    const name = `${pod.namespace}/${pod.name}`.padEnd(42);
    say(`  ${name} ${(pod.nodeName ?? "-").padEnd(9)} ${pod.ips.join(", ") || pod.phase}`);
  }
  const scheme = doors.certificate === undefined ? "http" : "https";
  const host = doors.host.includes(":") ? `[${doors.host}]` : doors.host;
  const api = `${scheme}://${host}:${doors.apiPort}`;
  const curl = doors.certificate === undefined ? "curl" : "curl -k";
  const post = `${curl} -X POST -H 'Content-type: application/json'`;
  say(
    `\nOpen ${doors.hasPage ? `${api}/ for the page, or ` : ""}${api}/docs for everything that can be asked.`,
  );
  say("In another terminal:\n");
  const lines: readonly (readonly [string, string])[] = [
    [`${curl} '${api}/v1/ip?namespace=default&size=50'`, "every address with its owner"],
    [`${curl} '${api}/v1/subnet'`, "how full the subnets are"],
    ...(isFirstStart && nodes.length > 0
      ? ([
          [
            `${curl} '${api}/v1/ip?appName=sts&appType=statefulsets&namespace=default'`,
            "left behind by a StatefulSet of policy never",
          ],
        ] as const)
      : []),
    [
      `${post} -d '{"kind":"statefulset","name":"cache","replicas":2,"policy":"immutable"}' ${api}/v1/simulation/workloads`,
      "a workload of your own",
    ],
    [
      `${post} -d '{"replicas":1}' ${api}/v1/simulation/workloads/statefulset/default/cache/scale`,
      "immutable: gives one address back",
    ],
    [
      `${curl} -X DELETE ${api}/v1/simulation/pods/default/cache-0`,
      "comes back with the same address",
    ],
    ...(nodes[0] === undefined
      ? []
      : ([
          [
            `${curl} -X POST ${api}/v1/simulation/nodes/${nodes[0].name}/kill`,
            "its pods float; …/recover switches it on again",
          ],
        ] as const)),
    [`${curl} '${api}/v1/simulation/pods'`, "pods, and why one waits"],
  ];
  for (const [line, why] of lines) say(`  # ${why}\n  ${line}`);
  say(`\nThe scheduler asks ${scheme}://${host}:${doors.extenderPort}, as kube-scheduler does.`);
  if (configurationFile !== "") say(`Pod subnets: ${configurationFile} (edit it while this runs).`);
  say(`State: ${stateFolder} (it goes on from there; remove the folder to begin anew).`);
  say(
    "Ctrl-C stops; --v=1 logs every change of an address; --kubeconfig FILE takes a real cluster.",
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
