// The command line and the JSON configuration of galaxy-ipam: text in, options, warnings and problems out. Reads no file.
//
// Flags are those of the Go program, with one dash or two, `--flag=value` or `--flag value`, and switches without a value,
// as Go's flag and pflag packages read them; a general command-line library reads `-v=4` or `-logtostderr` differently.
// One table gives parsing, defaults and --help.

import { parseIpNumber } from "../core/ip.ts";
import type { Cidr } from "../core/ip-range.ts";
import { parseCidr, singleAddressCidr } from "../core/ip-range.ts";
import { parseJsonText } from "./json-text.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, quoteValue } from "./json-value.ts";

/** What the command line says. Durations are in milliseconds, empty texts mean "not given". */
export type IpamFlags = {
  /** The JSON configuration; one that was not asked for may be missing. */
  readonly configFile: { readonly path: string; readonly isGiven: boolean };
  readonly bindAddress: string;
  readonly port: number;
  readonly apiPort: number;
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
  /** Authorities whose certificates the callers of the extender must have; "" for any caller. */
  readonly extenderClientCaFile: string;
  /** "" when the API asks for no certificates. */
  readonly apiClientCaFile: string;
  /** The API asks nobody who they are. */
  readonly insecureApi: boolean;
  /** Changes of addresses older than this are forgotten. */
  readonly historyMs: number;
  /** Most changes of addresses that are kept; 0: none. */
  readonly historyChanges: number;
  readonly kubeconfig: string;
  readonly master: string;
  /** Where the program without a cluster keeps everything; "" for the folder of {@link defaultStateFolder}. */
  readonly stateFolder: string;
  /** Whether the first start without a cluster makes an example. */
  readonly withExample: boolean;
  readonly kubeApiQps: number;
  readonly kubeApiBurst: number;
  readonly leaderElect: boolean;
  readonly leaseMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  readonly leaseName: string;
  readonly leaseNamespace: string;
  /** A file with the pod subnets instead of the ConfigMap. */
  readonly floatingipsFile: string;
  /** Overrides the JSON configuration's resyncInterval; undefined when not given. */
  readonly resyncIntervalMs: number | undefined;
  readonly reuseDelayMs: number;
  readonly holdMs: number;
  /** Pools of this namespace alone count; "" for all. */
  readonly poolNamespace: string;
  readonly filterTimeoutMs: number;
  readonly bindTimeoutMs: number;
  /** Virtual addresses that pods claim are served. */
  readonly servesVips: boolean;
  /** Calico's annotation counts as a claim of virtual addresses. */
  readonly vipReadsCalico: boolean;
  /** Blocks and addresses that are never virtual ones. */
  readonly vipRefused: readonly Cidr[];
  /** Where the leases of nodes for virtual addresses are. */
  readonly vipLeaseNamespace: string;
  /** CPU profiles and heap snapshots are served to who may have them. */
  readonly profiling: boolean;
  /** klog's verbosity. */
  readonly verbosity: number;
};

/** Outcome of reading the command line. */
export type FlagsParse =
  | { readonly kind: "flags"; readonly flags: IpamFlags; readonly warnings: readonly string[] }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

/** What the JSON configuration says. */
export type IpamFileConfig = {
  /** `floatingips` as text for parseFloatingIpConfig; undefined when the ConfigMap has them. */
  readonly floatingipsText: string | undefined;
  /** At least a minute. */
  readonly resyncIntervalMs: number;
  readonly configMapName: string;
  readonly configMapNamespace: string;
  readonly floatingipKey: string;
};

/** Outcome of reading the JSON configuration. */
export type FileConfigParse =
  | {
      readonly kind: "config";
      readonly config: IpamFileConfig;
      readonly warnings: readonly string[];
    }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

/** What holds without a JSON configuration. */
export const defaultFileConfig: IpamFileConfig = {
  floatingipsText: undefined,
  resyncIntervalMs: 60_000,
  configMapName: "floatingip-config",
  configMapNamespace: "kube-system",
  floatingipKey: "floatingips",
};

/** Where the program without a cluster keeps its state unless told otherwise, in the folder in which it was started. */
export const defaultStateFolder = "galaxy-state";

type FlagType = "text" | "count" | "port" | "switch" | "duration" | "blocks";
type Flag = {
  readonly type: FlagType;
  readonly initial: string;
  /** Absent for flags that are accepted and ignored. */
  readonly help?: string;
  /** Why a flag of the Go program has no effect. */
  readonly ignored?: string;
};

