// Asks before something is changed, and shows how far long work is. Loads the prompts only when a person is there to read them.

import { CommandProblem, exitCodes } from "./command-problem.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Whether to go on. `--yes` answers for everybody; without it a person is asked, and where nobody can answer the command ends.
 * @param question ends with a question mark
 */
export async function isConfirmed(
  terminal: Terminal,
  question: string,
  yes: boolean,
): Promise<boolean> {
  if (yes) return true;
  if (!terminal.isInteractive) {
    throw new CommandProblem(
      exitCodes.usage,
      `${question} Nobody can answer here; add --yes to do it, or --dry-run to see more`,
    );
  }
  const { confirm } = await import("@clack/prompts");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  return answer === true;
}

/** A bar on a terminal; elsewhere a line now and then. */
export type Progress = {
  /** `done` of all are done. */
  at(done: number): void;
  end(message: string): void;
};

/** Work of fewer steps is over before a bar could be read. */
const leastSteps = 2;
/** How often a log gets a line. */
const lineEveryMs = 5_000;

/** Shows progress of work on `count` things done in `steps` requests. */
export async function showProgress(
  terminal: Terminal,
  options: { readonly title: string; readonly count: number; readonly steps: number },
): Promise<Progress> {
  const { title, count } = options;
  if (options.steps < leastSteps) return { at: () => {}, end: () => {} };
  if (terminal.isInteractive) {
    const { progress } = await import("@clack/prompts");
    const bar = progress({ max: count, output: process.stderr });
    bar.start(title);
    let shown = 0;
    return {
      at(done) {
        bar.advance(done - shown, `${title}: ${done} of ${count}`);
        shown = done;
      },
      end: (message) => bar.stop(message),
    };
  }
  let lineAtMs = performance.now();
  return {
    at(done) {
      const nowMs = performance.now();
      if (nowMs - lineAtMs < lineEveryMs) return;
      lineAtMs = nowMs;
      terminal.note(`${title}: ${done} of ${count}`);
    },
    end: () => {},
  };
}
