// The contract of container runtimes, run by the one in memory and by the client of a scripted CRI server. The real runtime runs it in
// test/node/runtime.test.ts.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CriRuntime } from "../../src/adapters/cri/cri-runtime.ts";
import { MemoryContainerRuntime } from "../../src/adapters/memory/container-runtime.ts";
import { startCriServer } from "../node/cri-server.ts";
import { describeContainerRuntime } from "./container-runtime.ts";

describeContainerRuntime("MemoryContainerRuntime", async () => {
  const runtime = new MemoryContainerRuntime();
  let count = 0;
  return {
    runtime,
    run: async () => {
      count += 1;
      runtime.ids.add(`c${count}`);
      return `c${count}`;
    },
    remove: async (id) => {
      runtime.ids.delete(id);
    },
    stop: async () => {
      runtime.answers = false;
    },
    start: async () => {
      runtime.answers = true;
    },
    end: async () => {},
  };
});

describeContainerRuntime("CriRuntime on a scripted server", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-cri-"));
  const socket = join(folder, "cri.sock");
  const ids = new Set<string>();
  let count = 0;
  const start = () => startCriServer(socket, () => ({ ids: [...ids] }));
  let server: Awaited<ReturnType<typeof start>> | undefined = await start();
  const stop = async () => {
    await server?.stop();
    server = undefined;
  };
  return {
    runtime: new CriRuntime([socket]),
    run: async () => {
      count += 1;
      ids.add(`c${count}`);
      return `c${count}`;
    },
    remove: async (id) => {
      ids.delete(id);
    },
    stop,
    start: async () => {
      server = await start();
    },
    end: async () => {
      await stop();
      await rm(folder, { recursive: true });
    },
  };
});
