// An API server that knows some pods and the records of their addresses, for the daemon of one node. It knows nothing else and forgets what is
// written, but for the network statuses.

import { formatFloatingIp } from "../../src/wire/crd.ts";
import { anAllocation } from "../builders.ts";
import type { ScriptedServer } from "../scripted-api-server.ts";
import { startScriptedServer } from "../scripted-api-server.ts";

/** A pod of the API server; its record says what it says, unless a test forges. */
export type FakePod = {
  readonly name: string;
  readonly uid: string;
  readonly ip: string;
  /** Owner of the record; the pod itself unless a test forges. */
  readonly recordUid?: string;
  readonly networks?: string;
  readonly nodeName?: string;
  /** Instead of `ipinfos` with its address on 10.70.0.0/24: anything, also what is no JSON. */
  readonly annotation?: string;
};

/** An API server that knows these pods and the records of their addresses; statuses collects what is written to pods. */
export async function startPodApiServer(pods: readonly FakePod[]) {
  const statuses = new Map<string, string>();
  const server: ScriptedServer = await startScriptedServer((request, response) => {
    const reply = (status: number, json: unknown) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
    };
    const pod = pods.find(({ name }) => request.path.endsWith(`/pods/${name}`));
    if (pod !== undefined && request.method === "PATCH") {
      const body = request.body as { metadata: { annotations: Record<string, string> } };
      statuses.set(pod.name, Object.values(body.metadata.annotations)[0] ?? "");
      return reply(200, {});
    }
    if (pod !== undefined) return reply(200, podObject(pod));
    const owner = pods.find(({ ip }) => request.path.endsWith(`/floatingips/${ip}`));
    if (owner !== undefined && owner.recordUid !== "none") {
      const podUid = owner.recordUid ?? owner.uid;
      const record = anAllocation({ ip: owner.ip, podUid, nodeName: "n1" });
      return reply(200, formatFloatingIp(record));
    }
    if (request.method === "POST") return reply(201, {});
    return reply(404, {
      kind: "Status",
      code: 404,
      reason: "NotFound",
      details: { name: "x", kind: "y" },
      message: "not found",
    });
  });
  return { server, statuses };
}

function podObject({ name, uid, ip, networks, nodeName = "n1", annotation }: FakePod) {
  const infos = [{ ip: `${ip}/24`, vlan: 0, gateway: "10.70.0.1" }];
  return {
    metadata: {
      name,
      namespace: "default",
      uid,
      annotations: {
        "k8s.v1.cni.galaxy.io/args": annotation ?? JSON.stringify({ common: { ipinfos: infos } }),
        ...(networks === undefined ? {} : { "k8s.v1.cni.cncf.io/networks": networks }),
      },
    },
    spec: {
      nodeName,
      containers: [{ name: "c", resources: { requests: { "tke.cloud.tencent.com/eni-ip": "1" } } }],
    },
    status: {},
  };
}
