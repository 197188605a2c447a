// The cluster inside the process, where there is one: workloads are created, scaled, rolled and deleted, and nodes are switched off and on.

import { useEffect, useState } from "preact/hooks";
import type { SuccessOf } from "../../src/wire/api/endpoint.ts";
import type {
  listSimulatedNodes,
  listSimulatedPods,
  listSimulatedWorkloads,
  SimulatedWorkload,
  SimulatedWorkloadWish,
} from "../../src/wire/api/simulation.ts";
import { ApiError, call } from "../api-client.ts";
import { usePage } from "../parts/live-context.ts";
import { Problem } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { useText } from "../text/text.ts";

type Cluster = {
  readonly workloads: SuccessOf<typeof listSimulatedWorkloads>["workloads"];
  readonly pods: SuccessOf<typeof listSimulatedPods>["pods"];
  readonly nodes: SuccessOf<typeof listSimulatedNodes>["nodes"];
};

/** Pods change without a change of an address, so that events alone do not tell; and nobody else looks at this cluster. */
const readEveryMs = 1_000;

const base = "/v1/simulation";

async function readCluster(): Promise<Cluster> {
  const [{ workloads }, { pods }, { nodes }] = await Promise.all([
    call<SuccessOf<typeof listSimulatedWorkloads>>("GET", `${base}/workloads`),
    call<SuccessOf<typeof listSimulatedPods>>("GET", `${base}/pods`),
    call<SuccessOf<typeof listSimulatedNodes>>("GET", `${base}/nodes`),
  ]);
  return { workloads, pods, nodes };
}

/** The simulated cluster. */
export function SimulationView() {
  const text = useText();
  const page = usePage();
  const [cluster, setCluster] = useState<Cluster | undefined>(undefined);
  const [error, setError] = useState<ApiError | undefined>(undefined);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isGone = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      try {
        const now = await readCluster();
        if (isGone) return;
        setCluster(now);
        setError(undefined);
      } catch (failure) {
        if (isGone) return;
        setError(failure instanceof ApiError ? failure : new ApiError(0, String(failure)));
      }
      timer = setTimeout(() => void read(), readEveryMs);
    };
    void read();
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [turn]);
  const act = (method: string, path: string, body?: unknown) => {
    call(method, `${base}/${path}`, body === undefined ? {} : { body }).then(
      () => setTurn((old) => old + 1),
      (failure: unknown) =>
        page.say(failure instanceof Error ? failure.message : String(failure), "problem"),
    );
  };
  return (
    <section aria-labelledby="simulation-heading">
      <h2 id="simulation-heading">{text("simulation.heading")}</h2>
      <p>{text("simulation.intro")}</p>
      {error === undefined ? null : <Problem error={error} />}
      <CreateForm onCreate={(wish) => act("POST", "workloads", wish)} />
      {cluster === undefined ? (
        <p class="loading">{text("loading")}</p>
      ) : (
        <>
          <Nodes cluster={cluster} act={act} />
          <Workloads cluster={cluster} act={act} />
          <Pods cluster={cluster} act={act} />
        </>
      )}
    </section>
  );
}

type Act = (method: string, path: string, body?: unknown) => void;

const kinds = ["deployment", "statefulset", "daemonset", "job", "tapp"] as const;
const policies = ["", "immutable", "never"] as const;

