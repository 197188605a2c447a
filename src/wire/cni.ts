// The Container Network Interface on the wire, versions 0.1.0 to 1.1.0: environment and configuration in, results and errors out
// (https://www.cni.dev/docs/spec/). What a plugin does with its own fields of the configuration is said elsewhere.

import type {
  CniAddress,
  CniDns,
  CniInterface,
  CniRefusal,
  CniResult,
  CniRoute,
} from "../core/cni-result.ts";
import { cniCode } from "../core/cni-result.ts";
import { parseIp } from "../core/ip.ts";
import type { JsonObject } from "./json-value.ts";
import { asList, asObject, asText, quoteValue, textAt, valueAt } from "./json-value.ts";

/** Versions that are spoken, oldest first. */
export const cniVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** A version that is spoken. */
export type CniVersion = (typeof cniVersions)[number];

/** What a runtime asks for. */
export type CniCommand = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC" | "VERSION";

/** A request, checked. Texts that the command does not need are "". */
export type CniRequest = {
  readonly kind: "request";
  readonly command: CniCommand;
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS as it came. */
  readonly args: string;
  readonly path: readonly string[];
  readonly version: CniVersion;
  /** Name of the network. */
  readonly network: string;
  /** Name of the executable, `type` of the configuration. */
  readonly type: string;
  /** The configuration as it came. */
  readonly config: JsonObject;
  readonly prevResult: CniResult | undefined;
};

/** The environment by names; what is missing is undefined. */
export type CniEnvironment = Readonly<Record<string, string | undefined>>;

/** A request or its refusal, with the version that the answer is to be in. */
export type CniRequestParse =
  | CniRequest
  | (CniRefusal & { readonly version: CniVersion | undefined });

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const needs: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
  VERSION: [],
};

/**
 * Reads a request.
 * @param stdin the configuration; "" is fine for VERSION
 */
export function parseCniRequest(env: CniEnvironment, stdin: string): CniRequestParse {
  const no = (code: number, message: string, version?: CniVersion): CniRequestParse => ({
    kind: "refused",
    code,
    message,
    version,
  });
  const command = env["CNI_COMMAND"] ?? "";
  if (!Object.hasOwn(needs, command)) {
    return no(
      cniCode.invalidEnvironment,
      `unknown CNI_COMMAND ${quoteValue(command)}; use ${Object.keys(needs).join(", ")}`,
    );
  }
  const known = command as CniCommand;
  const missing = needs[known].filter((name) => (env[name] ?? "") === "");
  if (missing.length > 0) {
    return no(
      cniCode.invalidEnvironment,
      `required env variables [${missing.join(",")}] missing for ${known}; the runtime sets them`,
    );
  }
  let json: unknown = {};
  try {
    if (known !== "VERSION" || stdin.trim() !== "") json = JSON.parse(stdin);
  } catch (error) {
    return no(
      cniCode.undecodable,
      `the configuration on standard input is no JSON: ${error instanceof Error ? error.message : String(error)}; correct the network configuration`,
    );
  }
  const config = asObject(json);
  if (config === undefined) {
    return no(
      cniCode.undecodable,
      `the configuration ${quoteValue(json)} is no JSON object; correct the network configuration`,
    );
  }
  const versionText = asText(config["cniVersion"]) ?? "0.1.0";
  const version = cniVersions.find((candidate) => candidate === versionText);
  if (version === undefined) {
    return no(
      cniCode.incompatibleVersion,
      `incompatible CNI versions: the configuration says cniVersion ${quoteValue(config["cniVersion"])}, the plugin speaks ${cniVersions.join(", ")}; write one of these`,
    );
  }
  const refuse = (code: number, message: string) => no(code, message, version);
  const request = {
    kind: "request",
    command: known,
    containerId: env["CNI_CONTAINERID"] ?? "",
    netns: env["CNI_NETNS"] ?? "",
    ifName: env["CNI_IFNAME"] ?? "",
    args: env["CNI_ARGS"] ?? "",
    path: (env["CNI_PATH"] ?? "").split(":").filter((folder) => folder !== ""),
    version,
    network: asText(config["name"]) ?? "",
    type: asText(config["type"]) ?? "",
    config,
  } as const;
  if (known === "VERSION") return { ...request, prevResult: undefined };
  const since = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" } as const;
  if (known === "CHECK" || known === "GC" || known === "STATUS") {
    if (cniVersions.indexOf(version) < cniVersions.indexOf(since[known])) {
      return refuse(
        cniCode.incompatibleVersion,
        `config version ${version} does not allow ${known}; it came with ${since[known]}`,
      );
    }
  }
  if (known !== "GC" && known !== "STATUS") {
    if (!namePattern.test(request.containerId)) {
      return refuse(
        cniCode.invalidEnvironment,
        `CNI_CONTAINERID ${quoteValue(request.containerId)} has characters other than letters, digits, "_", "." and "-"`,
      );
    }
    const problem = ifNameProblem(request.ifName);
    if (problem !== undefined) {
      return refuse(cniCode.invalidEnvironment, `CNI_IFNAME ${problem}`);
    }
    if (request.netns !== "" && !/^\/[A-Za-z0-9_.:/@+-]*$/.test(request.netns)) {
      return refuse(
        cniCode.invalidEnvironment,
        `CNI_NETNS ${quoteValue(request.netns)} is no absolute path of plain characters`,
      );
    }
  }
  if (request.network === "") {
    return refuse(cniCode.invalidConfig, "missing network name; add `name` to the configuration");
  }
  if (!namePattern.test(request.network)) {
    return refuse(
      cniCode.invalidConfig,
      `network name ${quoteValue(request.network)} has characters other than letters, digits, "_", "." and "-"; rename it`,
    );
  }
  const previous = config["prevResult"];
  if (previous === undefined || previous === null) return { ...request, prevResult: undefined };
  const result = parseCniResult(previous);
  return "kind" in result
    ? refuse(result.code, `prevResult: ${result.message}`)
    : { ...request, prevResult: result };
}