const klogIgnored = "logs are JSON lines on standard error; --v alone chooses how many";

/** Every flag: the Go program's with its defaults unless the help says otherwise, then ours, then those without effect. */
const table = {
  config: {
    type: "text",
    initial: "/etc/galaxy/galaxy-ipam.json",
    help: "JSON configuration; may be missing when the flag is not given",
  },
  bind: {
    type: "text",
    initial: "127.0.0.1",
    help: "address to listen on; 0.0.0.0 (the Go program's default) for a scheduler on another machine",
  },
  port: { type: "port", initial: "9040", help: "port of the scheduler extender" },
  "api-port": { type: "port", initial: "9041", help: "port of the API, metrics and health" },
  kubeconfig: {
    type: "text",
    initial: "",
    help: "kubeconfig file; without it and --master the service account of the pod is used, and outside a cluster a simulated one",
  },
  master: { type: "text", initial: "", help: "URL of the API server; overrides the kubeconfig" },
  "state-dir": {
    type: "text",
    initial: "",
    help: `folder in which the program without a cluster keeps its state (default ${defaultStateFolder})`,
  },
  example: {
    type: "switch",
    initial: "true",
    help: "without a cluster: the first start makes example subnets, nodes and workloads",
  },
  "leader-elect": {
    type: "switch",
    initial: "true",
    help: "work only while holding the Lease, so that several replicas may run",
  },
  "leader-elect-lease-duration": {
    type: "duration",
    initial: "15s",
    help: "how long a leader that stopped renewing keeps the others waiting",
  },
  "leader-elect-renew-deadline": {
    type: "duration",
    initial: "10s",
    help: "how long a leader tries to renew before it stops leading; less than the lease duration",
  },
  "leader-elect-retry-period": {
    type: "duration",
    initial: "2s",
    help: "pause between attempts to get or renew the Lease; less than the renew deadline",
  },
  "leader-elect-resource-name": {
    type: "text",
    initial: "galaxy-ipam",
    help: "name of the Lease",
  },
  "leader-elect-resource-namespace": {
    type: "text",
    initial: "kube-system",
    help: "namespace of the Lease",
  },
  v: { type: "count", initial: "0", help: "how much to log: 4 and above is everything" },

  floatingips: {
    type: "text",
    initial: "",
    help: "file with the pod subnets (the value of the ConfigMap's key); watched; instead of the ConfigMap",
  },
  "resync-interval": {
    type: "duration",
    initial: "",
    help: "pause between resyncs; overrides resyncInterval of the JSON configuration and may be below a minute",
  },
  "reuse-delay": {
    type: "duration",
    initial: "10s",
    help: "a released address is handed out before this only when no other is left",
  },
  "hold-ttl": {
    type: "duration",
    initial: "30s",
    help: "how long an address stays promised to a pod between filter and bind",
  },
  "pool-namespace": {
    type: "text",
    initial: "",
    help: "only Pools of this namespace count; without it those of every namespace",
  },
  "kube-api-qps": { type: "count", initial: "1000", help: "requests to the API server a second" },
  "kube-api-burst": { type: "count", initial: "2000", help: "requests to the API server at once" },
  "filter-timeout": {
    type: "duration",
    initial: "4500ms",
    help: "filter, prioritize and preempt answer an error after this; keep it below the scheduler's httpTimeout",
  },
  "bind-timeout": {
    type: "duration",
    initial: "25s",
    help: "bind answers an error after this; keep it below the scheduler's httpTimeout",
  },
  "tls-cert-file": {
    type: "text",
    initial: "",
    help: "certificate chain in PEM; with --tls-private-key-file both ports serve HTTPS",
  },
  "tls-private-key-file": { type: "text", initial: "", help: "private key in PEM" },
  "extender-client-ca-file": {
    type: "text",
    initial: "",
    help: "authorities in PEM: callers of the extender need a certificate of one of them; needs --tls-cert-file",
  },
  "api-client-ca-file": {
    type: "text",
    initial: "",
    help: "authorities in PEM: users of the API with a certificate of one of them need no token (CN is the user, O the groups)",
  },
  "insecure-api": {
    type: "switch",
    initial: "false",
    help: "serve the API to everybody who reaches the port, without tokens, as the Go program did",
  },
  profiling: {
    type: "switch",
    initial: "false",
    help: "serve CPU profiles and heap snapshots to who has the right to them (the Go program's default is true)",
  },
  "history-retention": {
    type: "duration",
    initial: "336h",
    help: "how long it stays known who had an address when",
  },
  "history-changes": {
    type: "count",
    initial: "100000",
    help: "most changes of addresses that stay known; 0 keeps none",
  },

  vip: {
    type: "switch",
    initial: "true",
    help: "serve virtual addresses that pods claim by annotation; without a VIPPool nothing is served",
  },
  "vip-calico-annotation": {
    type: "switch",
    initial: "true",
    help: "cni.projectcalico.org/floatingIPs of pods counts as a claim of virtual addresses",
  },
  "vip-refuse": {
    type: "blocks",
    initial: "",
    help: "what is never a virtual address: the service CIDR before Kubernetes 1.33, pod CIDRs that nodes do not say",
  },
  "vip-lease-namespace": {
    type: "text",
    initial: "galaxy-vip",
    help: "namespace of the nodes' leases for virtual addresses and of nothing else; made when it is missing",
  },

  swagger: {
    type: "switch",
    initial: "false",
    ignored: "the API description comes with the HTTP API in a later release",
  },
  "leader-elect-resource-lock": {
    type: "text",
    initial: "leases",
    ignored: "the lock is always a Lease; endpoints and configmaps are gone from Kubernetes",
  },
  logtostderr: { type: "switch", initial: "true", ignored: klogIgnored },
  alsologtostderr: { type: "switch", initial: "false", ignored: klogIgnored },
  stderrthreshold: { type: "text", initial: "2", ignored: klogIgnored },
  vmodule: { type: "text", initial: "", ignored: klogIgnored },
  log_backtrace_at: { type: "text", initial: "", ignored: klogIgnored },
  log_dir: { type: "text", initial: "", ignored: klogIgnored },
  log_file: { type: "text", initial: "", ignored: klogIgnored },
  log_file_max_size: { type: "text", initial: "", ignored: klogIgnored },
  skip_headers: { type: "switch", initial: "false", ignored: klogIgnored },
  skip_log_headers: { type: "switch", initial: "false", ignored: klogIgnored },
  add_dir_header: { type: "switch", initial: "false", ignored: klogIgnored },
  log_flush_frequency: { type: "text", initial: "5s", ignored: klogIgnored },
} as const satisfies Record<string, Flag>;

