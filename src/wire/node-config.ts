// The daemon's JSON configuration (`--json-config-path`) with the Go daemon's field names, and CNI configuration files. Reads no file.

import type { NetworkDefaults } from "../core/decide-networks.ts";
import { clientPlugin } from "../core/decide-networks.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, asText, quoteValue } from "./json-value.ts";

/** A network as it is configured: its plugins in order, each with its whole configuration. */
export type ConfiguredNetwork = {
  readonly name: string;
  readonly plugins: readonly JsonObject[];
};

/** What the configuration says. */
export type NodeConfig = NetworkDefaults & { readonly networks: readonly ConfiguredNetwork[] };

/** The configuration, or what is wrong with it. */
export type NodeConfigParse =
  | {
      readonly kind: "config";
      readonly config: NodeConfig;
      /** What was passed over. */
      readonly warnings: readonly string[];
    }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

const members = ["NetworkConf", "DefaultNetworks", "ENIIPNetwork"] as const;

/**
 * Reads `{"NetworkConf":[…],"DefaultNetworks":[…],"ENIIPNetwork":"…"}`. Upper and lower case do not matter, as in Go's JSON; unknown members
 * are told. @param where for messages
 */
export function parseNodeConfig(text: string, where: string): NodeConfigParse {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: "invalid", problems: [`${where} is no JSON (${reason}); correct it`] };
  }
  const object = asObject(json);
  if (object === undefined) {
    return { kind: "invalid", problems: [`${where} is no JSON object; write {"NetworkConf":[…]}`] };
  }
  const found: Partial<Record<(typeof members)[number], unknown>> = {};
  const warnings: string[] = [];
  for (const [key, value] of Object.entries(object)) {
    const member = members.find((name) => name.toLowerCase() === key.toLowerCase());
    if (member === undefined) {
      warnings.push(`${where}: ${quoteValue(key)} is none of ${members.join(", ")}; remove it`);
    } else if (key === member || found[member] === undefined) found[member] = value ?? undefined;
  }
  const problems: string[] = [];
  const networks: ConfiguredNetwork[] = [];
  const conf = found.NetworkConf ?? [];
  if (!Array.isArray(conf)) problems.push(`${where}: NetworkConf is no list; write [{"type":…}]`);
  for (const [index, item] of (Array.isArray(conf) ? conf : []).entries()) {
    const network = readNetwork(item);
    if (typeof network === "string") problems.push(`${where}: NetworkConf[${index}] ${network}`);
    else if (networks.some(({ name }) => name === network.name)) {
      problems.push(`${where}: network ${network.name} stands twice; rename one of them`);
    } else networks.push(network);
  }
  const names = found.DefaultNetworks ?? [];
  const isList = Array.isArray(names) && names.every((name) => typeof name === "string");
  if (!isList) problems.push(`${where}: DefaultNetworks is ${quoteValue(names)}; write ["name"]`);
  const floatIpNetwork = found.ENIIPNetwork ?? "";
  if (typeof floatIpNetwork !== "string") {
    problems.push(`${where}: ENIIPNetwork is ${quoteValue(floatIpNetwork)}; write a name`);
  }
  if (problems.length > 0) return { kind: "invalid", problems };
  return {
    kind: "config",
    config: {
      networks,
      defaultNetworks: isList ? names : [],
      floatIpNetwork: typeof floatIpNetwork === "string" ? floatIpNetwork : "",
    },
    warnings: [...warnings, ...unknownNames(where, networks, [...namesOf(names), floatIpNetwork])],
  };
}

function namesOf(names: unknown): readonly unknown[] {
  return Array.isArray(names) ? names : [];
}

/** Names that no network has yet: it may come as a file of `--network-conf-dir`, and a typing error looks just like it. */
function unknownNames(
  where: string,
  networks: readonly ConfiguredNetwork[],
  names: readonly unknown[],
): readonly string[] {
  return names
    .filter((name) => name !== "" && !networks.some((network) => network.name === name))
    .map(
      (name) =>
        `${where}: network ${quoteValue(name)} is not in NetworkConf; pods that want it need a file of --network-conf-dir with that name`,
    );
}

