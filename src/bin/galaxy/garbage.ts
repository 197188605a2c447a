// The daemon's part that asks the container runtime what it still has. Which runtime is decided here; what garbage is, in src/node.

import { existsSync } from "node:fs";
import { CriRuntime } from "../../adapters/cri/cri-runtime.ts";
import { SandboxGarbage } from "../../node/sandbox-garbage.ts";
import type { RuntimeEndpoint } from "../../wire/node-options.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";
import { until } from "./pause.ts";

/** Where containerd, CRI-O, k3s and cri-dockerd listen; the Go daemon's DaemonSet has the host's /run at /host/run. */
const wellKnown = [
  "/run/containerd/containerd.sock",
  "/run/crio/crio.sock",
  "/run/k3s/containerd/containerd.sock",
  "/run/cri-dockerd.sock",
].flatMap((path) => [path, `/host${path}`]);

/** The part, and whether the runtime answered the last time; undefined: it is not asked, or was not yet. */
export type GarbagePart = DaemonPart & { isRuntimeReachable(): boolean | undefined };

/** Asks at once, and then at each interval. */
export function sandboxGarbage(world: NodeWorld): GarbagePart {
  const { options, ports, pods, metrics } = world;
  const { log } = ports;
  const stopping = new AbortController();
  const { signal } = stopping;
  let running = Promise.resolve();
  let garbage: SandboxGarbage | undefined;
  let wasAsked = false;

  /** A node may get its runtime's socket later than its daemon. */
  const find = (): SandboxGarbage | undefined => {
    const sockets = socketsOf(options.runtimeEndpoint);
    if (sockets.length === 0) return undefined;
    log.info("garbage is what these container runtimes do not have", { sockets });
    return new SandboxGarbage(
      { runtime: new CriRuntime(sockets), pods, clock: ports.clock, log, metrics },
      {
        youngestMs: options.garbageAgeMs,
        isRuntimeOurs: options.runtimeEndpoint.kind === "socket",
      },
    );
  };
  const run = async (): Promise<void> => {
    if (options.runtimeEndpoint.kind === "none") return;
    let isTold = false;
    while (!signal.aborted) {
      garbage ??= find();
      if (garbage === undefined && !isTold) {
        log.warn(
          "no container runtime was found, and no garbage is collected until there is one, but for networks whose namespace is gone",
          { looked: wellKnown },
        );
        isTold = true;
      }
      try {
        await garbage?.look();
        wasAsked = garbage !== undefined;
      } catch (error) {
        log.warn("garbage could not be looked for, it is tried again", {}, error);
      }
      await until(ports.clock, options.garbageMs, signal);
    }
  };
  return {
    name: "garbage",
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
    isRuntimeReachable: () => (wasAsked ? garbage?.problem === undefined : undefined),
  };
}

function socketsOf(endpoint: RuntimeEndpoint): readonly string[] {
  if (endpoint.kind === "none") return [];
  if (endpoint.kind === "socket") return [endpoint.path];
  // One path may be a link to another, as /var/run is to /run; asking twice does no harm.
  return wellKnown.filter((path) => existsSync(path));
}
