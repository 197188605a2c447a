// `galaxyctl sim …`: workloads, pods and nodes of the cluster inside galaxy-ipam, where it runs without a Kubernetes cluster. In front of a
// real cluster these commands end and say to use kubectl.

import type { SuccessOf } from "../wire/api/endpoint.ts";
import type {
  addSimulatedNode,
  createSimulatedWorkload,
  deleteSimulatedNode,
  deleteSimulatedPod,
  deleteSimulatedWorkload,
  getSimulation,
  killSimulatedNode,
  listSimulatedEvents,
  listSimulatedNodes,
  listSimulatedPods,
  listSimulatedWorkloads,
  recoverSimulatedNode,
  rollSimulatedWorkload,
  SimulatedEvent,
  SimulatedNode,
  SimulatedPod,
  SimulatedWorkload,
  SimulatedWorkloadWish,
  scaleSimulatedWorkload,
} from "../wire/api/simulation.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { CommandProblem, exitCodes, OperationUnknown } from "./command-problem.ts";
import { fieldLines, writeList, writeObject } from "./output.ts";

type Kind = SimulatedWorkload["kind"];

/** A client in front of a simulated cluster. */
async function connect(
  context: CommandContext,
): Promise<{ readonly client: ApiClient; readonly simulation: SuccessOf<typeof getSimulation> }> {
  const client = await context.connect();
  try {
    const { body } = await client.call<typeof getSimulation>({
      method: "GET",
      path: "/v1/simulation",
      about: "simulated cluster",
    });
    return { client, simulation: body };
  } catch (error) {
    if (!(error instanceof OperationUnknown)) throw error;
    throw new CommandProblem(
      exitCodes.notFound,
      `galaxy-ipam at ${client.connection.base.href} works for a real cluster and has no simulated one; use kubectl`,
      { cause: error },
    );
  }
}

/** `sim status` */
export async function simStatus(context: CommandContext): Promise<ExitCode> {
  const { simulation } = await connect(context);
  await writeObject(context.terminal, context.options.output, simulation, (answer) =>
    fieldLines([
      ["State", answer.stateFolder],
      ["Pod subnets", answer.configurationFile],
      ["Workloads", answer.workloads],
      ["Pods", answer.pods],
      ["Nodes", answer.nodes],
    ]),
  );
  return exitCodes.done;
}

/** `sim workload list` */
export async function simWorkloadList(context: CommandContext): Promise<ExitCode> {
  const { client } = await connect(context);
  const { body } = await client.call<typeof listSimulatedWorkloads>({
    method: "GET",
    path: "/v1/simulation/workloads",
    about: "workloads",
  });
  const { namespace } = context.options;
  await showWorkloads(
    context,
    body.workloads.filter((item) => namespace === undefined || item.namespace === namespace),
  );
  return exitCodes.done;
}

async function showWorkloads(
  context: CommandContext,
  workloads: readonly SimulatedWorkload[],
): Promise<void> {
  await writeList(
    context.terminal,
    context.options.output,
    workloads,
    {
      usual: [
        { title: "NAMESPACE", text: ({ namespace }) => namespace },
        { title: "WORKLOAD", text: ({ kind, name }) => `${kind}/${name}` },
        { title: "READY", text: ({ ready, replicas }) => `${ready}/${replicas}`, align: "right" },
        { title: "PODS", text: ({ pods }) => pods, align: "right" },
        {
          title: "POLICY",
          text: ({ policy, wantsAddress }) =>
            wantsAddress ? (policy === "" ? "pod-delete" : policy) : "no address",
        },
        { title: "POOL", text: ({ pool }) => pool },
        { title: "PROBLEM", text: ({ rolloutProblem }) => rolloutProblem, color: () => "yellow" },
      ],
      wide: [{ title: "REVISION", text: ({ revision }) => revision, align: "right" }],
    },
    { empty: "there are no workloads; make one with galaxyctl sim workload create KIND/NAME" },
  );
}

/** Options of `sim workload create`. */
export type WorkloadOptions = {
  readonly replicas?: number;
  readonly policy?: "pod-delete" | "immutable" | "never";
  readonly pool?: string;
  readonly address: boolean;
  readonly range?: readonly string[];
  readonly surgeIps?: number;
  readonly reserveTtl?: string;
  readonly virtualIp?: readonly string[];
};