type FlagName = keyof typeof table;

/** Values of flags without effect that ask for what happens anyway, or that nobody misses: no warning. */
const quietDefaults: Partial<Record<FlagName, readonly string[]>> = {
  swagger: ["false"],
  logtostderr: ["true"],
  "leader-elect-resource-lock": ["leases"],
};

/**
 * Reads the arguments after the program's name. `--help`, `-h` and `--version` win over everything but are only seen
 * before `--`.
 */
export function parseIpamFlags(argv: readonly string[]): FlagsParse {
  const given = new Map<FlagName, string>();
  const problems: string[] = [];
  const warnings: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? "";
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(word);
    if (match === null) {
      problems.push(`"${word}" is not a flag; galaxy-ipam takes flags only, see --help`);
      continue;
    }
    const written = match[1] ?? "";
    if (written === "help" || written === "h") return { kind: "help", text: helpText() };
    if (written === "version") return { kind: "version" };
    const name = flagName(written);
    if (name === undefined) {
      problems.push(unknownFlag(written));
      // What follows may be its value; taking it for a second mistake would only confuse.
      if (match[2] === undefined && /^[^-]/.test(argv[index + 1] ?? "")) index += 1;
      continue;
    }
    const flag: Flag = table[name];
    let value = match[2];
    if (value === undefined && flag.type === "switch") value = "true";
    if (value === undefined) {
      index += 1;
      value = argv[index];
    }
    if (value === undefined) {
      problems.push(`--${name} needs a value, for example --${name}=${flag.initial || "…"}`);
      continue;
    }
    const problem = valueProblem(flag.type, value);
    if (problem !== undefined) {
      problems.push(`--${name}=${value}: ${problem}`);
      continue;
    }
    given.set(name, value);
    if (flag.ignored !== undefined && !quietDefaults[name]?.includes(value.toLowerCase())) {
      warnings.push(`--${name} has no effect: ${flag.ignored}`);
    }
  }
  if (problems.length > 0) return { kind: "invalid", problems };
  const flags = toFlags(given);
  const contradictions = contradictionsOf(flags);
  return contradictions.length > 0
    ? { kind: "invalid", problems: contradictions }
    : { kind: "flags", flags, warnings };
}

