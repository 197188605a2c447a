// Bodies as kube-scheduler sends them to an extender: pods and nodes of a realistic size. Builds objects only.

import type { PopulationWorkload } from "./population.ts";

/** A pod of the workload as the API server shows it before it has a node, about 3 KB. */
export function podObject(workload: PopulationWorkload, name: string, uid: string): object {
  const isDeployment = workload.ref.type === "deployment";
  const annotations =
    workload.policy === "pod-delete"
      ? {}
      : { "k8s.v1.cni.galaxy.io/release-policy": workload.policy };
  return {
    metadata: {
      name,
      generateName: `${workload.replicaSet}-`,
      namespace: workload.ref.namespace,
      uid,
      resourceVersion: "184467440",
      creationTimestamp: "2026-09-21T12:00:00Z",
      labels: { app: workload.ref.name, "pod-template-hash": "7d9f8b6c5d", tier: "backend" },
      annotations: {
        "k8s.v1.cni.cncf.io/networks": "galaxy-k8s-vlan",
        "prometheus.io/scrape": "true",
        ...annotations,
      },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: isDeployment ? "ReplicaSet" : "StatefulSet",
          name: isDeployment ? workload.replicaSet : workload.ref.name,
          uid: `uid-${workload.ref.name}`,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        {
          manager: "kube-controller-manager",
          operation: "Update",
          apiVersion: "v1",
          fieldsType: "FieldsV1",
          fieldsV1: Object.fromEntries(
            ["f:metadata", "f:spec", "f:status", "f:containers"].map((field) => [
              field,
              { "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {} },
            ]),
          ),
        },
      ],
    },
    spec: {
      containers: [
        {
          name: "main",
          image: "images.example.com/team/app:v1.2.3",
          env: Array.from({ length: 12 }, (_, index) => ({
            name: `SETTING_${index}`,
            value: `value-${index}-${workload.ref.name}`,
          })),
          resources: {
            limits: { "tke.cloud.tencent.com/eni-ip": "1", cpu: "2", memory: "4Gi" },
            requests: { "tke.cloud.tencent.com/eni-ip": "1", cpu: "500m", memory: "2Gi" },
          },
          readinessProbe: { httpGet: { path: "/readyz", port: 8080 }, periodSeconds: 5 },
        },
      ],
      volumes: [{ name: "token", secret: { secretName: "default-token-x7k2p" } }],
      schedulerName: "default-scheduler",
      tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists" }],
    },
    status: { phase: "Pending", qosClass: "Burstable" },
  };
}

/** A Node as a kubelet keeps it: most of its `bytes` is the list of images. */
export function nodeObject(
  { name, internalIp }: { readonly name: string; readonly internalIp: string },
  bytes: number,
): object {
  const condition = (type: string) => ({
    type,
    status: "False",
    lastHeartbeatTime: "2026-11-21T00:00:00Z",
    lastTransitionTime: "2026-11-01T00:00:00Z",
    reason: `KubeletHas${type}`,
    message: `kubelet has no ${type}`,
  });
  const node = {
    metadata: {
      name,
      uid: `00000000-0000-4000-8000-${internalIp.replaceAll(".", "").padStart(12, "0")}`,
      labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
      annotations: { "node.alpha.kubernetes.io/ttl": "0" },
    },
    spec: { podCIDR: "10.1.2.0/24" },
    status: {
      capacity: { cpu: "64", memory: "263432812Ki", pods: "110" },
      conditions: ["MemoryPressure", "DiskPressure", "PIDPressure"].map(condition),
      addresses: [{ type: "InternalIP", address: internalIp }],
      images: [] as unknown[],
    },
  };
  let size = JSON.stringify(node).length;
  for (let image = 0; size < bytes; image += 1) {
    const digest = `${internalIp.replaceAll(".", "")}${image}`.padEnd(64, "0123456789abcdef");
    const entry = {
      names: [`images.example.com/team-${image}/app@sha256:${digest}`],
      sizeBytes: 1_000_000 + image,
    };
    node.status.images.push(entry);
    size += JSON.stringify(entry).length + 1;
  }
  return node;
}
