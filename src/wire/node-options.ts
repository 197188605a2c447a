// The command line of the daemon galaxy: the Go daemon's flags with their defaults, and ours. Text in, options and problems out.

import { parseDurationMs } from "./ipam-options.ts";

/** What the command line says. Durations are in milliseconds. */
export type NodeOptions = {
  readonly kubeconfig: string;
  readonly master: string;
  readonly configPath: string;
  readonly networkConfFolder: string;
  readonly pluginFolders: readonly string[];
  /** "" when not given: MY_NODE_NAME, else the host's name. */
  readonly hostname: string;
  readonly forwards: boolean;
  readonly bridgeCallsIptables: boolean;
  readonly socket: string;
  readonly stateFolder: string;
  readonly repairMs: number;
  /** Sockets of container runtimes: one that was named, `find` for the well-known ones that exist, `none` for not asking. */
  readonly runtimeEndpoint: RuntimeEndpoint;
  /** How often the runtime is asked for what it still has. */
  readonly garbageMs: number;
  /** The network of a container that is younger is never garbage. */
  readonly garbageAgeMs: number;
  /** Where metrics and health are served; undefined: nowhere. Port 0: a free one. */
  readonly metricsAddress: { readonly host: string; readonly port: number } | undefined;
  /** Path of the network namespace that counts as the host; "": that of the process. */
  readonly hostNetns: string;
  readonly verbosity: number;
  /** What is put onto the host; folders are "" where nothing is. */
  readonly install: {
    readonly programFolder: string;
    readonly configFolder: string;
    /** File whose text the runtime's configuration gets; "": the built-in one. */
    readonly configFile: string;
    /** Folder with the executables of the plugins; "": the one beside this program. */
    readonly source: string;
    /** Somebody else's files of the same names are put aside. */
    readonly takesOver: boolean;
  };
  /** Take away what was installed, and end. */
  readonly uninstalls: boolean;
  /** Whether this node answers for virtual addresses. */
  readonly answersForVips: boolean;
  /** Calico's annotation counts as a claim of virtual addresses. */
  readonly vipReadsCalico: boolean;
  /** For how long the kernel answers on when the daemon was asked to stop, for the next one; 0: others take over at once. */
  readonly vipRestartMs: number;
  /** A program that is called with `add ADDRESS` and `del ADDRESS` for addresses of pools of mode Route; "": none. */
  readonly vipRouteHook: string;
};

/** Where the container runtime is asked. */
export type RuntimeEndpoint =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "find" }
  | { readonly kind: "none" };

/** Outcome of reading the command line. */
export type NodeOptionsParse =
  | {
      readonly kind: "options";
      readonly options: NodeOptions;
      readonly warnings: readonly string[];
    }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

type Flag = { readonly initial: string; readonly help: string };

const table = {
  kubeconfig: {
    initial: "",
    help: "kubeconfig file; without it and --master the service account of the pod is used",
  },
  master: { initial: "", help: "URL of the API server; overrides the kubeconfig" },
  "json-config-path": { initial: "/etc/galaxy/galaxy.json", help: "the daemon's configuration" },
  "network-conf-dir": {
    initial: "/etc/cni/net.d/",
    help: "folder with CNI configurations of networks that the configuration does not have",
  },
  "cni-paths": {
    initial: "/opt/cni/galaxy/bin",
    help: "folders with plugins, with commas, after those that the runtime names",
  },
  "hostname-override": { initial: "", help: "name of this node, instead of $MY_NODE_NAME" },
  "ip-forward": { initial: "true", help: "keep net.ipv4.ip_forward at 1" },
  "bridge-nf-call-iptables": {
    initial: "true",
    help: "keep net.bridge.bridge-nf-call-iptables at 1, where the kernel has it",
  },
  socket: { initial: "/var/run/galaxy/galaxy.sock", help: "the unix socket for galaxy-sdn" },
  "state-dir": { initial: "/var/lib/cni/galaxy", help: "state of pods" },
  "repair-interval": {
    initial: "60",
    help: "seconds between looks for lost routes, neighbours and values; or a duration like 1m30s",
  },
  "container-runtime-endpoint": {
    initial: "",
    help: "CRI socket of the container runtime, which is asked for garbage; without it $CONTAINERD_HOST, else the well-known sockets that exist; none: do not ask",
  },
  "flannel-gc-interval": {
    initial: "60",
    help: "seconds between questions to the runtime (the Go daemon's name), or a duration like 10s",
  },
  "gc-min-age": {
    initial: "180",
    help: "seconds, or a duration, during which the network of a new container is never garbage: runtimes list a sandbox only when its network is there",
  },
  "metrics-address": {
    initial: "127.0.0.1:9042",
    help: "address and port of /metrics, /healthy, /livez and /readyz; none: do not serve them",
  },
  "host-netns": {
    initial: "",
    help: "path of the network namespace that counts as the host, for a daemon that runs in another one",
  },
  "install-bin-dir": {
    initial: "",
    help: "folder of the node that galaxy-sdn and the plugins are put into, usually /opt/cni/bin; nothing is without it",
  },
  "install-conf-dir": {
    initial: "",
    help: "folder of the node that 00-galaxy.conflist is put into as soon as the socket answers, usually /etc/cni/net.d",
  },
  "install-config": {
    initial: "",
    help: "file that 00-galaxy.conflist is copied from, instead of the built-in one",
  },
  "install-from": {
    initial: "",
    help: "folder with the executables of the plugins, instead of ../host beside this program",
  },
  "take-over": {
    initial: "false",
    help: "put somebody else's files of the same names aside, until --uninstall",
  },
  uninstall: { initial: "false", help: "take away what was installed, and end" },
  v: { initial: "0", help: "how much to log: 4 and above is everything" },
  vip: {
    initial: "true",
    help: "answer for virtual addresses that pods of this node hold; needs nft and perl",
  },
  "vip-calico-annotation": {
    initial: "true",
    help: "cni.projectcalico.org/floatingIPs of pods counts as a claim of virtual addresses",
  },
  "vip-restart-grace": {
    initial: "15",
    help: "seconds for which virtual addresses are answered for when the daemon is stopped, so that the next one goes on with them; 0: others take over at once",
  },
  "vip-route-hook": {
    initial: "",
    help: "program that is called with `add ADDRESS` and `del ADDRESS` for virtual addresses of pools of mode Route",
  },
} as const satisfies Readonly<Record<string, Flag>>;