/** Kubernetes' programs take `_` and `-` for the same thing. */
function flagName(written: string): FlagName | undefined {
  const candidates = [written, written.replaceAll("_", "-"), written.replaceAll("-", "_")];
  return candidates.find((name): name is FlagName => Object.hasOwn(table, name));
}

function unknownFlag(written: string): string {
  const letters = written.replaceAll(/[-_]/g, "").toLowerCase();
  const similar = (Object.keys(table) as FlagName[]).find((name) => {
    const other = name.replaceAll(/[-_]/g, "").toLowerCase();
    return other === letters || (letters.length > 3 && other.startsWith(letters));
  });
  const hint = similar === undefined ? "see --help" : `did you mean --${similar}?`;
  return `there is no flag --${written}; ${hint}`;
}

/** What is wrong with a value; undefined when it fits. */
function valueProblem(type: FlagType, value: string): string | undefined {
  const fits: Record<FlagType, boolean> = {
    text: true,
    count: /^-?[0-9]{1,9}$/.test(value),
    port: /^[0-9]{1,5}$/.test(value) && Number(value) <= 65_535,
    switch: parseSwitch(value) !== undefined,
    duration: parseDurationMs(value) !== undefined,
    blocks: parseBlocks(value) !== undefined,
  };
  return fits[type] ? undefined : expectations[type];
}

const expectations: Readonly<Record<FlagType, string>> = {
  text: "not a text",
  count: "not a whole number",
  port: "not a port from 0 (any free one) to 65535",
  switch: "neither true nor false",
  duration: "not a duration such as 500ms, 15s or 1m30s",
  blocks: "not addresses or CIDR blocks with commas, such as 10.96.0.0/12,192.0.2.1",
};

/** The words that Go's strconv.ParseBool takes. */
function parseSwitch(value: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(value)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(value)) return false;
  return undefined;
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration as Go's time.ParseDuration reads it (`1m30s`, `0.5h`, `0`), in milliseconds; negative ones are none. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  }
  // Beyond 24 days a timer of JavaScript overflows.
  return totalMs <= 2 ** 31 - 1 ? totalMs : undefined;
}

function toFlags(given: ReadonlyMap<FlagName, string>): IpamFlags {
  const text = (name: FlagName) => given.get(name) ?? table[name].initial;
  const number = (name: FlagName) => Number(text(name));
  const durationMs = (name: FlagName) => parseDurationMs(text(name)) ?? 0;
  return {
    configFile: { path: text("config"), isGiven: given.has("config") },
    bindAddress: text("bind"),
    port: number("port"),
    apiPort: number("api-port"),
    tlsCertFile: text("tls-cert-file"),
    tlsKeyFile: text("tls-private-key-file"),
    extenderClientCaFile: text("extender-client-ca-file"),
    apiClientCaFile: text("api-client-ca-file"),
    insecureApi: parseSwitch(text("insecure-api")) ?? false,
    historyMs: durationMs("history-retention"),
    historyChanges: number("history-changes"),
    kubeconfig: text("kubeconfig"),
    master: text("master"),
    stateFolder: text("state-dir"),
    withExample: parseSwitch(text("example")) ?? true,
    kubeApiQps: number("kube-api-qps"),
    kubeApiBurst: number("kube-api-burst"),
    leaderElect: parseSwitch(text("leader-elect")) ?? true,
    leaseMs: durationMs("leader-elect-lease-duration"),
    renewDeadlineMs: durationMs("leader-elect-renew-deadline"),
    retryPeriodMs: durationMs("leader-elect-retry-period"),
    leaseName: text("leader-elect-resource-name"),
    leaseNamespace: text("leader-elect-resource-namespace"),
    floatingipsFile: text("floatingips"),
    resyncIntervalMs: given.has("resync-interval") ? durationMs("resync-interval") : undefined,
    reuseDelayMs: durationMs("reuse-delay"),
    holdMs: durationMs("hold-ttl"),
    poolNamespace: text("pool-namespace"),
    filterTimeoutMs: durationMs("filter-timeout"),
    bindTimeoutMs: durationMs("bind-timeout"),
    servesVips: parseSwitch(text("vip")) ?? true,
    vipReadsCalico: parseSwitch(text("vip-calico-annotation")) ?? true,
    vipRefused: parseBlocks(text("vip-refuse")) ?? [],
    vipLeaseNamespace: text("vip-lease-namespace"),
    profiling: parseSwitch(text("profiling")) ?? false,
    verbosity: number("v"),
  };
}

