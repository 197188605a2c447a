// The command line of the daemon galaxy: the Go daemon's flags with their defaults, and ours. Text in, options and problems out.

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
  /** Path of the network namespace that counts as the host; "": that of the process. */
  readonly hostNetns: string;
  readonly verbosity: number;
};

/** Outcome of reading the command line. */
export type NodeOptionsParse =
  | {
      readonly kind: "options";
      readonly options: NodeOptions;
      readonly warnings: readonly string[];
    }
  | { readonly kind: "help"; readonly text: string }
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
    help: "seconds between looks for lost routes, neighbours and values",
  },
  "host-netns": {
    initial: "",
    help: "path of the network namespace that counts as the host, for a daemon that runs in another one",
  },
  v: { initial: "0", help: "how much to log: 4 and above is everything" },
} as const satisfies Readonly<Record<string, Flag>>;

/** Flags of the Go daemon that have no effect here, and why. */
const ignored: Readonly<Record<string, string>> = {
  "route-eni": "cloud network cards are not part of this daemon",
  "network-policy": "network policies are not part of this daemon",
  pprof: "run node with --cpu-prof or --inspect instead",
  "flannel-gc-interval": "garbage is collected when the runtime asks for it (CNI GC)",
  "flannel-allocated-ip-dir": "IPAM plugins release their own addresses",
  "gc-dirs": "--state-dir is the only folder with state",
  logtostderr: "logs are JSON lines on standard error",
};

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
    const isKnown = Object.hasOwn(table, name);
    if (!isKnown && !Object.hasOwn(ignored, name)) {
      problems.push(`--${name} is no flag of galaxy; see --help`);
      continue;
    }
    let value = written;
    const isSwitch = !isKnown || ["true", "false"].includes(table[name as FlagName].initial);
    const next = argv[index + 1];
    if (value === undefined && isSwitch) value = "true";
    else if (value === undefined && next !== undefined) {
      index += 1;
      value = next;
    }
    if (value === undefined) problems.push(`--${name} needs a value`);
    else if (isKnown) given.set(name, value);
    else warnings.push(`--${name} has no effect: ${ignored[name]}`);
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
    repairMs: count("repair-interval", 0.1) * 1000,
    hostNetns: text("host-netns"),
    verbosity: count("v", 0),
  };
  return problems.length === 0
    ? { kind: "options", options, warnings }
    : { kind: "invalid", problems };
}

function helpText(): string {
  const lines = Object.entries(table).map(([name, flag]: [string, Flag]) => {
    const initial = flag.initial === "" ? "" : ` (default ${flag.initial})`;
    return `  --${name}\n        ${flag.help}${initial}\n`;
  });
  return `Usage: galaxy [flags]\n\nThe node daemon of Galaxy Float IP.\n\n${lines.join("")}`;
}