const klogIgnored = "logs are JSON lines on standard error";

/** Flags of the Go daemon that have no effect here, and why; "" for what happens anyway. */
const ignored: Readonly<Record<string, { readonly isSwitch: boolean; readonly why: string }>> = {
  "route-eni": { isSwitch: true, why: "cloud network cards are not part of this daemon" },
  "network-policy": { isSwitch: true, why: "network policies are not part of this daemon" },
  pprof: { isSwitch: true, why: "run node with --cpu-prof or --inspect instead" },
  "flannel-allocated-ip-dir": {
    isSwitch: false,
    why: "IPAM plugins release their own addresses when garbage is deleted",
  },
  "gc-dirs": { isSwitch: false, why: "--state-dir is the only folder with state" },
  logtostderr: { isSwitch: true, why: klogIgnored },
  alsologtostderr: { isSwitch: true, why: klogIgnored },
  stderrthreshold: { isSwitch: false, why: klogIgnored },
  vmodule: { isSwitch: false, why: klogIgnored },
  log_backtrace_at: { isSwitch: false, why: klogIgnored },
  log_dir: { isSwitch: false, why: klogIgnored },
  log_file: { isSwitch: false, why: klogIgnored },
  log_file_max_size: { isSwitch: false, why: klogIgnored },
  skip_headers: { isSwitch: true, why: klogIgnored },
  skip_log_headers: { isSwitch: true, why: klogIgnored },
  add_dir_header: { isSwitch: true, why: klogIgnored },
  log_flush_frequency: { isSwitch: false, why: klogIgnored },
};

/** Values of flags without effect that ask for what happens anyway: no warning. */
const isQuiet = (name: string, value: string): boolean =>
  value === (name === "logtostderr" ? "true" : "false") && ignored[name]?.isSwitch === true;

type FlagName = keyof typeof table;