function CreateForm(props: { readonly onCreate: (wish: SimulatedWorkloadWish) => void }) {
  const text = useText();
  const [kind, setKind] = useState<(typeof kinds)[number]>("deployment");
  const [name, setName] = useState("");
  const [replicas, setReplicas] = useState("3");
  const [policy, setPolicy] = useState<(typeof policies)[number]>("immutable");
  const [pool, setPool] = useState("");
  return (
    <form
      class="filters"
      aria-label={text("simulation.create")}
      onSubmit={(event) => {
        event.preventDefault();
        props.onCreate({
          kind,
          name,
          replicas: Number(replicas),
          wantsAddress: true,
          policy,
          ...(pool === "" ? {} : { pool }),
        });
        setName("");
      }}
    >
      <label>
        {text("simulation.kind")}
        <select
          value={kind}
          onChange={(event) => setKind(event.currentTarget.value as (typeof kinds)[number])}
        >
          {kinds.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      </label>
      <label>
        {text("simulation.name")}
        <input required value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        {text("simulation.replicas")}
        <input
          type="number"
          min={0}
          max={1000}
          value={replicas}
          onInput={(event) => setReplicas(event.currentTarget.value)}
        />
      </label>
      <label>
        {text("simulation.policy")}
        <select
          value={policy}
          onChange={(event) => setPolicy(event.currentTarget.value as (typeof policies)[number])}
        >
          {policies.map((each) => (
            <option key={each} value={each}>
              {each === ""
                ? text("policy.0")
                : text(each === "immutable" ? "policy.1" : "policy.2")}
            </option>
          ))}
        </select>
      </label>
      <label>
        {text("simulation.pool")}
        <input value={pool} onInput={(event) => setPool(event.currentTarget.value)} />
      </label>
      <button type="submit" class="primary">
        {text("simulation.create")}
      </button>
    </form>
  );
}

function Nodes(props: { readonly cluster: Cluster; readonly act: Act }) {
  const text = useText();
  const { nodes, pods } = props.cluster;
  return (
    <>
      <h3>{text("simulation.nodes")}</h3>
      <ul class="nodes">
        {nodes.map((node) => (
          <li key={node.name} class={node.up ? "node" : "node down"}>
            <header>
              <strong>{node.name}</strong> <span class="faint">{node.ips.join(", ")}</span>
              <button
                type="button"
                aria-label={`${text(node.up ? "simulation.kill" : "simulation.recover")} ${node.name}`}
                onClick={() =>
                  props.act(
                    "POST",
                    `nodes/${encodeURIComponent(node.name)}/${node.up ? "kill" : "recover"}`,
                  )
                }
              >
                {text(node.up ? "simulation.kill" : "simulation.recover")}
              </button>
            </header>
            <PodsOfNode pods={pods.filter((pod) => pod.nodeName === node.name)} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** A card names this many pods; the table below has all. */
const mostPodsOfCard = 8;

function PodsOfNode(props: { readonly pods: Cluster["pods"] }) {
  const text = useText();
  const more = props.pods.length - mostPodsOfCard;
  return (
    <ul>
      {props.pods.slice(0, mostPodsOfCard).map((pod) => (
        <li key={pod.uid}>
          {pod.name}
          {pod.ips.map((ip) => (
            <span key={ip}>
              {" "}
              <a href={`#map?ip=${encodeURIComponent(ip)}`}>{ip}</a>
            </span>
          ))}
        </li>
      ))}
      {more > 0 ? <li class="faint">{text("simulation.more", { count: more })}</li> : null}
    </ul>
  );
}

function Workloads(props: { readonly cluster: Cluster; readonly act: Act }) {
  const text = useText();
  return (
    <>
      <h3 id="simulation-workloads">{text("simulation.workloads")}</h3>
      <TableFrame heading="simulation-workloads">
        <thead>
          <tr>
            <th scope="col">{text("simulation.kind")}</th>
            <th scope="col">{text("simulation.name")}</th>
            <th scope="col">{text("simulation.replicas")}</th>
            <th scope="col">{text("simulation.policy")}</th>
            <th scope="col">{text("simulation.pool")}</th>
            <th scope="col">
              <span class="hidden">{text("simulation.scale")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {props.cluster.workloads.map((workload) => (
            <WorkloadRow
              key={`${workload.kind} ${workload.namespace}/${workload.name}`}
              workload={workload}
              act={props.act}
            />
          ))}
        </tbody>
      </TableFrame>
    </>
  );
}

function WorkloadRow(props: { readonly workload: SimulatedWorkload; readonly act: Act }) {
  const text = useText();
  const { workload } = props;
  const path = `workloads/${workload.kind}/${encodeURIComponent(workload.namespace)}/${encodeURIComponent(workload.name)}`;
  const [replicas, setReplicas] = useState(String(workload.replicas));
  useEffect(() => setReplicas(String(workload.replicas)), [workload.replicas]);
  const isScalable = workload.kind !== "daemonset" && workload.kind !== "job";
  return (
    <tr>
      <td>{workload.kind}</td>
      <td>
        {workload.namespace}/{workload.name}
        {workload.rolloutProblem === undefined ? null : (
          <em class="problem-text"> {workload.rolloutProblem}</em>
        )}
      </td>
      <td>
        {workload.ready}/{workload.replicas} {text("simulation.ready")}
      </td>
      <td>{workload.policy}</td>
      <td>{workload.pool ?? ""}</td>
      <td class="row-actions">
        {isScalable ? (
          <>
            <input
              type="number"
              min={0}
              max={1000}
              aria-label={`${text("simulation.replicas")} ${workload.name}`}
              value={replicas}
              onInput={(event) => setReplicas(event.currentTarget.value)}
            />
            <button
              type="button"
              aria-label={`${text("simulation.scale")} ${workload.name}`}
              onClick={() => props.act("POST", `${path}/scale`, { replicas: Number(replicas) })}
            >
              {text("simulation.scale")}
            </button>
          </>
        ) : null}
        <button
          type="button"
          aria-label={`${text("simulation.roll")} ${workload.name}`}
          onClick={() => props.act("POST", `${path}/roll`)}
        >
          {text("simulation.roll")}
        </button>
        <button
          type="button"
          class="danger"
          aria-label={`${text("simulation.delete")} ${workload.name}`}
          onClick={() => props.act("DELETE", path)}
        >
          {text("simulation.delete")}
        </button>
      </td>
    </tr>
  );
}

function Pods(props: { readonly cluster: Cluster; readonly act: Act }) {
  const text = useText();
  return (
    <>
      <h3 id="simulation-pods">{text("simulation.pods")}</h3>
      <TableFrame heading="simulation-pods">
        <thead>
          <tr>
            <th scope="col">{text("simulation.name")}</th>
            <th scope="col">{text("addresses.ip")}</th>
            <th scope="col">{text("address.node")}</th>
            <th scope="col">{text("address.status")}</th>
            <th scope="col">
              <span class="hidden">{text("simulation.delete")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {props.cluster.pods.map((pod) => (
            <tr key={pod.uid}>
              <td>
                <a href={`#why?pod=${encodeURIComponent(`${pod.namespace}/${pod.name}`)}`}>
                  {pod.namespace}/{pod.name}
                </a>
              </td>
              <td>
                {pod.ips.map((ip) => (
                  <a key={ip} href={`#map?ip=${encodeURIComponent(ip)}`}>
                    {ip}{" "}
                  </a>
                ))}
              </td>
              <td>{pod.nodeName ?? text("simulation.pending")}</td>
              <td>
                {pod.phase}, {text(pod.ready ? "simulation.ready" : "simulation.notReady")}
                {pod.deleting ? `, ${text("simulation.deleting")}` : ""}
                {pod.waitsBecause === undefined ? null : (
                  <em class="problem-text"> {pod.waitsBecause}</em>
                )}
              </td>
              <td class="row-actions">
                <button
                  type="button"
                  aria-label={`${text(pod.deleting ? "simulation.forceDelete" : "simulation.delete")} ${pod.name}`}
                  onClick={() =>
                    props.act(
                      "DELETE",
                      // A pod whose node is silent goes only by force, as in any cluster.
                      `pods/${encodeURIComponent(pod.namespace)}/${encodeURIComponent(pod.name)}${pod.deleting ? "?force=true" : ""}`,
                    )
                  }
                >
                  {text(pod.deleting ? "simulation.forceDelete" : "simulation.delete")}
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </TableFrame>
    </>
  );
}
