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
  /** An argument is a file; other arguments, as addresses, cannot be guessed. */
  readonly takesFile: boolean;
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
        summary: firstLine(child.description()),
      })),
      options: [...own, ...shared].filter((option) => !option.hidden).map(flagOf),
      values: command.registeredArguments[0]?.argChoices ?? [],
      takesFile: command.registeredArguments.some((argument) => argument.name() === "FILE"),
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
    summary: firstLine(option.description),
    takesValue: option.required || option.optional,
    isFile: /FILE/.test(option.flags),
    values: option.argChoices ?? [],
  };
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
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
  case "$path" in
    ${nodes
      .filter((node) => node.takesFile)
      .map(({ path }) => `"${path}"`)
      .join("|")}) if [[ "$current" != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); fi ;;
  esac
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
    // With "=", zsh takes the value of a long option from the same word, too.
    const long = flag.takesValue ? `${flag.long}=` : flag.long;
    return [long, ...(flag.short === undefined ? [] : [flag.short])].map(
      (text) => `'${text}[${zshText(flag.summary)}]${value}'`,
    );
  };
  const bodies = nodes.map((node) => {
    const specs = node.options.flatMap(spec);
    if (node.children.length === 0) {
      const rest =
        node.values.length > 0
          ? `'1:value:(${node.values.join(" ")})'`
          : node.takesFile
            ? "'*:file:_files'"
            : "'*:argument: '";
      return `${functionOf(node.path)}() {\n  _arguments -s ${[...specs, rest].join(" \\\n    ")}\n}`;
    }
    return `${functionOf(node.path)}() {
  local line state
  local -a commands
  commands=(${node.children.map((child) => `'${child.name}:${zshText(child.summary)}'`).join(" ")})
  _arguments -s -C -A '-*' ${[...specs, "'1:command:->command'", "'*::argument:->argument'"].join(" \\\n    ")}
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

if [ "$funcstack[1]" = "_${name}" ]; then ${functionOf("")} "$@"; else compdef ${functionOf("")} ${name}; fi
`;
}

/** Text of a description inside a single-quoted specification of zsh's _arguments or _describe. */
function zshText(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&").replaceAll("'", "'\\''");
}

function fishScript(name: string, nodes: readonly Node[]): string {
  const root = nodes[0] as Node;
  const reached = `__${name.replaceAll("-", "_")}_reached`;
  const valued = new Set(
    nodes.flatMap(({ options }) =>
      options
        .filter((flag) => flag.takesValue)
        .flatMap(({ long, short }) => (short === undefined ? [long] : [long, short])),
    ),
  );
  const lines = [
    `# fish completion for ${name}; load it with: ${name} completion fish | source`,
    `function ${reached} -d 'Whether the words so far lead to exactly this command'
  set -l path
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch $word
      case ${[...valued].join(" ")}
        set skip 1
      case '-*'
      case '*'
        set -l next $path $word
        if contains -- "$next" ${nodes
          .filter(({ path }) => path !== "")
          .map(({ path }) => `'${path}'`)
          .join(" ")}
          set path $next
        end
    end
  end
  test "$path" = "$argv[1]"
end`,
    `complete -c ${name} -f`,
    ...root.options.map((flag) => `complete -c ${name} ${fishFlag(flag)}`),
  ];
  for (const node of nodes) {
    const when = `complete -c ${name} -n '${reached} "${node.path}"'`;
    for (const { name: child, summary } of node.children) {
      lines.push(`${when} -a ${child} -d '${fishText(summary)}'`);
    }
    if (node.values.length > 0) lines.push(`${when} -a '${node.values.join(" ")}'`);
    if (node === root) continue;
    for (const flag of node.options.filter(
      ({ long }) => !root.options.some((o) => o.long === long),
    )) {
      lines.push(`${when} ${fishFlag(flag)}`);
    }
    if (node.takesFile) lines.push(`${when} -F`);
  }
  return `${lines.join("\n")}\n`;
}

function fishFlag(flag: Flag): string {
  return [
    `-l ${flag.long.replace(/^--/, "")}`,
    flag.short === undefined ? "" : `-s ${flag.short.slice(1)}`,
    // -x: a value and no files.
    flag.takesValue ? (flag.isFile ? "-r -F" : "-x") : "",
    flag.values.length > 0 ? `-a '${flag.values.join(" ")}'` : "",
    `-d '${fishText(flag.summary)}'`,
  ]
    .filter((part) => part !== "")
    .join(" ");
}

/** Text between single quotes of fish. */
function fishText(text: string): string {
  return text.replace(/['\\]/g, "\\$&");
}
