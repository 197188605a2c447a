// The words after `npm run sim --` and the file of kept seeds. Reads text only; running is run.ts.

/** What to run. */
export type Options = {
  readonly seeds: number;
  readonly seed: number | undefined;
  readonly ops: number;
  readonly trace: boolean;
  /** One seed after the other, up to the first that fails. */
  readonly untilFailure: boolean;
  /** The kept seeds first. */
  readonly withRegressions: boolean;
};

/** Scenario files to play, instead of worlds from seeds. */
export type ScenarioOptions = { readonly scenarios: readonly string[]; readonly trace: boolean };

/** A seed that once showed a defect. */
export type Regression = { readonly seed: number; readonly ops: number };

export const usage =
  "usage: npm run sim -- [--seeds N] [--seed S] [--ops N] [--trace] [--until-failure] [--regressions]\n" +
  "       npm run sim -- --scenario FILE [--scenario FILE …] [--trace]";

/** @returns the options, or what is wrong with them, naming the option */
export function parseOptions(argv: readonly string[]): Options | ScenarioOptions | string {
  const numbers = new Map<string, number>();
  const flags = new Set<string>();
  const scenarios: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? "";
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    if (["--trace", "--until-failure", "--regressions"].includes(word)) flags.add(word);
    else if (["--seeds", "--seed", "--ops"].includes(name)) {
      if (equals < 0) index += 1;
      const text = equals < 0 ? argv[index] : word.slice(equals + 1);
      if (text === undefined || !/^[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text))) {
        return `${name} needs a whole number, not "${text ?? ""}"`;
      }
      numbers.set(name, Number(text));
    } else if (name === "--scenario") {
      if (equals < 0) index += 1;
      const file = equals < 0 ? argv[index] : word.slice(equals + 1);
      if (file === undefined || file === "" || file.startsWith("--")) {
        return `--scenario needs a file, not "${file ?? ""}"; they are in sim/scenarios`;
      }
      scenarios.push(file);
    } else return `"${word}" is not an option`;
  }
  if (scenarios.length > 0) {
    const foreign = [...numbers.keys(), ...flags].find((name) => name !== "--trace");
    return foreign === undefined
      ? { scenarios, trace: flags.has("--trace") }
      : `${foreign} is for worlds from seeds; a scenario has no chance in it, leave it out`;
  }
  const seed = numbers.get("--seed");
  const seeds = numbers.get("--seeds") ?? (seed === undefined ? 100 : 1);
  if (seeds === 0) return "--seeds needs at least 1, not 0";
  if (flags.has("--trace") && seeds !== 1) {
    return `--trace shows one world: use it with --seed S --seeds 1, not --seeds ${seeds}`;
  }
  return {
    seeds,
    seed,
    ops: numbers.get("--ops") ?? 300,
    trace: flags.has("--trace"),
    untilFailure: flags.has("--until-failure"),
    withRegressions: flags.has("--regressions"),
  };
}

/**
 * The kept seeds: lines `seed operations # what it found`; empty lines and lines that begin with # say nothing.
 * @throws Error that names a line that is none of these
 */
export function parseRegressions(text: string): readonly Regression[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const match = /^(\d+) (\d+) # \S/.exec(line);
    if (match === null) {
      throw new Error(
        `sim/regressions.txt line ${index + 1}: "${line}" is not "seed operations # what it found"`,
      );
    }
    return [{ seed: Number(match[1]), ops: Number(match[2]) }];
  });
}