/** What is wrong with a name for an interface; undefined when nothing is (Linux takes 15 bytes). */
export function ifNameProblem(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return `${quoteValue(name)} is no name`;
  if (name.length > 15) return `${quoteValue(name)} is longer than 15 characters; shorten it`;
  return /^[A-Za-z0-9_.@+-]+$/.test(name)
    ? undefined
    : `${quoteValue(name)} has characters that no interface should have; use letters, digits, "_", "." and "-"`;
}

/** CNI_ARGS by key: split at ";", each at its first "=", trimmed, the last of equal keys wins, items without "=" are passed over. */
export function parseCniArgsVariable(text: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  for (const item of text.split(";")) {
    const equals = item.indexOf("=");
    if (equals >= 0) args.set(item.slice(0, equals).trim(), item.slice(equals + 1).trim());
  }
  return args;
}

/** Reads a result of any version; missing members are empty. */
export function parseCniResult(json: unknown): CniResult | CniRefusal {
  const object = asObject(json);
  const no = (message: string): CniRefusal => ({
    kind: "refused",
    code: cniCode.undecodable,
    message,
  });
  if (object === undefined) return no(`result ${quoteValue(json)} is no JSON object`);
  const version = asText(object["cniVersion"]) ?? "0.1.0";
  if (!cniVersions.some((known) => known === version)) {
    return no(`result has cniVersion ${quoteValue(version)}, which is not spoken here`);
  }
  const dns = (asObject(object["dns"]) ?? {}) as CniDns;
  const isOld = version === "0.1.0" || version === "0.2.0";
  if (isOld && !("ips" in object)) return parseOldResult(object, dns);
  const interfaces = asList(object["interfaces"]).map((item) => {
    const [mac, sandbox, mtu] = [
      textAt(item, "mac"),
      textAt(item, "sandbox"),
      valueAt(item, "mtu"),
    ];
    return {
      name: textAt(item, "name") ?? "",
      ...(mac === undefined || mac === "" ? {} : { mac }),
      ...(typeof mtu === "number" ? { mtu } : {}),
      ...(sandbox === undefined || sandbox === "" ? {} : { sandbox }),
    };
  });
  const ips: CniAddress[] = [];
  for (const item of asList(object["ips"])) {
    const address = textAt(item, "address") ?? "";
    if (!isAddressWithPrefix(address)) {
      return no(`result has an address ${quoteValue(address)}; ADDRESS/PREFIX is expected`);
    }
    const [gateway, index] = [textAt(item, "gateway"), valueAt(item, "interface")];
    ips.push({
      address,
      ...(gateway === undefined || gateway === "" ? {} : { gateway }),
      ...(typeof index === "number" ? { interface: index } : {}),
    });
  }
  return { interfaces, ips, routes: readRoutes(object["routes"]), dns };
}

