// Reads of a PromQL expression what can be compared with exported metrics: names, matched labels, grouped labels. Not a parser: that an
// expression is well formed is promtool's to say.

/** One metric of an expression. */
export type Selector = {
  readonly name: string;
  readonly matchers: readonly {
    readonly label: string;
    readonly operator: string;
    readonly value: string;
  }[];
};

/** What an expression asks for: its metrics, and the labels of every `by (…)`. */
export type Question = {
  readonly selectors: readonly Selector[];
  readonly grouped: readonly string[];
};

const token = /"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[a-zA-Z_:][\w:]*|[0-9][0-9.]*[a-z]*|[=!]~|!=|\S/g;
const operators = new Set(["and", "or", "unless", "bool", "offset"]);
const labelLists = new Set(["by", "without", "on", "ignoring", "group_left", "group_right"]);

/** @throws Error when a brace or a list of labels has no end */
export function readQuestion(expression: string): Question {
  const tokens: readonly string[] = expression.match(token) ?? [];
  const selectors: Selector[] = [];
  const grouped: string[] = [];
  /** The tokens from `index` up to the closing one. */
  const until = (index: number, closing: string): readonly string[] => {
    const end = tokens.indexOf(closing, index);
    if (end < 0) throw new Error(`${expression}: no ${closing}`);
    return tokens.slice(index, end);
  };
  for (let index = 0; index < tokens.length; index += 1) {
    const word = tokens[index] ?? "";
    const next = tokens[index + 1];
    if (labelLists.has(word) && next === "(") {
      const inside = until(index + 2, ")");
      if (word === "by") grouped.push(...inside.filter((each) => each !== ","));
      index += inside.length + 2;
    } else if (isMetric(word, next)) {
      const inside = next === "{" ? until(index + 2, "}") : [];
      const matchers = inside.flatMap((label, at) =>
        /^(=|!=|=~|!~)$/.test(inside[at + 1] ?? "")
          ? [{ label, operator: inside[at + 1] ?? "", value: (inside[at + 2] ?? "").slice(1, -1) }]
          : [],
      );
      selectors.push({ name: word, matchers });
      if (next === "{") index += inside.length + 2;
    }
  }
  return { selectors, grouped };
}

/** Functions and aggregations stand before a parenthesis or a list of labels. */
function isMetric(word: string, next: string | undefined): boolean {
  return (
    /^[a-zA-Z_:]/.test(word) && !operators.has(word) && next !== "(" && !labelLists.has(next ?? "")
  );
}
