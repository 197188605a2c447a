// The NetworkCatalog port: networks of the daemon's configuration, then those of the files of a folder and its direct sub-folders, read
// each time, because files come and go while the daemon runs.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NetworkCatalog } from "../../ports/pod-networks.ts";
import type { ConfiguredNetwork } from "../../wire/node-config.ts";
import { parseNetworkFile } from "../../wire/node-config.ts";

/** Networks by name. */
export class FileNetworkCatalog implements NetworkCatalog {
  readonly #networks: readonly ConfiguredNetwork[];
  readonly #folder: string;

  /** @param networks those of the configuration, which win */
  constructor(networks: readonly ConfiguredNetwork[], folder: string) {
    this.#networks = networks;
    this.#folder = folder;
  }

  async find(name: string): Promise<ConfiguredNetwork["plugins"] | undefined> {
    const own = this.#networks.find((network) => network.name === name);
    if (own !== undefined) return own.plugins;
    for (const file of await configurationFiles(this.#folder)) {
      const text = await readFile(file, "utf8").catch(() => "");
      const network = parseNetworkFile(text);
      if (network?.name === name) return network.plugins;
    }
    return undefined;
  }
}

/** In the order of their names, the folder's own first. */
async function configurationFiles(folder: string): Promise<string[]> {
  const list = async (path: string) => readdir(path, { withFileTypes: true }).catch(() => []);
  const entries = (await list(folder)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const isConfiguration = (name: string) => /\.(conf|json|conflist)$/.test(name);
  const files = entries
    .filter((entry) => !entry.isDirectory() && isConfiguration(entry.name))
    .map(({ name }) => join(folder, name));
  for (const entry of entries.filter((candidate) => candidate.isDirectory())) {
    const inside = await list(join(folder, entry.name));
    const names = inside.map(({ name }) => name).filter(isConfiguration);
    files.push(...names.toSorted().map((name) => join(folder, entry.name, name)));
  }
  return files;
}
