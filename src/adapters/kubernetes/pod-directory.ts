// The PodDirectory port: single reads of pods and FloatingIPs for the daemon of a node. It watches nothing: a node asks about its own pods
// only, and only when one starts.

import type { Allocation } from "../../core/allocation.ts";
import { parseIp } from "../../core/ip.ts";
import type { PodId } from "../../core/owner.ts";
import type { NodePod, PodDirectory } from "../../ports/pod-directory.ts";
import { floatingIpName, parseFloatingIp } from "../../wire/crd.ts";
import { argsAnnotation } from "../../wire/established-names.ts";
import { textAt, valueAt } from "../../wire/json-value.ts";
import { parseIpInfos } from "../../wire/network-config.ts";
import { networkStatusAnnotation, networksAnnotation, parseNetworks } from "../../wire/networks.ts";
import { parsePod } from "../../wire/pod.ts";
import type { ApiClient } from "./api-client.ts";
import { segment } from "./api-client.ts";

/** Asks an API server. */
export class KubernetesPodDirectory implements PodDirectory {
  readonly #client: ApiClient;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  async readPod(id: PodId): Promise<NodePod | "gone"> {
    const answer = await this.#client.readJson({
      path: pathOf(id),
      tried: `read pod ${id.namespace}/${id.name}`,
    });
    if (answer.kind === "missing") return "gone";
    return readNodePod(answer.json) ?? "gone";
  }

  async readAllocation(ip: string): Promise<Allocation | undefined> {
    const parsed = parseIp(ip);
    if (parsed === undefined) return undefined;
    const name = floatingIpName(parsed);
    const answer = await this.#client.readJson({
      path: `/apis/galaxy.k8s.io/v1alpha1/floatingips/${segment(name)}`,
      tried: `read FloatingIP ${name}`,
    });
    return answer.kind === "missing" ? undefined : parseFloatingIp(answer.json);
  }

  async writeNetworkStatus(
    pod: Pick<NodePod, "id" | "uid">,
    text: string,
  ): Promise<"written" | "gone" | "conflict"> {
    const answer = await this.#client.write({
      method: "PATCH",
      path: pathOf(pod.id),
      // The uid makes the API server refuse the write when another pod of the name has taken its place.
      body: { metadata: { uid: pod.uid, annotations: { [networkStatusAnnotation]: text } } },
      tried: `write the network status of pod ${pod.id.namespace}/${pod.id.name}`,
    });
    if (answer.kind === "done") return "written";
    return answer.kind === "missing" ? "gone" : "conflict";
  }
}

function pathOf({ namespace, name }: PodId): string {
  return `/api/v1/namespaces/${segment(namespace)}/pods/${segment(name)}`;
}

/** The pod as its node needs it; undefined for an object without a name. */
function readNodePod(json: unknown): NodePod | undefined {
  const facts = parsePod(json);
  if (facts === undefined) return undefined;
  const problems = [...facts.problems];
  const networks = parseNetworks(textAt(json, "metadata", "annotations", networksAnnotation) ?? "");
  if (networks.kind === "problem") problems.push(networks.problem);
  let infos: unknown;
  try {
    infos = valueAt(JSON.parse(facts.argsText || "{}"), "common", "ipinfos");
  } catch {
    // What is wrong with the annotation is among the problems of a pod that wants an address; another one has no use for it.
  }
  const source =
    infos === undefined || infos === null
      ? undefined
      : parseIpInfos(infos, `common.ipinfos of annotation ${argsAnnotation}`);
  if (source?.kind === "refused") problems.push(source.message);
  return {
    id: facts.id,
    uid: facts.uid,
    nodeName: facts.nodeName,
    wantsAddress: facts.wantsAddress,
    wishes: networks.kind === "wishes" ? networks.wishes : [],
    grants: source?.kind === "grants" ? source.grants : [],
    problems,
  };
}