/** Reads a `.conf` or `.conflist`; a text says why it is none. The name is the type's when there is none, as the Go daemon has it. */
function readNetwork(json: unknown): ConfiguredNetwork | string {
  const object = asObject(json);
  if (object === undefined) return `is ${quoteValue(json)}; write an object with a type`;
  const list = object["plugins"];
  const plugins = Array.isArray(list) ? list : [object];
  const type = asText(asObject(plugins[0])?.["type"]);
  const name = asText(object["name"]) ?? type;
  if (name === undefined || name === "" || type === undefined) {
    return `${quoteValue(json)} has no type; name the plugin`;
  }
  const read: JsonObject[] = [];
  for (const plugin of plugins) {
    const conf = asObject(plugin);
    if (conf === undefined || (asText(conf["type"]) ?? "") === "") {
      return `of network ${name} has a plugin without a type; name the plugin`;
    }
    if (conf["type"] === clientPlugin) {
      return `of network ${name} is ${clientPlugin}, which is the daemon itself; remove it`;
    }
    const { cniVersion } = object;
    read.push({ ...(cniVersion === undefined ? {} : { cniVersion }), ...conf, name });
  }
  return { name, plugins: read };
}

/** The network of a CNI configuration file; undefined when it is none that a pod could use. */
export function parseNetworkFile(text: string): ConfiguredNetwork | undefined {
  try {
    const network = readNetwork(JSON.parse(text));
    return typeof network === "string" ? undefined : network;
  } catch {
    return undefined;
  }
}

/** A call as `galaxy-sdn` sends it to the daemon: environment and the configuration in base64, as the Go programs do. */
export type SocketCall = {
  readonly env: Readonly<Record<string, string>>;
  readonly config: string;
};

/** The variables that a call carries; nothing else of the runtime's environment leaves its process. */
const carried = [
  "CNI_COMMAND",
  "CNI_CONTAINERID",
  "CNI_NETNS",
  "CNI_IFNAME",
  "CNI_ARGS",
  "CNI_PATH",
] as const;

/** The body of a call. @param configBase64 standard input in base64 */
export function formatSocketCall(
  env: Readonly<Record<string, string | undefined>>,
  configBase64: string,
): string {
  const picked = Object.fromEntries(carried.map((name) => [name, env[name] ?? ""]));
  return JSON.stringify({ env: picked, config: configBase64 });
}

/** Reads the body of a call; undefined when it is none. `config` stays base64. */
export function parseSocketCall(text: string): SocketCall | undefined {
  try {
    const object = asObject(JSON.parse(text));
    const env = asObject(object?.["env"]);
    const config = asText(object?.["config"]);
    if (env === undefined || config === undefined) return undefined;
    const picked = Object.fromEntries(carried.map((name) => [name, asText(env[name]) ?? ""]));
    return { env: picked, config };
  } catch {
    return undefined;
  }
}

/** One plugin of a pod in the daemon's state file, with the names of the Go daemon's. */
export type PluginState = {
  /** Name of the network. */
  readonly NetworkType: string;
  readonly Args: Readonly<Record<string, string>>;
  readonly Conf: JsonObject;
  readonly IfName: string;
  /** Not the Go daemon's, which passes over it: where to undo what nobody calls DEL for. */
  readonly Netns?: string | undefined;
  readonly Path?: readonly string[] | undefined;
  /** CNI's result of the network, as CNI writes it. */
  readonly Result?: JsonObject | undefined;
};

/** Reads the daemon's state of a pod, the Go daemon's included; undefined for text that is cut or not ours. */
export function parsePodState(text: string): readonly PluginState[] | undefined {
  try {
    const json: unknown = JSON.parse(text);
    if (!Array.isArray(json)) return undefined;
    return json.map((item: unknown): PluginState => {
      const object = asObject(item);
      const conf = asObject(object?.["Conf"]);
      const name = asText(object?.["NetworkType"]);
      if (conf === undefined || name === undefined) throw new TypeError("no network");
      const args = Object.entries(asObject(object?.["Args"]) ?? {});
      const netns = asText(object?.["Netns"]);
      const path = object?.["Path"];
      const result = asObject(object?.["Result"]);
      return {
        NetworkType: name,
        Args: Object.fromEntries(args.map(([key, value]) => [key, String(value)])),
        Conf: conf,
        IfName: asText(object?.["IfName"]) ?? "eth0",
        ...(netns === undefined ? {} : { Netns: netns }),
        ...(Array.isArray(path) ? { Path: path.map(String) } : {}),
        ...(result === undefined ? {} : { Result: result }),
      };
    });
  } catch {
    return undefined;
  }
}

/** Name of the runtime's configuration: runtimes take the first of their folder. */
export const runtimeConfigName = "00-galaxy.conflist";

/**
 * The configuration by which a runtime calls galaxy-sdn, and portmap for host ports where that is on the host. Runtimes of CNI 1.1 choose the newest of `cniVersions`; older ones take
 * `cniVersion`, which every runtime knows that asks for CHECK.
 */
export function formatRuntimeConfig(options: { readonly hasPortmap: boolean }): string {
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  const config = {
    cniVersion: "0.4.0",
    cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
    name: "galaxy",
    plugins: [{ type: "galaxy-sdn" }, ...(options.hasPortmap ? [portmap] : [])],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