/** Addresses and CIDR blocks with commas between them; undefined when one cannot be read. */
function parseBlocks(text: string): readonly Cidr[] | undefined {
  const blocks = text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "")
    .map((each) => {
      if (each.includes("/")) return parseCidr(each);
      const value = parseIpNumber(each);
      return value === undefined ? undefined : singleAddressCidr(value);
    });
  const readable = blocks.filter((block) => block !== undefined);
  return readable.length === blocks.length ? readable : undefined;
}

function contradictionsOf(flags: IpamFlags): string[] {
  const problems: string[] = [];
  if (flags.port !== 0 && flags.port === flags.apiPort) {
    problems.push(`--port and --api-port are both ${flags.port}; they are two servers`);
  }
  if (flags.stateFolder !== "" && (flags.kubeconfig !== "" || flags.master !== "")) {
    problems.push(
      "--state-dir is for the program without a cluster; leave it out, or leave --kubeconfig and --master out",
    );
  }
  if ((flags.tlsCertFile === "") !== (flags.tlsKeyFile === "")) {
    problems.push("--tls-cert-file and --tls-private-key-file are needed together");
  }
  if (flags.extenderClientCaFile !== "" && flags.tlsCertFile === "") {
    problems.push("--extender-client-ca-file needs --tls-cert-file and --tls-private-key-file");
  }
  if (flags.apiClientCaFile !== "" && flags.tlsCertFile === "") {
    problems.push("--api-client-ca-file needs --tls-cert-file and --tls-private-key-file");
  }
  if (flags.apiClientCaFile !== "" && flags.insecureApi) {
    problems.push("--api-client-ca-file has no effect with --insecure-api; leave one of them out");
  }
  if (flags.historyChanges < 0) problems.push("--history-changes must not be below 0");
  if (flags.leaderElect && flags.leaseMs <= flags.renewDeadlineMs) {
    problems.push(
      "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline",
    );
  }
  // client-go's rule: a renewal must have time for more than one attempt.
  if (flags.leaderElect && flags.renewDeadlineMs <= 1.2 * flags.retryPeriodMs) {
    problems.push(
      "--leader-elect-renew-deadline must be longer than 1.2 times --leader-elect-retry-period",
    );
  }
  const positive = {
    "kube-api-qps": flags.kubeApiQps,
    "kube-api-burst": flags.kubeApiBurst,
    "leader-elect-retry-period": flags.retryPeriodMs,
    "hold-ttl": flags.holdMs,
    "history-retention": flags.historyMs,
    "filter-timeout": flags.filterTimeoutMs,
    "bind-timeout": flags.bindTimeoutMs,
    "resync-interval": flags.resyncIntervalMs ?? 1,
  };
  for (const [name, value] of Object.entries(positive)) {
    if (!(value > 0)) problems.push(`--${name} must be above 0`);
  }
  return problems;
}

