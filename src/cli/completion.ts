// `galaxyctl completion`: scripts for bash, zsh and fish, written from the commands themselves, so that no list of them can grow stale.

import type { Command, Option } from "commander";
import type { CommandContext } from "./command-context.ts";
import type { ExitCode } from "./command-problem.ts";
import { exitCodes } from "./command-problem.ts";

/** Shells with a script. */
export const shells = ["bash", "zsh", "fish"] as const;

/** One of {@link shells}. */
export type Shell = (typeof shells)[number];

/** A command as completion sees it. */
type Node = {
  /** Words after the program's name: `ip list`. */
  readonly path: string;
  readonly children: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly Flag[];
  /** Values of the first argument, where there is a fixed set. */
  readonly values: readonly string[];
};

type Flag = {
  readonly long: string;
  readonly short: string | undefined;
  readonly summary: string;
  readonly takesValue: boolean;
  readonly isFile: boolean;
  readonly values: readonly string[];
};

/** Prints the script of a shell. */
export async function completion(
  context: CommandContext,
  root: Command,
  shell: Shell,
): Promise<ExitCode> {
  await context.terminal.write(completionScript(root, shell));
  return exitCodes.done;
}

/** The script for `root` and everything below it. */
export function completionScript(root: Command, shell: Shell): string {
  const nodes = nodesOf(root, []);
  switch (shell) {
    case "bash":
      return bashScript(root.name(), nodes);
    case "zsh":
      return zshScript(root.name(), nodes);
    case "fish":
      return fishScript(root.name(), nodes);
    default:
      return shell satisfies never;
  }
}

function nodesOf(command: Command, path: readonly string[]): Node[] {
  const shared = rootOf(command).options;
  const own = command.parent === null ? [] : command.options;
  const children = command.commands.filter((child) => child.name() !== "help");
  return [
    {
      path: path.join(" "),
      children: children.map((child) => ({
        name: child.name(),
        summary: plain(child.description()),
      })),
      options: [...own, ...shared].filter((option) => !option.hidden).map(flagOf),
      values: command.registeredArguments[0]?.argChoices ?? [],
    },
    ...children.flatMap((child) => nodesOf(child, [...path, child.name()])),
  ];
}

function rootOf(command: Command): Command {
  let root = command;
  while (root.parent !== null) root = root.parent;
  return root;
}

function flagOf(option: Option): Flag {
  return {
    long: option.long ?? "",
    short: option.short,
    summary: plain(option.description),
    takesValue: option.required || option.optional,
    isFile: /FILE/.test(option.flags),
    values: option.argChoices ?? [],
  };
}

/** Text that every shell takes between single quotes. */
function plain(text: string): string {
  return text.replace(/['"`$\\[\]:]/g, " ").split("\n")[0] ?? "";
}

function bashScript(name: string, nodes: readonly Node[]): string {
  const words = ({ children, options, values }: Node) =>
    [
      ...children.map((child) => child.name),
      ...values,
      ...options.flatMap(({ long, short }) => (short === undefined ? [long] : [long, short])),
    ].join(" ");
  const flags = [
    ...new Map(nodes.flatMap((node) => node.options).map((flag) => [flag.long, flag])).values(),
  ];
  const patternOf = ({ long, short }: Flag) => (short === undefined ? long : `${long}|${short}`);
  const valued = flags.filter((flag) => flag.takesValue);
  return `# bash completion for ${name}; load it with: source <(${name} completion bash)
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word index skip=0
  COMPREPLY=()
  case "$previous" in
${valued
  .filter((flag) => flag.values.length > 0)
  .map(
    (flag) =>
      `    ${patternOf(flag)}) COMPREPLY=($(compgen -W "${flag.values.join(" ")}" -- "$current")); return ;;\n`,
  )
  .join("")}${valued
  .filter((flag) => flag.isFile)
  .map((flag) => `    ${patternOf(flag)}) COMPREPLY=($(compgen -f -- "$current")); return ;;\n`)
  .join("")}    ${valued
    .filter((flag) => flag.values.length === 0 && !flag.isFile)
    .map(patternOf)
    .join("|")}) return ;;
  esac
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if ((skip)); then skip=0; continue; fi
    case "$word" in
      ${valued.map(patternOf).join("|")}) skip=1; continue ;;
      -*) continue ;;
    esac
    case "\${path:+$path }$word" in
      ${nodes
        .filter(({ path }) => path !== "")
        .map(({ path }) => `"${path}"`)
        .join("|")}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${nodes
  .map((node) => `    "${node.path}") COMPREPLY=($(compgen -W "${words(node)}" -- "$current")) ;;`)
  .join("\n")}
  esac
  # A command that takes a file, or an address that cannot be guessed.
  if [[ \${#COMPREPLY[@]} -eq 0 && "$current" != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _${name} ${name}
`;
}

