// The command line of galaxyctl: every command, argument and option with its help. What a command does is in a file of its own, which is
// loaded only when the command runs.

import { Argument, Command, InvalidArgumentError, Option } from "commander";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import type { IpListOptions } from "./ip-list.ts";
import { outputFormats } from "./output.ts";
import type { PoolFlags } from "./pool.ts";

/** Runs the action of a command in its surroundings. */
export type RunAction = (
  command: Command,
  action: (context: CommandContext) => Promise<ExitCode>,
) => Promise<void>;

/** States that addresses can be listed by. */
const states = ["free", "bound", "reserved", "admin", "draining"] as const;
const sortFields = ["ip", "namespace", "podname", "policy"] as const;
const shells = ["bash", "zsh", "fish"] as const;
const importFormats = ["auto", "csv", "objects"] as const;

/** The whole command line. Nothing runs until it is parsed. */
export function createProgram(options: {
  readonly name: string;
  readonly version: string;
  readonly run: RunAction;
}): Command {
  const { run } = options;
  const program = new Command(options.name)
    // Commands below inherit it: what is wrong is thrown, and the program chooses the exit code.
    .exitOverride()
    .description("Float IPs of a Kubernetes cluster: who has which, why, and what to do about it")
    .version(`${options.name} ${options.version}`, "--version", "show the version")
    .helpOption("-h, --help", "show help")
    .showHelpAfterError(`(${options.name} --help shows what there is)`)
    .configureHelp({ showGlobalOptions: true })
    .option("-s, --server <url>", "address of galaxy-ipam's API; else GALAXY_SERVER")
    .option("--token <token>", "bearer token; else GALAXY_TOKEN")
    .option("--token-file <FILE>", "file with the bearer token")
    .option(
      "--certificate-authority <FILE>",
      "certificates (PEM) that the server's is checked with",
    )
    .option("--client-certificate <FILE>", "certificate (PEM) of yours, in place of a token")
    .option("--client-key <FILE>", "its private key (PEM)")
    .option("--kubeconfig <FILE>", "kubeconfig to find galaxy-ipam through; else KUBECONFIG")
    .option("--context <name>", "context of the kubeconfig")
    .option(
      "--service <service>",
      "service of galaxy-ipam behind the API server, NAMESPACE/SCHEME:NAME:PORT",
      "kube-system/https:galaxy-ipam:9041",
    )
    .option("--request-timeout <seconds>", "how long to wait for an answer", positive, 30)
    .option("-n, --namespace <namespace>", "only what belongs to this namespace")
    .addOption(
      new Option("-o, --output <format>", "table, wide (never cut), json or yaml")
        .choices(outputFormats)
        .default("table"),
    )
    .option("--no-color", "no colours on a terminal; so does NO_COLOR");

  addIpCommands(program, run);
  addPoolCommands(program, run);
  addQuotaCommands(program, run);

  const subnet = program.command("subnet").description("pod subnets");
  subnet
    .command("list")
    .description("how full each pod subnet is")
    .option("-w, --watch", "show it again whenever something changes")
    .action((flags: { watch?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import("./subnet-list.ts")).subnetList(context, flags),
      ),
    );
  const vip = program.command("vip").description("shared virtual IPs");
  vip
    .command("list")
    .description("virtual IPs and the pods that answer for them")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await import("./vip-list.ts")).vipList(context)),
    );
  const explain = program.command("explain").description("why something is as it is");
  explain
    .command("pod")
    .description("why a pod has or does not get an address, and what to do")
    .argument("<pod>", "NAMESPACE/NAME, or NAME with -n")
    .action((pod: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await import("./explain-pod.ts")).explain(context, pod)),
    );
  explain
    .command("vip")
    .description("who holds a virtual IP, why, and why the others do not")
    .argument("<ip>", "IPv4 or IPv6 address")
    .action((ip: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await import("./vip-list.ts")).explainVip(context, ip)),
    );
  const config = program.command("config").description("the address configuration");
  config
    .command("check")
    .description("judge a configuration as galaxy-ipam will, without a server")
    .argument(
      "<FILE>",
      "ConfigMap (YAML or JSON), galaxy-ipam.json, or the list alone; - is standard input",
    )
    .option("--key <key>", "key of the configuration in the ConfigMap", "floatingips")
    .option("--strict", "warnings count as problems")
    .action((file: string, flags: { key: string; strict?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import("./config-check.ts")).configCheck(context, file, flags),
      ),
    );
  program
    .command("history")
    .description("who held an address when, the latest first")
    .option("--ip <ip>", "of this address")
    .option("--pod <name>", "of pods of this name")
    .option("--app <name>", "of workloads of this name")
    .option("--app-type <type>", "of workloads of this type")
    .option("--at <time>", "who held it at this time, like 2026-11-21T08:30:00Z")
    .option("--from <time>", "not what ended before")
    .option("--until <time>", "not what began after")
    .option("--limit <count>", "at most so many periods", positive, 100)
    .action((flags: Record<string, string> & { limit: number }, command: Command) =>
      run(command, async (context) => (await import("./history.ts")).history(context, flags)),
    );
  program
    .command("check")
    .description("compare records, pods, annotations and configuration")
    .option("--repair", "show what would be repaired, ask, and repair it")
    .option("--dry-run", "with --repair: show it and stop")
    .option("-y, --yes", "repair without asking")
    .action((flags: { repair?: boolean; dryRun?: boolean; yes?: boolean }, command: Command) =>
      run(command, async (context) => (await import("./check.ts")).check(context, flags)),
    );
  program
    .command("status")
    .description("the replica that answers, its configuration and its figures")
    .option("-w, --watch", "show it again whenever something changes")
    .action((flags: { watch?: boolean }, command: Command) =>
      run(command, async (context) => (await import("./status.ts")).status(context, flags)),
    );
  program
    .command("import")
    .description("enter addresses that are in use already, each line all or nothing")
    .argument(
      "<FILE>",
      "pods, whereabouts or Spiderpool objects (YAML or JSON), or CSV; - is standard input",
    )
    .addOption(
      new Option("--format <format>", "what the file holds").choices(importFormats).default("auto"),
    )
    .option("--dry-run", "let the server judge each line and enter nothing")
    .option("-y, --yes", "enter without asking")
    .action(
      (
        file: string,
        flags: { format: (typeof importFormats)[number]; dryRun?: boolean; yes?: boolean },
        command: Command,
      ) =>
        run(command, async (context) =>
          (await import("./import-addresses.ts")).importAddresses(context, file, flags),
        ),
    );
  addBackupCommands(program, run);
  addSimulationCommands(program, run);
  program
    .command("completion")
    .description("print the completion script of a shell")
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(shells))
    .action((shell: (typeof shells)[number], _flags: unknown, command: Command) =>
      run(command, async (context) =>
        (await import("./completion.ts")).completion(context, program, shell),
      ),
    );
  return program;
}