/** `sim workload create KIND/NAME` */
export async function simWorkloadCreate(
  context: CommandContext,
  word: string,
  options: WorkloadOptions,
): Promise<ExitCode> {
  const { kind, namespace, name } = workloadOf(context, word);
  const { client } = await connect(context);
  const { replicas, policy, pool, range, surgeIps, reserveTtl, virtualIp } = options;
  const wish: SimulatedWorkloadWish = {
    kind,
    namespace,
    name,
    wantsAddress: options.address,
    ...(replicas === undefined ? {} : { replicas }),
    ...(policy === undefined || policy === "pod-delete" ? {} : { policy }),
    ...(pool === undefined ? {} : { pool }),
    ...(range === undefined ? {} : { requestIpRange: range.map((list) => list.split(",")) }),
    ...(surgeIps === undefined ? {} : { surgeIps }),
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
    ...(virtualIp === undefined ? {} : { virtualIps: [...virtualIp] }),
  };
  const { body } = await client.call<typeof createSimulatedWorkload>({
    method: "POST",
    path: "/v1/simulation/workloads",
    body: wish,
    about: `${kind} ${namespace}/${name}`,
  });
  await showWorkloads(context, [body]);
  return exitCodes.done;
}

/** `sim workload scale KIND/NAME REPLICAS` */
export async function simWorkloadScale(
  context: CommandContext,
  word: string,
  replicas: number,
): Promise<ExitCode> {
  const params = workloadOf(context, word);
  const { client } = await connect(context);
  const { body } = await client.call<typeof scaleSimulatedWorkload>({
    method: "POST",
    path: "/v1/simulation/workloads/{kind}/{namespace}/{name}/scale",
    params,
    body: { replicas },
    about: `${params.kind} ${params.namespace}/${params.name}`,
  });
  await showWorkloads(context, [body]);
  return exitCodes.done;
}

/** `sim workload roll KIND/NAME` */
export async function simWorkloadRoll(context: CommandContext, word: string): Promise<ExitCode> {
  const params = workloadOf(context, word);
  const { client } = await connect(context);
  const { body } = await client.call<typeof rollSimulatedWorkload>({
    method: "POST",
    path: "/v1/simulation/workloads/{kind}/{namespace}/{name}/roll",
    params,
    about: `${params.kind} ${params.namespace}/${params.name}`,
  });
  await showWorkloads(context, [body]);
  return exitCodes.done;
}

/** `sim workload delete KIND/NAME` */
export async function simWorkloadDelete(context: CommandContext, word: string): Promise<ExitCode> {
  const params = workloadOf(context, word);
  const { client } = await connect(context);
  const { body } = await client.call<typeof deleteSimulatedWorkload>({
    method: "DELETE",
    path: "/v1/simulation/workloads/{kind}/{namespace}/{name}",
    params,
    about: `${params.kind} ${params.namespace}/${params.name}`,
  });
  return await showOutcome(context, body);
}

/** `sim pod list` */
export async function simPodList(
  context: CommandContext,
  options: { readonly workload?: string; readonly node?: string },
): Promise<ExitCode> {
  const { client } = await connect(context);
  const { namespace } = context.options;
  const { body } = await client.call<typeof listSimulatedPods>({
    method: "GET",
    path: "/v1/simulation/pods",
    query: {
      ...(namespace === undefined ? {} : { namespace }),
      ...(options.workload === undefined ? {} : { workload: options.workload }),
      ...(options.node === undefined ? {} : { nodeName: options.node }),
    },
    about: "pods",
  });
  await writeList<SimulatedPod>(
    context.terminal,
    context.options.output,
    body.pods,
    {
      usual: [
        { title: "NAMESPACE", text: (pod) => pod.namespace },
        { title: "NAME", text: ({ name }) => name },
        { title: "PHASE", text: ({ phase, deleting }) => (deleting ? "Terminating" : phase) },
        { title: "READY", text: ({ ready }) => (ready ? "yes" : "no") },
        { title: "NODE", text: ({ nodeName }) => nodeName },
        { title: "IP", text: ({ ips }) => ips.join(","), isWhole: true },
        { title: "WAITS BECAUSE", text: ({ waitsBecause }) => waitsBecause, color: () => "yellow" },
      ],
      wide: [
        { title: "CREATED", text: ({ created }) => created },
        { title: "UID", text: ({ uid }) => uid },
      ],
    },
    { empty: "there are no pods" },
  );
  return exitCodes.done;
}

/** `sim pod delete NAMESPACE/NAME` */
export async function simPodDelete(
  context: CommandContext,
  word: string,
  options: { readonly force?: boolean },
): Promise<ExitCode> {
  const [first, second] = word.split("/");
  const params =
    second === undefined
      ? { namespace: context.options.namespace ?? "default", name: word }
      : { namespace: first ?? "", name: second };
  const { client } = await connect(context);
  const { body } = await client.call<typeof deleteSimulatedPod>({
    method: "DELETE",
    path: "/v1/simulation/pods/{namespace}/{name}",
    params,
    ...(options.force === true ? { query: { force: true } } : {}),
    about: `pod ${params.namespace}/${params.name}`,
  });
  return await showOutcome(context, body);
}