function zshScript(name: string, nodes: readonly Node[]): string {
  const functionOf = (path: string) =>
    `_${name}${path === "" ? "" : `_${path}`}`.replace(/[ -]/g, "_");
  const spec = (flag: Flag): string[] => {
    const value = !flag.takesValue
      ? ""
      : flag.values.length > 0
        ? `:value:(${flag.values.join(" ")})`
        : flag.isFile
          ? ":file:_files"
          : ":value: ";
    return [flag.long, ...(flag.short === undefined ? [] : [flag.short])].map(
      (text) => `'${text}[${flag.summary}]${value}'`,
    );
  };
  const bodies = nodes.map((node) => {
    const specs = node.options.flatMap(spec);
    if (node.children.length === 0) {
      const rest =
        node.values.length > 0 ? `'1:value:(${node.values.join(" ")})'` : "'*:value:_files'";
      return `${functionOf(node.path)}() {\n  _arguments -s ${[...specs, rest].join(" \\\n    ")}\n}`;
    }
    return `${functionOf(node.path)}() {
  local line state
  local -a commands
  commands=(${node.children.map((child) => `'${child.name}:${child.summary}'`).join(" ")})
  _arguments -s -C ${[...specs, "'1:command:->command'", "'*::argument:->argument'"].join(" \\\n    ")}
  case "$state" in
    command) _describe command commands ;;
    argument)
      case "$line[1]" in
${node.children
  .map(
    (child) =>
      `        ${child.name}) ${functionOf(node.path === "" ? child.name : `${node.path} ${child.name}`)} ;;`,
  )
  .join("\n")}
      esac ;;
  esac
}`;
  });
  return `#compdef ${name}
# zsh completion for ${name}; load it with: source <(${name} completion zsh)
${bodies.join("\n\n")}

if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fishScript(name: string, nodes: readonly Node[]): string {
  const root = nodes[0] as Node;
  const lines = [
    `# fish completion for ${name}; load it with: ${name} completion fish | source`,
    `complete -c ${name} -f`,
    ...root.options.map((flag) => `complete -c ${name} ${fishFlag(flag)}`),
  ];
  for (const node of nodes) {
    const condition = fishCondition(node, nodes);
    for (const { name: child, summary } of node.children) {
      lines.push(`complete -c ${name} -n '${condition}' -a ${child} -d '${summary}'`);
    }
    if (node.values.length > 0) {
      lines.push(`complete -c ${name} -n '${condition}' -a '${node.values.join(" ")}'`);
    }
    if (node === root) continue;
    for (const flag of node.options.filter(
      ({ long }) => !root.options.some((o) => o.long === long),
    )) {
      lines.push(`complete -c ${name} -n '${condition}' ${fishFlag(flag)}`);
    }
    if (node.children.length === 0) lines.push(`complete -c ${name} -n '${condition}' -F`);
  }
  return `${lines.join("\n")}\n`;
}

function fishFlag(flag: Flag): string {
  return [
    `-l ${flag.long.replace(/^--/, "")}`,
    flag.short === undefined ? "" : `-s ${flag.short.slice(1)}`,
    flag.takesValue ? "-r" : "",
    flag.values.length > 0 ? `-a '${flag.values.join(" ")}'` : "",
    flag.isFile ? "-F" : "",
    `-d '${flag.summary}'`,
  ]
    .filter((part) => part !== "")
    .join(" ");
}

/** When the words so far are exactly this command. */
function fishCondition(node: Node, nodes: readonly Node[]): string {
  if (node.path === "") return "__fish_use_subcommand";
  const seen = node.path.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`);
  const children = nodes.find(({ path }) => path === node.path)?.children ?? [];
  const below = children.map(({ name }) => name).join(" ");
  return [...seen, ...(below === "" ? [] : [`not __fish_seen_subcommand_from ${below}`])].join(
    "; and ",
  );
}
