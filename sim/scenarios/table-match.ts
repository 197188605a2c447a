// Compares an expected table with what there is: every row once, no row left over, in any order. A cell may have `*` (any text) and
// `$name` (one value through the whole scenario; two names never stand for the same value). Knows nothing of what the tables mean.

/** Values of `$names`. */
export type Bindings = ReadonlyMap<string, string>;

/** The values that make the tables equal, or the expected rows that nothing fits, by position, with the rows that are left over. */
export type TableMatch =
  | { readonly kind: "equal"; readonly bindings: Bindings }
  | { readonly kind: "different"; readonly closest: readonly number[] };

/** Attempts after which a comparison is given up as different: tables of many rows that fit each other are badly written. */
const mostAttempts = 50_000;

/**
 * Finds an assignment of expected to actual rows.
 * @param options.isRepeatable several actual rows may fit one expected row (events)
 */
export function matchTable(
  expected: readonly (readonly string[])[],
  actual: readonly (readonly string[])[],
  bindings: Bindings,
  options: { readonly isRepeatable?: boolean } = {},
): TableMatch {
  const unfit = expected.flatMap((row, index) =>
    actual.some((candidate) => matchRow(row, candidate, bindings) !== undefined) ? [] : [index],
  );
  if (unfit.length > 0) return { kind: "different", closest: unfit };
  return options.isRepeatable === true
    ? matchRepeated(expected, actual, bindings)
    : matchOneToOne(expected, actual, bindings);
}

function matchOneToOne(
  expected: readonly (readonly string[])[],
  actual: readonly (readonly string[])[],
  bindings: Bindings,
): TableMatch {
  if (expected.length !== actual.length) return { kind: "different", closest: [] };
  const used = new Set<number>();
  let attempts = 0;
  const assign = (index: number, bound: Bindings): Bindings | undefined => {
    const row = expected[index];
    if (row === undefined) return bound;
    for (const [position, candidate] of actual.entries()) {
      if (used.has(position)) continue;
      attempts += 1;
      if (attempts > mostAttempts) return undefined;
      const next = matchRow(row, candidate, bound);
      if (next === undefined) continue;
      used.add(position);
      const whole = assign(index + 1, next);
      if (whole !== undefined) return whole;
      used.delete(position);
    }
    return undefined;
  };
  const found = assign(0, bindings);
  return found === undefined
    ? { kind: "different", closest: [] }
    : { kind: "equal", bindings: found };
}

function matchRepeated(
  expected: readonly (readonly string[])[],
  actual: readonly (readonly string[])[],
  bindings: Bindings,
): TableMatch {
  let bound = bindings;
  for (const candidate of actual) {
    let next: Bindings | undefined;
    for (const row of expected) next ??= matchRow(row, candidate, bound);
    if (next === undefined) return { kind: "different", closest: [] };
    bound = next;
  }
  return { kind: "equal", bindings: bound };
}

function matchRow(
  expected: readonly string[],
  actual: readonly string[],
  bindings: Bindings,
): Bindings | undefined {
  let bound: Bindings | undefined = bindings;
  for (const [index, cell] of expected.entries()) {
    bound = matchCell(cell, actual[index] ?? "", bound);
    if (bound === undefined) return undefined;
  }
  return bound;
}

/** Compares one cell. @returns the bindings with what the cell adds; undefined when it does not fit */
export function matchCell(
  expected: string,
  actual: string,
  bindings: Bindings,
): Bindings | undefined {
  const names: string[] = [];
  const pattern = expected.replaceAll(
    /\$([a-z][a-z0-9]*)|\*|[\\^$.*+?()[\]{}|]/g,
    (part, name: string | undefined) => {
      if (part === "*") return ".*";
      if (name === undefined) return `\\${part}`;
      const value = bindings.get(name);
      if (value !== undefined) return escaped(value);
      const earlier = names.indexOf(name);
      if (earlier >= 0) return `\\${earlier + 1}`;
      names.push(name);
      return "([^\\s,]+?)";
    },
  );
  const match = new RegExp(`^${pattern}$`, "su").exec(actual);
  if (match === null) return undefined;
  if (names.length === 0) return bindings;
  const bound = new Map(bindings);
  for (const [index, name] of names.entries()) {
    const value = match[index + 1] as string;
    for (const other of bound.values()) if (other === value) return undefined;
    bound.set(name, value);
  }
  return bound;
}

/** Puts the values of bound `$names` into a text. @returns undefined when a name has no value yet */
export function fillIn(text: string, bindings: Bindings): string | undefined {
  let isWhole = true;
  const filled = text.replaceAll(/\$([a-z][a-z0-9]*)/g, (part, name: string) => {
    const value = bindings.get(name);
    if (value === undefined) isWhole = false;
    return value ?? part;
  });
  return isWhole ? filled : undefined;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