function addBackupCommands(program: Command, run: RunAction): void {
  program
    .command("backup")
    .description("write everything that galaxy keeps to one file")
    .argument("<FILE>", "file to write; - is standard output")
    .option("--objects <FILE>", "not from the server, but of what kubectl get -o json printed")
    .option("--overwrite", "replace the file if it is there")
    .action((file: string, flags: { objects?: string; overwrite?: boolean }, command: Command) =>
      run(command, async (context) => (await import("./backup.ts")).backup(context, file, flags)),
    );
  program
    .command("restore")
    .description("enter what a backup has and the server lacks; what is there stays")
    .argument("<FILE>", "file that backup wrote; - is standard input")
    .option("--dry-run", "let the server judge each and change nothing")
    .option("-y, --yes", "restore without asking")
    .option("--manifests", "print ConfigMap and VIPPools of the backup for kubectl apply, and stop")
    .option("--configuration", "print the configuration alone, and stop")
    .action(
      (
        file: string,
        flags: { dryRun?: boolean; yes?: boolean; manifests?: boolean; configuration?: boolean },
        command: Command,
      ) =>
        run(command, async (context) =>
          (await import("./restore.ts")).restore(context, file, flags),
        ),
    );
}

function addIpCommands(program: Command, run: RunAction): void {
  const ip = program.command("ip").description("addresses");
  withFilters(ip.command("list").description("addresses with their owners"))
    .option("--sort <order>", `${sortFields.join(", ")}, with "desc" after it for descending`)
    .option("--limit <count>", "at most so many; a table shows 500 unless told otherwise", positive)
    .option("-a, --all", "all of them, in a table too")
    .option("-w, --watch", "then a line for each change, until interrupted")
    .action((flags: IpListOptions, command: Command) =>
      run(command, async (context) => (await import("./ip-list.ts")).ipList(context, flags)),
    );
  ip.command("get")
    .description("one address: its state and why it is so")
    .argument("<ip>", "IPv4 or IPv6 address")
    .action((address: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await import("./ip-get.ts")).ipGet(context, address)),
    );
  ip.command("idle")
    .description("reserved addresses that no pod uses, and when they are released")
    .option("--pool <name>", "of this pool")
    .option("--longer-than <duration>", "for at least so long, like 24h")
    .option("--limit <count>", "at most so many", positive)
    .action((flags: { pool?: string; longerThan?: string; limit?: number }, command: Command) =>
      run(command, async (context) => (await import("./ip-idle.ts")).ipIdle(context, flags)),
    );
  withFilters(
    ip
      .command("release")
      .description("release addresses that no running pod has")
      .argument("[ip...]", "addresses or ranges A~B; else a filter chooses"),
  )
    .option("-f, --file <FILE>", "file with addresses and ranges; - is standard input")
    .option("--dry-run", "let the server judge each and release nothing")
    .option("-y, --yes", "release without asking")
    .action((words: string[], flags: Record<string, never>, command: Command) =>
      run(command, async (context) =>
        (await import("./ip-release.ts")).ipRelease(context, words, flags),
      ),
    );
  ip.command("reserve")
    .description("take addresses out of allocation")
    .argument("<ip...>", "addresses or ranges A~B")
    .option("--reason <text>", "why; stands in the record")
    .option("--dry-run", "say what would happen and change nothing")
    .action((words: string[], flags: { reason?: string; dryRun?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import("./ip-reserve.ts")).ipReserve(context, words, flags),
      ),
    );
  ip.command("unreserve")
    .description("give reserved addresses back to allocation")
    .argument("<ip...>", "addresses or ranges A~B")
    .option("--dry-run", "say what would happen and change nothing")
    .action((words: string[], flags: { dryRun?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import("./ip-reserve.ts")).ipUnreserve(context, words, flags),
      ),
    );
}

