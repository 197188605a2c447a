// The daemon's part that puts the plugins and the runtime's configuration onto the host, after the socket answers: a runtime that finds the
// configuration calls at once. It leaves them there when the daemon stops, because the next one is about to come.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HostInstallation } from "../../adapters/linux/host-installation.ts";
import { ownPlugins } from "../../wire/network-config.ts";
import { formatRuntimeConfig, runtimeConfigName } from "../../wire/node-config.ts";
import type { NodeOptions } from "../../wire/node-options.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";

/** Where it is written down what was installed. */
function recordFolder({ stateFolder }: NodeOptions): string {
  return join(stateFolder, "installation");
}

/** Where the build puts what runs on the host, beside this program. */
function folderBeside(): string {
  return fileURLToPath(new URL("../host/", import.meta.url));
}

/** The installation as a part; without folders it does nothing. */
export function hostInstallation({ options, ports }: NodeWorld): DaemonPart {
  const { install } = options;
  return {
    name: "installation on the host",
    async start() {
      const files = new HostInstallation(recordFolder(options), install);
      if (install.programFolder !== "") {
        const source = install.source || folderBeside();
        const folder = install.programFolder;
        const all = join(source, "galaxy-plugins");
        // Built where there is a C compiler; it is one of all otherwise.
        const client = join(source, "galaxy-sdn");
        const hasClient = (await readdir(source)).includes("galaxy-sdn");
        await files.installProgram(all, folder, [
          ...(hasClient ? [] : ["galaxy-sdn"]),
          ...ownPlugins,
        ]);
        if (hasClient) await files.installProgram(client, folder, ["galaxy-sdn"]);
        ports.log.info("plugins are on the host", { folder, from: source });
      }
      if (install.configFolder === "") return;
      const programs = await readdir(install.programFolder || "/opt/cni/bin").catch(
        (): string[] => [],
      );
      const text =
        install.configFile === ""
          ? formatRuntimeConfig({ hasPortmap: programs.includes("portmap") })
          : await readFile(install.configFile, "utf8");
      const path = join(install.configFolder, runtimeConfigName);
      await files.installText(text, path);
      ports.log.info("the runtime's configuration is on the host", { path });
      const names = await readdir(install.configFolder);
      const earlier = names.filter((name) => /\.(conf|conflist|json)$/.test(name)).toSorted();
      if (earlier[0] !== undefined && earlier[0] !== runtimeConfigName) {
        ports.log.warn("another configuration comes first, the runtime will not call galaxy-sdn", {
          path: join(install.configFolder, earlier[0]),
        });
      }
    },
    async stop() {},
  };
}

/** Takes away what was installed, and says what. */
export async function uninstall(options: NodeOptions): Promise<string> {
  const files = new HostInstallation(recordFolder(options), options.install);
  const { removed, kept } = await files.remove();
  const lines = [
    ...removed.map((path) => `removed ${path}`),
    ...kept.map((path) => `kept ${path}: somebody changed it`),
  ];
  return lines.length === 0 ? "nothing was installed" : lines.join("\n");
}
