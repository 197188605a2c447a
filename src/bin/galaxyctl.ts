// galaxyctl, also kubectl-galaxy: the command line of the HTTP API. Puts terminal, command line and exit code together; the commands are
// in src/cli.

import { basename } from "node:path";
import { CommanderError } from "commander";
import manifest from "../../package.json" with { type: "json" };
import type { SharedOptions } from "../cli/command-context.ts";
import { CommandContext } from "../cli/command-context.ts";
import { CommandProblem, exitCodes, messageOf } from "../cli/command-problem.ts";
import { createProgram } from "../cli/program.ts";
import { terminalOf } from "../cli/terminal.ts";

async function main(argv: readonly string[]): Promise<void> {
  const { env } = process;
  // Who reads the output may stop reading (head, less): that is no failure, and there is nobody left to tell.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.done);
    throw error;
  });
  const name = basename(argv[1] ?? "") === "kubectl-galaxy" ? "kubectl-galaxy" : "galaxyctl";
  const program = createProgram({
    name,
    version: manifest.version,
    run: async (command, action) => {
      const options = command.optsWithGlobals<SharedOptions>();
      const terminal = terminalOf(process, env, { color: options.color });
      const context = new CommandContext(terminal, options);
      try {
        process.exitCode = await action(context);
      } finally {
        context.close();
      }
    },
  });
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has said what is wrong; help and version are no failures.
      process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
      return;
    }
    const isExpected = error instanceof CommandProblem;
    process.stderr.write(`${name}: ${isExpected ? error.message : detailOf(error)}\n`);
    process.exitCode = isExpected ? error.exitCode : exitCodes.failed;
  }
}

/** A failure that nobody foresaw: with its stack, for whoever has to mend it. */
function detailOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error);
}

await main(process.argv);