function helpText(): string {
  const lines = [
    "galaxy-ipam: float IPs for Kubernetes pods, as a scheduler extender and controller",
    "",
    "Usage: galaxy-ipam [flags]",
    "",
    "Flags:",
  ];
  const entries = Object.entries(table) as [FlagName, Flag][];
  for (const [name, flag] of entries) {
    if (flag.help === undefined) continue;
    const sign = {
      text: " text",
      count: " number",
      port: " port",
      switch: "",
      duration: " duration",
      blocks: " list",
    };
    lines.push(`  --${name}${sign[flag.type]}`);
    const initial = flag.initial === "" ? "" : ` (default ${flag.initial})`;
    lines.push(`        ${flag.help}${initial}`);
  }
  lines.push("  --help", "        print this", "  --version", "        print the version");
  lines.push("", "Flags of the Go program that are accepted and have no effect:");
  for (const [name, flag] of entries) {
    if (flag.ignored !== undefined) lines.push(`  --${name}: ${flag.ignored}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Members of `schedule_plugin`. */
const pluginMembers = [
  "floatingips",
  "resyncInterval",
  "configMapName",
  "configMapNamespace",
  "floatingipKey",
] as const;
/** Members that versions of the Go program knew and this one does without. */
const formerMembers: Readonly<Record<string, string>> = {
  cloudProviderGrpcAddr: "there is no cloud provider any more",
  database: "records are FloatingIP objects",
};

/**
 * Reads the JSON configuration, the text of `fileName`. Unknown members are warnings;
 * values of a wrong type are problems that name the member and what belongs there.
 */
export function parseIpamFileConfig(text: string, fileName: string): FileConfigParse {
  const parse = parseJsonText(text);
  if (parse.kind === "problem") {
    return { kind: "invalid", problems: [`${fileName} is no JSON: ${parse.problem}`] };
  }
  const warnings = parse.duplicates.map(
    (path) => `${fileName}: ${path} stands twice; the last counts`,
  );
  const root = asObject(parse.value);
  if (root === undefined) {
    return {
      kind: "invalid",
      problems: [`${fileName} is ${quoteValue(parse.value)}, not {"schedule_plugin": {…}}`],
    };
  }
  const { members, unknown } = knownMembersOf(root, ["schedule_plugin"]);
  for (const name of unknown) warnings.push(`${fileName}: unknown member ${name} is ignored`);
  const pluginValue = members["schedule_plugin"] ?? {};
  const plugin = asObject(pluginValue);
  if (plugin === undefined) {
    return {
      kind: "invalid",
      problems: [`${fileName}: schedule_plugin is ${quoteValue(pluginValue)}, not an object`],
    };
  }
  return parsePlugin(plugin, fileName, warnings);
}

/** The members with a known name, in whatever case, as Go's decoder finds them; of several the last counts. */
function knownMembersOf(
  object: JsonObject,
  names: readonly string[],
): { readonly members: JsonObject; readonly unknown: readonly string[] } {
  const members: Record<string, unknown> = {};
  const unknown: string[] = [];
  for (const [written, value] of Object.entries(object)) {
    const known = names.find((name) => name.toLowerCase() === written.toLowerCase());
    if (known === undefined) unknown.push(written);
    else members[known] = value;
  }
  return { members, unknown };
}

function parsePlugin(object: JsonObject, fileName: string, warnings: string[]): FileConfigParse {
  const problems: string[] = [];
  const { members: plugin, unknown } = knownMembersOf(object, pluginMembers);
  for (const name of unknown) {
    const why = Object.hasOwn(formerMembers, name) ? formerMembers[name] : undefined;
    warnings.push(
      why === undefined
        ? `${fileName}: unknown member schedule_plugin.${name} is ignored`
        : `${fileName}: schedule_plugin.${name} is ignored: ${why}`,
    );
  }
  const textOf = (name: "configMapName" | "configMapNamespace" | "floatingipKey"): string => {
    const value = plugin[name] ?? "";
    if (typeof value !== "string") {
      problems.push(
        `${fileName}: schedule_plugin.${name} is ${quoteValue(value)}; write a text such as "${defaultFileConfig[name]}" or leave it out`,
      );
      return "";
    }
    return value === "" ? defaultFileConfig[name] : value;
  };
  const minutes = plugin["resyncInterval"] ?? 1;
  if (typeof minutes !== "number" || minutes < 0 || minutes > 24 * 60) {
    problems.push(
      `${fileName}: schedule_plugin.resyncInterval is ${quoteValue(minutes)}; write minutes as a number from 1 to 1440 or leave it out`,
    );
  }
  const floatingips = plugin["floatingips"] ?? undefined;
  if (floatingips !== undefined && !Array.isArray(floatingips)) {
    problems.push(
      `${fileName}: schedule_plugin.floatingips is ${quoteValue(floatingips)}; write the list of pod subnets itself, not its text, or leave it out to use the ConfigMap`,
    );
  }
  const config: IpamFileConfig = {
    // Go takes an empty list for "not given" and reads the ConfigMap.
    floatingipsText:
      Array.isArray(floatingips) && floatingips.length > 0
        ? JSON.stringify(floatingips)
        : undefined,
    resyncIntervalMs: Math.max(1, Number(minutes)) * 60_000,
    configMapName: textOf("configMapName"),
    configMapNamespace: textOf("configMapNamespace"),
    floatingipKey: textOf("floatingipKey"),
  };
  return problems.length > 0 ? { kind: "invalid", problems } : { kind: "config", config, warnings };
}
