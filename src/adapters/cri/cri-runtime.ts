// The ContainerRuntime port on the Container Runtime Interface, which containerd, CRI-O and cri-dockerd speak on a unix socket
// (https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto). Reads only; the kubelet is the one who changes things.

import type { ContainerRuntime } from "../../ports/container-runtime.ts";
import { WorldError } from "../../ports/world-error.ts";
import { callGrpc, statusUnimplemented } from "./grpc-call.ts";
import { messagesOf, readFields, textOf } from "./protobuf.ts";

/** A runtime lists thousands of sandboxes in milliseconds; one that is busy starting pods may need seconds. */
const limitMs = 10_000;

/** The service in the version of today, and that of runtimes before containerd 1.6 and CRI-O 1.20; this message is equal in both. */
const services = ["runtime.v1.RuntimeService", "runtime.v1alpha2.RuntimeService"] as const;

/** Numbers of the fields in `ListPodSandboxResponse` and `PodSandbox`. */
const itemsField = 1;
const idField = 1;

/** The runtimes behind some sockets; a node has one, and during a change of runtimes two. */
export class CriRuntime implements ContainerRuntime {
  readonly #sockets: readonly string[];

  /** @param sockets paths; at least one */
  constructor(sockets: readonly string[]) {
    this.#sockets = sockets;
  }

  async listSandboxIds(): Promise<ReadonlySet<string>> {
    const lists = await Promise.all(this.#sockets.map(listSandboxIds));
    return new Set(lists.flat());
  }
}

async function listSandboxIds(socket: string): Promise<readonly string[]> {
  const tried = `list the pod sandboxes of the container runtime at ${socket}`;
  const fail = (message: string, cause?: unknown) =>
    new WorldError("RUNTIME_UNAVAILABLE", {
      tried,
      message: `${message}; look at the runtime, or correct --container-runtime-endpoint`,
      cause,
    });
  for (const service of services) {
    const path = `/${service}/ListPodSandbox`;
    let answer;
    try {
      answer = await callGrpc({ socket, path, message: new Uint8Array(), limitMs });
    } catch (error) {
      throw fail(error instanceof Error ? error.message : String(error), error);
    }
    if (answer.kind === "answer") {
      try {
        return readIds(answer.message);
      } catch (error) {
        throw fail(error instanceof Error ? error.message : String(error), error);
      }
    }
    if (answer.code !== statusUnimplemented) {
      throw fail(`gRPC status ${answer.code} ${answer.message}`);
    }
  }
  throw fail(`it speaks neither ${services.join(" nor ")}`);
}

/** @throws when a sandbox has no id: a list that was misread would make live pods look like garbage */
function readIds(message: Uint8Array): readonly string[] {
  return messagesOf(readFields(message), itemsField).map((item) => {
    const id = textOf(readFields(item), idField);
    if (id === "") throw new RangeError("a sandbox without an id");
    return id;
  });
}