function withFilters(command: Command): Command {
  return command
    .option("--app <name>", "of workloads of this name")
    .option("--app-type <type>", "of workloads of this type: deployment, statefulset, tapp")
    .option("--pod <name>", "of pods of this name")
    .option("--pool <name>", "of this pool")
    .option("--keyword <text>", "with this text anywhere in the owner's key")
    .addOption(new Option("--state <state>", "in this state").choices(states))
    .option("--subnet <cidr>", "inside this block");
}

const reserveTtlHelp =
  "how long an address of it may be reserved without a pod, like 168h, or never";

function addPoolCommands(program: Command, run: RunAction): void {
  const pool = program.command("pool").description("named groups of addresses");
  pool
    .command("list")
    .description("pools with size and use")
    .option("-w, --watch", "show it again whenever something changes")
    .action((flags: { watch?: boolean }, command: Command) =>
      run(command, async (context) => (await import("./pool.ts")).poolList(context, flags)),
    );
  pool
    .command("create")
    .description("create a pool, or set size and pre-allocation of one that is there")
    .argument("<name>", "name of the pool")
    .option("--size <count>", "most addresses that it may have", natural)
    .option("--pre-allocate", "take as many addresses now")
    .option("--reserve-ttl <duration>", reserveTtlHelp)
    .option("--dry-run", "say what would happen and change nothing")
    .action((name: string, flags: PoolFlags, command: Command) =>
      run(command, async (context) => (await import("./pool.ts")).poolCreate(context, name, flags)),
    );
  pool
    .command("update")
    .description("change what is named of a pool that is there; the rest stays")
    .argument("<name>", "name of the pool")
    .option(
      "--size <count>",
      "most addresses that it may have; none: it grows with its workloads",
      naturalOrNone,
    )
    .option("--pre-allocate", "take as many addresses now")
    .option("--no-pre-allocate", "take addresses only when pods need them")
    .option("--reserve-ttl <duration>", `${reserveTtlHelp}; none removes it`)
    .option("--dry-run", "say what would happen and change nothing")
    .action((name: string, flags: PoolFlags, command: Command) =>
      run(command, async (context) => (await import("./pool.ts")).poolUpdate(context, name, flags)),
    );
  pool
    .command("delete")
    .description("delete a pool; its addresses stay")
    .argument("<name>", "name of the pool")
    .option("--release", "release its addresses that no pod has, too")
    .option("--dry-run", "say what would happen and change nothing")
    .option("-y, --yes", "delete without asking")
    .action(
      (
        name: string,
        flags: { release?: boolean; dryRun?: boolean; yes?: boolean },
        command: Command,
      ) =>
        run(command, async (context) =>
          (await import("./pool.ts")).poolDelete(context, name, flags),
        ),
    );
}

