// Compares what commands printed with what a page shows. A page shows values as they were once; the next run has other addresses, pod names and ages.

/** What stood for what so far: the page's words to those of the run, the same on the whole page, and never two words for one. */
export type Bindings = ReadonlyMap<string, string>;

export type Verdict =
  | { readonly kind: "same"; readonly bindings: Bindings }
  | { readonly kind: "different"; readonly because: string };

/**
 * Whether `printed` is what `shown` shows. Lines may come in another order and have other blanks. A line of `…` alone stands for any lines, `…`
 * in a line for any text. Addresses and the random ends of pod names stand for others, one for one on the whole page; an age stands for any age, a
 * time for any time.
 */
export function compareOutput(
  shown: string,
  printed: string,
  bindings: Bindings = new Map(),
): Verdict {
  const wanted = linesOf(shown);
  const rows = wanted.filter((line) => line !== "…");
  const there = linesOf(printed);
  const found = matchLines(rows, there, bindings);
  if (found === undefined) {
    const missing = rows.find((row) => there.every((line) => !matchLine(row, line, new Map())));
    return {
      kind: "different",
      because:
        missing === undefined
          ? "each line is like one that was printed, but not with the same addresses and names as above on the page"
          : `nothing printed is like "${missing}"`,
    };
  }
  const extra = there.filter((_, index) => !found.used.has(index));
  if (extra.length > 0 && rows.length === wanted.length) {
    return { kind: "different", because: `the page does not show "${extra[0]}"` };
  }
  return { kind: "same", bindings: found.bindings };
}

function linesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter((line) => line !== "");
}

type Found = { readonly bindings: Bindings; readonly used: ReadonlySet<number> };

/** A line of its own for each row; tries all ways, as tables of a page are small. */
function matchLines(
  rows: readonly string[],
  lines: readonly string[],
  bindings: Bindings,
  used: ReadonlySet<number> = new Set(),
): Found | undefined {
  const [row, ...rest] = rows;
  if (row === undefined) return { bindings, used };
  for (const [index, line] of lines.entries()) {
    const bound = used.has(index) ? undefined : matchLine(row, line, bindings);
    if (bound === undefined) continue;
    const found = matchLines(rest, lines, bound, new Set([...used, index]));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What of a page's line is different in each run; the first two kinds are bound. */
const variable =
  /(?<bound>\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<=-)(?:[0-9a-f]{8,10}-[0-9a-z]{5}|[0-9a-f]{9,10})\b)|(?<time>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?)|(?<age>\b\d+(?:ms|[smhd])\b(?:\d+[smh]\b)?)|(?<any>…)/g;

function matchLine(row: string, line: string, bindings: Bindings): Bindings | undefined {
  const words: string[] = [];
  let pattern = "";
  let from = 0;
  for (const match of row.matchAll(variable)) {
    pattern += literal(row.slice(from, match.index));
    from = match.index + match[0].length;
    const { bound, time, age } = match.groups ?? {};
    if (bound !== undefined) {
      pattern += bound.includes(".") ? "(\\d{1,3}(?:\\.\\d{1,3}){3})" : "([0-9a-z-]+)";
      words.push(bound);
    } else if (time !== undefined) pattern += "\\d{4}-\\d\\d-\\d\\d[T ][\\d:.]+Z?";
    else if (age === undefined) pattern += ".*";
    else pattern += "(?:\\d+(?:ms|[smhd]))+";
  }
  const values = new RegExp(`^${pattern}${literal(row.slice(from))}$`).exec(line)?.slice(1);
  if (values === undefined) return undefined;
  const next = new Map(bindings);
  for (const [index, word] of words.entries()) {
    const value = values[index] ?? "";
    const before = next.get(word);
    if (before === undefined) {
      if ([...next.values()].includes(value)) return undefined;
      next.set(word, value);
    } else if (before !== value) return undefined;
  }
  return next;
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