function parseOldResult(object: JsonObject, dns: CniDns): CniResult {
  const ips: CniAddress[] = [];
  const routes: CniRoute[] = [];
  for (const family of ["ip4", "ip6"]) {
    const part = asObject(object[family]);
    const address = asText(part?.["ip"]) ?? "";
    if (!isAddressWithPrefix(address)) continue;
    const gateway = asText(part?.["gateway"]);
    ips.push({ address, ...(gateway === undefined || gateway === "" ? {} : { gateway }) });
    routes.push(...readRoutes(part?.["routes"]));
  }
  return { interfaces: [], ips, routes, dns };
}

function isAddressWithPrefix(text: string): boolean {
  const [ip = "", prefix = ""] = text.split("/");
  return parseIp(ip) !== undefined && /^[0-9]{1,3}$/.test(prefix);
}

function readRoutes(value: unknown): CniRoute[] {
  return asList(value).flatMap((item) => {
    const [dst, gw] = [textAt(item, "dst"), textAt(item, "gw")];
    if (dst === undefined) return [];
    return [{ dst, ...(gw === undefined || gw === "" ? {} : { gw }) }];
  });
}

/** The result in the form of a version. 0.1.0 and 0.2.0 hold one address of each family, the others all. */
export function formatCniResult(result: CniResult, version: CniVersion): JsonObject {
  const { dns } = result;
  if (version === "0.1.0" || version === "0.2.0") {
    const part = (isIpv6: boolean) => {
      const first = result.ips.find(({ address }) => address.includes(":") === isIpv6);
      if (first === undefined) return undefined;
      const routes = result.routes.filter(({ dst }) => dst.includes(":") === isIpv6);
      return {
        ip: first.address,
        ...(first.gateway === undefined ? {} : { gateway: first.gateway }),
        routes,
      };
    };
    const [ip4, ip6] = [part(false), part(true)];
    return {
      cniVersion: version,
      ...(ip4 === undefined ? {} : { ip4 }),
      ...(ip6 === undefined ? {} : { ip6 }),
      dns,
    };
  }
  const hasMtu = version === "1.1.0";
  const interfaces = result.interfaces.map(
    ({ mtu, ...rest }): CniInterface => (hasMtu && mtu !== undefined ? { ...rest, mtu } : rest),
  );
  // Until 1.0.0 every address said its family, and dns was never left out.
  const isBefore1 = version.startsWith("0.");
  const ips = result.ips.map((ip) =>
    isBefore1 ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip,
  );
  return { cniVersion: version, interfaces, ips, routes: result.routes, dns };
}

/** The configuration that a plugin is given on standard input: with a version when it names none, and the result before it. */
export function formatPluginConfig(
  config: JsonObject,
  cniVersion: string,
  prevResult: CniResult | undefined,
): string {
  const versionText = asText(config["cniVersion"]) ?? cniVersion;
  const version = cniVersions.find((known) => known === versionText) ?? "1.0.0";
  const previous =
    prevResult === undefined ? {} : { prevResult: formatCniResult(prevResult, version) };
  return JSON.stringify({ ...config, cniVersion: versionText, ...previous });
}

/** An error as the specification writes it; `version` is left out when the request's was not understood. */
export function formatCniError(refusal: CniRefusal, version: CniVersion | undefined): JsonObject {
  return {
    ...(version === undefined ? {} : { cniVersion: version }),
    code: refusal.code,
    msg: refusal.message,
  };
}

/** The answer to VERSION, in the form that the asked version knows. */
export function formatCniVersions(): JsonObject {
  return { cniVersion: "1.1.0", supportedVersions: cniVersions };
}

/** Attachments of the network that the runtime still has, for GC (`cni.dev/valid-attachments`; `cni.dev/attachments` in drafts). */
export function validAttachments(
  config: JsonObject,
): readonly { readonly containerId: string; readonly ifName: string }[] | undefined {
  const list = config["cni.dev/valid-attachments"] ?? config["cni.dev/attachments"];
  // Nothing said is not the same as nothing left: everything would be removed.
  if (!Array.isArray(list)) return undefined;
  return list.flatMap((item: unknown) => {
    const [containerId, ifName] = [textAt(item, "containerID"), textAt(item, "ifname")];
    return containerId === undefined || ifName === undefined ? [] : [{ containerId, ifName }];
  });
}
