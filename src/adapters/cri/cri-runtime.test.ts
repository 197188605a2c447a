// Asking a runtime: the version that it speaks, several runtimes, and every answer that is none.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type CriReply, startCriServer } from "../../../test/node/cri-server.ts";
import { CriRuntime } from "./cri-runtime.ts";

async function withServer(
  reply: (path: string) => CriReply,
  body: (runtime: CriRuntime, socket: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-cri-"));
  const socket = join(folder, "cri.sock");
  const server = await startCriServer(socket, reply);
  try {
    await body(new CriRuntime([socket]), socket);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

test("a runtime of before 2022 is asked in its own version", async () => {
  const paths: string[] = [];
  const reply = (path: string): CriReply => {
    paths.push(path);
    return path.startsWith("/runtime.v1.")
      ? { status: 12, message: "unknown service runtime.v1.RuntimeService" }
      : { ids: ["a"] };
  };
  await withServer(reply, async (runtime) => {
    assert.deepEqual(await runtime.listSandboxIds(), new Set(["a"]));
    assert.deepEqual(paths, [
      "/runtime.v1.RuntimeService/ListPodSandbox",
      "/runtime.v1alpha2.RuntimeService/ListPodSandbox",
    ]);
  });
});

test("a node with two runtimes has the sandboxes of both, and none is listed while one of them does not answer", async () => {
  await withServer(
    () => ({ ids: ["a", "b"] }),
    async (_runtime, one) => {
      await withServer(
        () => ({ ids: ["c"] }),
        async (_other, two) => {
          const both = new CriRuntime([one, two]);
          assert.deepEqual(await both.listSandboxIds(), new Set(["a", "b", "c"]));
          const missing = new CriRuntime([one, `${two}.gone`]);
          await assert.rejects(missing.listSandboxIds(), /cri\.sock\.gone.*ENOENT/);
        },
      );
    },
  );
});

test("ten thousand sandboxes are listed", async () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => `${index}`.padStart(64, "0"));
  await withServer(
    () => ({ ids }),
    async (runtime) => assert.equal((await runtime.listSandboxIds()).size, ids.length),
  );
});

const wrong: readonly (readonly [string, CriReply, RegExp])[] = [
  ["that is starting", { status: 14, message: "server is not initialized yet" }, /status 14.*yet/],
  ["of neither version", { status: 12, message: "?" }, /speaks neither/],
  ["that is no gRPC server", { http: 404 }, /no gRPC answer \(HTTP status 404\)/],
  ["whose answer was cut", { bytes: Uint8Array.of(0, 0, 0, 0, 9, 1) }, /no single gRPC message/],
  ["that compresses", { bytes: Uint8Array.of(1, 0, 0, 0, 0) }, /no single gRPC message/],
  ["that says nonsense", { bytes: Uint8Array.of(0, 0, 0, 0, 2, 0x0a, 9) }, /9 bytes at byte 2/],
  ["whose sandbox has no id", { bytes: Uint8Array.of(0, 0, 0, 0, 2, 0x0a, 0) }, /without an id/],
];
for (const [what, reply, says] of wrong) {
  test(`a runtime ${what} is no runtime without sandboxes`, async () => {
    await withServer(
      () => reply,
      (runtime) => assert.rejects(runtime.listSandboxIds(), says),
    );
  });
}
