// The PodStateStore port on the Go daemon's folder and file form: `/var/lib/cni/galaxy/<container id>`, a JSON list of plugins.

import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { CniResult } from "../../core/cni-result.ts";
import type { PluginRun } from "../../core/plugin-run.ts";
import type { PodStateStore, WrittenState } from "../../ports/pod-networks.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatCniResult, parseCniResult } from "../../wire/cni.ts";
import type { PluginState } from "../../wire/node-config.ts";
import { parsePodState } from "../../wire/node-config.ts";
import { isMissing, replaceAndSyncFile } from "./replaced-file.ts";

/** States below a folder. */
export class PodStateFiles implements PodStateStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(containerId: string, runs: readonly PluginRun[]): Promise<WrittenState> {
    const path = this.#pathOf(containerId);
    const states = runs.map(
      ({ network, args, conf, ifName, netns, path: folders, result }): PluginState => ({
        NetworkType: network,
        Args: args,
        Conf: conf,
        IfName: ifName,
        Netns: netns,
        Path: folders,
        Result: result === undefined ? undefined : formatCniResult(result, "1.1.0"),
      }),
    );
    const tried = `write ${path}`;
    const { synced } = await this.#try(tried, () =>
      replaceAndSyncFile({
        folder: this.#folder,
        name: containerId,
        // A name that no container has: container ids do not begin with a dot.
        unfinishedName: `.${containerId}.${process.pid}.tmp`,
        text: JSON.stringify(states),
      }),
    );
    const settled = this.#try(tried, () => synced);
    // Who does not wait for it does not want to know.
    settled.catch(() => {});
    return { synced: settled };
  }

  async get(containerId: string): Promise<readonly PluginRun[] | "absent" | "unreadable"> {
    const path = this.#pathOf(containerId);
    const text = await this.#try(`read ${path}`, async () => {
      try {
        return await readFile(path, "utf8");
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
    if (text === undefined) return "absent";
    const states = parsePodState(text);
    if (states === undefined) return "unreadable";
    return states.map(({ NetworkType, Args, Conf, IfName, Netns, Path, Result }) => ({
      network: NetworkType,
      args: Args,
      conf: Conf,
      ifName: IfName,
      netns: Netns,
      path: Path,
      result: readResult(Result),
    }));
  }

  async all(): Promise<readonly { readonly containerId: string; readonly writtenAtMs: number }[]> {
    return this.#try(`read ${this.#folder}`, async () => {
      let entries;
      try {
        entries = await readdir(this.#folder, { withFileTypes: true });
      } catch (error) {
        if (isMissing(error)) return [];
        throw error;
      }
      const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith("."));
      const found = await Promise.all(
        files.map(async ({ name }) => {
          const info = await stat(join(this.#folder, name)).catch(() => undefined);
          return info === undefined ? [] : [{ containerId: name, writtenAtMs: info.mtimeMs }];
        }),
      );
      return found.flat();
    });
  }

  async remove(containerId: string): Promise<void> {
    const path = this.#pathOf(containerId);
    await this.#try(`remove ${path}`, () => rm(path, { force: true }));
  }

  #pathOf(containerId: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(containerId)) {
      throw new TypeError(`"${containerId}" is no container id`);
    }
    return join(this.#folder, containerId);
  }

  async #try<T>(tried: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw new WorldError("NODE_STATE_FAILED", {
        tried,
        message: `${error instanceof Error ? error.message : String(error)}; free space or correct the permissions of ${this.#folder}`,
        cause: error,
      });
    }
  }
}

function readResult(json: unknown): CniResult | undefined {
  if (json === undefined) return undefined;
  const result = parseCniResult(json);
  // Plugins do without it as they do for a state that the Go daemon wrote.
  return "kind" in result ? undefined : result;
}