function addQuotaCommands(program: Command, run: RunAction): void {
  const quota = program.command("quota").description("how many addresses namespaces may have");
  quota
    .command("list")
    .description("namespaces under a quota, with what they have")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await import("./quota.ts")).quotaList(context)),
    );
  quota
    .command("set")
    .description("create a quota or change it; nothing is taken from who has more")
    .argument("<name>", "name of the quota")
    .requiredOption("--limit <count>", "most addresses of one namespace", natural)
    .option(
      "--for <namespace...>",
      "namespaces with this limit, each for itself; else those that it has, of a new one all",
    )
    .option("--for-all", "every namespace that no other quota names")
    .action(
      (
        name: string,
        flags: { limit: number; for?: string[]; forAll?: boolean },
        command: Command,
      ) =>
        run(command, async (context) =>
          (await import("./quota.ts")).quotaSet(context, name, flags),
        ),
    );
  quota
    .command("delete")
    .description("delete a quota")
    .argument("<name>", "name of the quota")
    .option("-y, --yes", "delete without asking")
    .action((name: string, flags: { yes?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import("./quota.ts")).quotaDelete(context, name, flags),
      ),
    );
}

function addSimulationCommands(program: Command, run: RunAction): void {
  const sim = program
    .command("sim")
    .description("the simulated cluster of a galaxy-ipam that runs without a real one");
  const load = () => import("./simulation.ts");
  sim
    .command("status")
    .description("where it is kept and how large it is")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simStatus(context)),
    );

  const workload = sim.command("workload").description("workloads");
  workload
    .command("list")
    .description("workloads with their pods")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simWorkloadList(context)),
    );
  workload
    .command("create")
    .description("create a workload whose pods want an address")
    .argument("<workload>", "KIND/NAME: deployment, statefulset, replicaset, job, tapp, …")
    .option("--replicas <count>", "wanted pods", natural)
    .addOption(
      new Option("--policy <policy>", "release policy").choices([
        "pod-delete",
        "immutable",
        "never",
      ]),
    )
    .option("--pool <name>", "pool that the pods share")
    .option(
      "--range <ranges>",
      "one address out of these ranges, A~B,C; once more for a second address",
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option(
      "--surge-ips <count>",
      "of a deployment: addresses beside one for each replica, for roll-outs",
      natural,
    )
    .option("--reserve-ttl <time>", "so long an address may be reserved without a pod: 168h, never")
    .option(
      "--virtual-ip <address>",
      "virtual IP that its pods claim; once more for a second one",
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option("--no-address", "its pods want no address")
    .action((name: string, flags: { address: boolean }, command: Command) =>
      run(command, async (context) => (await load()).simWorkloadCreate(context, name, flags)),
    );
  workload
    .command("scale")
    .description("change the number of replicas")
    .argument("<workload>", "KIND/NAME")
    .argument("<replicas>", "wanted pods", natural)
    .action((name: string, replicas: number, _flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simWorkloadScale(context, name, replicas)),
    );
  workload
    .command("roll")
    .description("replace all pods, as a change of the image does")
    .argument("<workload>", "KIND/NAME")
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simWorkloadRoll(context, name)),
    );
  workload
    .command("delete")
    .description("delete a workload; its pods follow")
    .argument("<workload>", "KIND/NAME")
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simWorkloadDelete(context, name)),
    );

  const pod = sim.command("pod").description("pods");
  pod
    .command("list")
    .description("pods, where they run, and why they wait")
    .option("--workload <name>", "of workloads of this name")
    .option("--node <name>", "on this node")
    .action((flags: { workload?: string; node?: string }, command: Command) =>
      run(command, async (context) => (await load()).simPodList(context, flags)),
    );
  pod
    .command("delete")
    .description("delete a pod, as kubectl delete pod does")
    .argument("<pod>", "NAMESPACE/NAME, or NAME with -n")
    .option("--force", "its object goes at once, whatever its node does")
    .action((name: string, flags: { force?: boolean }, command: Command) =>
      run(command, async (context) => (await load()).simPodDelete(context, name, flags)),
    );

  const node = sim.command("node").description("nodes");
  node
    .command("list")
    .description("nodes and their addresses")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simNodeList(context)),
    );
  node
    .command("add")
    .description("add a node")
    .argument("<name>", "name of the node")
    .argument("<ip...>", "internal addresses; they decide which pod subnets it may use")
    .action((name: string, ips: string[], _flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simNodeAdd(context, name, ips)),
    );
  for (const [word, description] of [
    ["kill", "switch a node off; its pods are replaced after a while"],
    ["recover", "switch a node on again"],
  ] as const) {
    node
      .command(word)
      .description(description)
      .argument("<name>", "name of the node")
      .action((name: string, _flags: unknown, command: Command) =>
        run(command, async (context) => (await load()).simNodeSwitch(context, name, word)),
      );
  }
  node
    .command("delete")
    .description("remove a node; its pods fail and are replaced elsewhere")
    .argument("<name>", "name of the node")
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simNodeDelete(context, name)),
    );
  sim
    .command("event")
    .description("events")
    .command("list")
    .description("events that galaxy-ipam wrote")
    .action((_flags: unknown, command: Command) =>
      run(command, async (context) => (await load()).simEventList(context)),
    );
}

function natural(text: string): number {
  return wholeNumber(text, 0);
}

function naturalOrNone(text: string): number | "none" {
  return text === "none" ? text : wholeNumber(text, 0, ", or none");
}

function positive(text: string): number {
  return wholeNumber(text, 1);
}

function wholeNumber(text: string, least: number, otherwise = ""): number {
  if (!/^[0-9]{1,10}$/.test(text) || Number(text) < least) {
    throw new InvalidArgumentError(`It must be a whole number from ${least} on${otherwise}.`);
  }
  return Number(text);
}
