// What a ContainerRuntime promises, asked of each adapter.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContainerRuntime } from "../../src/ports/container-runtime.ts";
import { WorldError } from "../../src/ports/world-error.ts";

/** A runtime of the suite, and what is done to it. */
export type RuntimeUnderTest = {
  readonly runtime: ContainerRuntime;
  /** Makes a sandbox, and resolves with its id. */
  run(): Promise<string>;
  remove(id: string): Promise<void>;
  /** Nobody answers any more, until `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
  end(): Promise<void>;
};

/** Defines the suite for one adapter. */
export function describeContainerRuntime(
  name: string,
  open: () => Promise<RuntimeUnderTest>,
  options: { readonly skip?: string | false; readonly timeout?: number } = {},
): void {
  describe(`ContainerRuntime: ${name}`, options, () => {
    it("lists the sandboxes that there are, until they are removed", async () => {
      const tested = await open();
      try {
        assert.deepEqual(await tested.runtime.listSandboxIds(), new Set());
        const [one, two] = [await tested.run(), await tested.run()];
        assert.deepEqual(await tested.runtime.listSandboxIds(), new Set([one, two]));
        await tested.remove(one);
        assert.deepEqual(await tested.runtime.listSandboxIds(), new Set([two]));
      } finally {
        await tested.end();
      }
    });

    it("says that it cannot be asked instead of saying that there is nothing", async () => {
      const tested = await open();
      try {
        const id = await tested.run();
        await tested.stop();
        await assert.rejects(tested.runtime.listSandboxIds(), (error: unknown) => {
          assert.ok(error instanceof WorldError);
          assert.equal(error.code, "RUNTIME_UNAVAILABLE");
          assert.match(error.message, /list the pod sandboxes/);
          return true;
        });
        await tested.start();
        assert.deepEqual(await tested.runtime.listSandboxIds(), new Set([id]));
      } finally {
        await tested.end();
      }
    });
  });
}