/** `sim node list` */
export async function simNodeList(context: CommandContext): Promise<ExitCode> {
  const { client } = await connect(context);
  const { body } = await client.call<typeof listSimulatedNodes>({
    method: "GET",
    path: "/v1/simulation/nodes",
    about: "nodes",
  });
  await showNodes(context, body.nodes);
  return exitCodes.done;
}

async function showNodes(context: CommandContext, nodes: readonly SimulatedNode[]): Promise<void> {
  await writeList(
    context.terminal,
    context.options.output,
    nodes,
    {
      usual: [
        { title: "NAME", text: ({ name }) => name },
        { title: "UP", text: ({ up }) => (up ? "yes" : "no") },
        { title: "READY", text: ({ ready }) => (ready ? "yes" : "no") },
        { title: "PODS", text: ({ pods }) => pods, align: "right" },
        { title: "IPS", text: ({ ips }) => ips.join(","), isWhole: true },
      ],
    },
    { empty: "there are no nodes; add one with galaxyctl sim node add NAME IP" },
  );
}

/** `sim node add NAME IP…` */
export async function simNodeAdd(
  context: CommandContext,
  name: string,
  ips: readonly string[],
): Promise<ExitCode> {
  const { client } = await connect(context);
  const { body } = await client.call<typeof addSimulatedNode>({
    method: "POST",
    path: "/v1/simulation/nodes",
    body: { name, ips: [...ips] },
    about: `node ${name}`,
  });
  await showNodes(context, [body]);
  return exitCodes.done;
}

/** `sim node kill NAME` and `sim node recover NAME` */
export async function simNodeSwitch(
  context: CommandContext,
  name: string,
  to: "kill" | "recover",
): Promise<ExitCode> {
  const { client } = await connect(context);
  const about = `node ${name}`;
  const params = { name };
  const { body } =
    to === "kill"
      ? await client.call<typeof killSimulatedNode>({
          method: "POST",
          path: "/v1/simulation/nodes/{name}/kill",
          params,
          about,
        })
      : await client.call<typeof recoverSimulatedNode>({
          method: "POST",
          path: "/v1/simulation/nodes/{name}/recover",
          params,
          about,
        });
  await showNodes(context, [body]);
  return exitCodes.done;
}

/** `sim node delete NAME` */
export async function simNodeDelete(context: CommandContext, name: string): Promise<ExitCode> {
  const { client } = await connect(context);
  const { body } = await client.call<typeof deleteSimulatedNode>({
    method: "DELETE",
    path: "/v1/simulation/nodes/{name}",
    params: { name },
    about: `node ${name}`,
  });
  return await showOutcome(context, body);
}

/** `sim event list` */
export async function simEventList(context: CommandContext): Promise<ExitCode> {
  const { client } = await connect(context);
  const { body } = await client.call<typeof listSimulatedEvents>({
    method: "GET",
    path: "/v1/simulation/events",
    about: "events",
  });
  await writeList<SimulatedEvent>(
    context.terminal,
    context.options.output,
    body.events,
    {
      usual: [
        { title: "TIME", text: ({ time }) => time, isWhole: true },
        {
          title: "TYPE",
          text: ({ type }) => type,
          color: ({ type }) => (type === "Warning" ? "yellow" : undefined),
        },
        { title: "REASON", text: ({ reason }) => reason },
        { title: "OBJECT", text: ({ kind, namespace, name }) => `${kind} ${namespace}/${name}` },
        { title: "COUNT", text: ({ count }) => count, align: "right" },
        { title: "MESSAGE", text: ({ message }) => message },
      ],
    },
    { empty: "there are no events since galaxy-ipam started" },
  );
  return exitCodes.done;
}

async function showOutcome(
  context: CommandContext,
  answer: { readonly outcome: string },
): Promise<ExitCode> {
  await writeObject(
    context.terminal,
    context.options.output,
    answer,
    ({ outcome }) => `${outcome}\n`,
  );
  return exitCodes.done;
}

/** `deployment/web` in the namespace of `-n`, else `default`. The server judges kind and names. */
function workloadOf(
  context: CommandContext,
  word: string,
): { readonly kind: Kind; readonly namespace: string; readonly name: string } {
  const [kind, name, more] = word.split("/");
  if (
    kind === undefined ||
    kind === "" ||
    name === undefined ||
    name === "" ||
    more !== undefined
  ) {
    throw new CommandProblem(
      exitCodes.usage,
      `"${word}" is no workload; write KIND/NAME, for example deployment/web, with -n NAMESPACE`,
    );
  }
  return { kind: kind as Kind, namespace: context.options.namespace ?? "default", name };
}