/** Reads the command line; `--flag=value`, `--flag value`, and switches without a value. */
export function parseNodeOptions(argv: readonly string[]): NodeOptionsParse {
  const given = new Map<string, string>();
  const problems: string[] = [];
  const warnings: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const [, name, written] = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(argv[index] ?? "") ?? [];
    if (name === undefined) {
      problems.push(`"${argv[index]}" is not a flag; galaxy takes flags only, see --help`);
      continue;
    }
    if (name === "help" || name === "h") return { kind: "help", text: helpText() };
    if (name === "version" && written !== "false") return { kind: "version" };
    const isKnown = Object.hasOwn(table, name);
    if (!isKnown && !Object.hasOwn(ignored, name)) {
      problems.push(`--${name} is no flag of galaxy; see --help`);
      continue;
    }
    let value = written;
    const isSwitch = isKnown
      ? ["true", "false"].includes(table[name as FlagName].initial)
      : (ignored[name]?.isSwitch ?? true);
    const next = argv[index + 1];
    if (value === undefined && isSwitch) value = "true";
    else if (value === undefined && next !== undefined) {
      index += 1;
      value = next;
    }
    if (value === undefined) problems.push(`--${name} needs a value`);
    else if (isKnown) given.set(name, value);
    else if (!isQuiet(name, value)) {
      warnings.push(`--${name} has no effect: ${ignored[name]?.why ?? "the Go daemon has it"}`);
    }
  }
  const text = (name: FlagName) => given.get(name) ?? table[name].initial;
  const flag = (name: FlagName) => {
    const value = text(name).toLowerCase();
    if (value !== "true" && value !== "false") {
      problems.push(`--${name}=${value}: write true or false`);
    }
    return value === "true";
  };
  const count = (name: FlagName, least: number) => {
    const value = Number(text(name));
    if (!Number.isFinite(value) || value < least) {
      problems.push(`--${name}=${text(name)}: write a number, at least ${least}`);
    }
    return value;
  };
  const durationMs = (name: FlagName, leastS: number): number => {
    const written = text(name);
    const ms = /^[0-9]*\.?[0-9]+$/.test(written)
      ? Number(written) * 1000
      : (parseDurationMs(written) ?? Number.NaN);
    // Timers of JavaScript end after 24 days.
    if (!(ms >= leastS * 1000 && ms < 2 ** 31)) {
      problems.push(
        `--${name}=${written}: write seconds or a duration like 1m30s, at least ${leastS} s`,
      );
    }
    return ms;
  };
  const address = (name: FlagName): NodeOptions["metricsAddress"] => {
    const written = text(name);
    if (written === "none" || written === "") return undefined;
    const [, host = "", port = ""] = /^\[?([^\]]*?)\]?:([0-9]{1,5})$/.exec(written) ?? [];
    if (port === "" || Number(port) > 65_535) {
      problems.push(`--${name}=${written}: write ADDRESS:PORT, or none`);
    }
    return { host: host === "" ? "0.0.0.0" : host, port: Number(port) };
  };
  const options: NodeOptions = {
    kubeconfig: text("kubeconfig"),
    master: text("master"),
    configPath: text("json-config-path"),
    networkConfFolder: text("network-conf-dir"),
    pluginFolders: text("cni-paths")
      .split(",")
      .filter((folder) => folder !== ""),
    hostname: text("hostname-override").trim().toLowerCase(),
    forwards: flag("ip-forward"),
    bridgeCallsIptables: flag("bridge-nf-call-iptables"),
    socket: text("socket"),
    stateFolder: text("state-dir"),
    repairMs: durationMs("repair-interval", 0.1),
    runtimeEndpoint: parseRuntimeEndpoint(text("container-runtime-endpoint"), problems),
    garbageMs: durationMs("flannel-gc-interval", 0.1),
    garbageAgeMs: durationMs("gc-min-age", 0),
    metricsAddress: address("metrics-address"),
    hostNetns: text("host-netns"),
    verbosity: count("v", 0),
    install: {
      programFolder: text("install-bin-dir"),
      configFolder: text("install-conf-dir"),
      configFile: text("install-config"),
      source: text("install-from"),
      takesOver: flag("take-over"),
    },
    uninstalls: flag("uninstall"),
    answersForVips: flag("vip"),
    vipReadsCalico: flag("vip-calico-annotation"),
    vipRestartMs: durationMs("vip-restart-grace", 0),
    vipRouteHook: text("vip-route-hook"),
  };
  return problems.length === 0
    ? { kind: "options", options, warnings }
    : { kind: "invalid", problems };
}

/**
 * Reads where a runtime is: a path, or the `unix://` form that the kubelet has. @param problems gets what is wrong with it
 */
export function parseRuntimeEndpoint(text: string, problems: string[]): RuntimeEndpoint {
  if (text === "") return { kind: "find" };
  if (text === "none") return { kind: "none" };
  const path = text.replace(/^unix:\/\//, "");
  if (!path.startsWith("/")) {
    problems.push(
      `--container-runtime-endpoint=${text}: write the path of a unix socket, such as unix:///run/containerd/containerd.sock`,
    );
  }
  return { kind: "socket", path };
}

function helpText(): string {
  const lines = Object.entries(table).map(([name, flag]: [string, Flag]) => {
    const initial = flag.initial === "" ? "" : ` (default ${flag.initial})`;
    return `  --${name}\n        ${flag.help}${initial}\n`;
  });
  return `Usage: galaxy [flags]\n\nThe node daemon of Galaxy Float IP.\n\n${lines.join("")}`;
}
