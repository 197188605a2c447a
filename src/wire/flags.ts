// Reads command lines of programs in the style of Go's flags: --name=value, --name value, and switches without a value. What the flags
// mean is the program's.

/** A flag: what holds without it, and one line of help. A flag whose initial value is true or false is a switch. */
export type FlagTable = Readonly<
  Record<string, { readonly initial: string; readonly help: string }>
>;

/** What the command line says, every flag with a value. */
export type FlagsParse<Table extends FlagTable> =
  | { readonly kind: "flags"; readonly values: Readonly<Record<keyof Table, string>> }
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

/** Reads the arguments after the program's name. */
export function parseFlags<Table extends FlagTable>(
  program: string,
  table: Table,
  argv: readonly string[],
): FlagsParse<Table> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const [name, { initial }] of Object.entries(table)) values[name] = initial;
  for (let index = 0; index < argv.length; index += 1) {
    const [, name, written] = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(argv[index] ?? "") ?? [];
    if (name === undefined) {
      problems.push(`"${argv[index]}" is not a flag; ${program} takes flags only, see --help`);
      continue;
    }
    if (name === "help" || name === "h") return { kind: "help" };
    if (name === "version" && written !== "false") return { kind: "version" };
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (flag === undefined) {
      problems.push(`--${name} is no flag of ${program}; see --help`);
      continue;
    }
    const isSwitch = flag.initial === "true" || flag.initial === "false";
    if (written !== undefined) values[name] = written;
    else if (isSwitch) values[name] = "true";
    else {
      index += 1;
      const next = argv[index];
      if (next === undefined) problems.push(`--${name} needs a value`);
      else values[name] = next;
    }
  }
  return problems.length > 0
    ? { kind: "invalid", problems }
    : { kind: "flags", values: values as Record<keyof Table, string> };
}

/** The text of --help. */
export function formatFlags(program: string, about: string, table: FlagTable): string {
  const lines = Object.entries(table).map(([name, { initial, help }]) => {
    const without = initial === "" ? "" : ` (default ${initial})`;
    return `  --${name}\n        ${help}${without}\n`;
  });
  return `Usage: ${program} [flags]\n\n${about}\n\n${lines.join("")}`;
}
