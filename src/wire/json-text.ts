// Reads JSON text that people write by hand (configuration, annotations): where it breaks, which names stand twice, and the
// text of each top-level member, so that what we do not know can be written back unchanged. Bodies of requests use JSON.parse.

/** A member of the outermost object. */
export type JsonMember = {
  readonly name: string;
  /** The value exactly as it stands in the text. */
  readonly valueText: string;
};

/**
 * - `value`: what JSON.parse gives (of names that stand twice the last one counts), the paths of names that stand twice, and
 *   the members of the outermost object, undefined when the text is no object
 * - `problem`: what is wrong, with line and column, counted from 1
 */
export type JsonTextParse =
  | {
      readonly kind: "value";
      readonly value: unknown;
      readonly duplicates: readonly string[];
      readonly members: readonly JsonMember[] | undefined;
    }
  | { readonly kind: "problem"; readonly problem: string };

/** Deeper nesting is refused, so that hostile text cannot exhaust the stack. */
const deepestLevel = 64;

/** Reads JSON (RFC 8259). */
export function parseJsonText(text: string): JsonTextParse {
  const reader = new JsonReader(text);
  try {
    const value = reader.readDocument();
    return { kind: "value", value, duplicates: reader.duplicates, members: reader.members };
  } catch (error) {
    if (error instanceof JsonProblem) return { kind: "problem", problem: error.message };
    throw error;
  }
}

/** Leaves the recursion of the reader; never leaves this file. */
class JsonProblem extends Error {}

class JsonReader {
  readonly duplicates: string[] = [];
  members: readonly JsonMember[] | undefined;
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readDocument(): unknown {
    const value = this.#readValue("", 0);
    this.#skipBlanks();
    if (this.#position < this.#text.length)
      this.#fail("unexpected text after the end of the value");
    return value;
  }

  #readValue(path: string, level: number): unknown {
    this.#skipBlanks();
    const character = this.#text[this.#position];
    if ((character === "{" || character === "[") && level >= deepestLevel) {
      this.#fail(`nested deeper than ${deepestLevel} levels`);
    }
    if (character === "{") return this.#readObject(path, level);
    if (character === "[") return this.#readArray(path, level);
    if (character === '"') return this.#readString();
    return this.#readScalar();
  }

  #readObject(path: string, level: number): unknown {
    const entries: [string, unknown][] = [];
    const members: JsonMember[] = [];
    const seen = new Set<string>();
    this.#position += 1;
    this.#skipBlanks();
    if (this.#text[this.#position] === "}") {
      this.#position += 1;
    } else {
      for (;;) {
        this.#skipBlanks();
        if (this.#text[this.#position] !== '"')
          this.#fail("expected a member name in double quotes");
        const name = this.#readString();
        const memberPath = path === "" ? name : `${path}.${name}`;
        if (seen.has(name)) this.duplicates.push(memberPath);
        seen.add(name);
        this.#skipBlanks();
        if (this.#text[this.#position] !== ":") this.#fail(`expected ":" after "${name}"`);
        this.#position += 1;
        this.#skipBlanks();
        const start = this.#position;
        const value = this.#readValue(memberPath, level + 1);
        entries.push([name, value]);
        if (level === 0) members.push({ name, valueText: this.#text.slice(start, this.#position) });
        if (this.#atListEnd("}")) break;
      }
    }
    if (level === 0) this.members = members;
    return Object.fromEntries(entries);
  }

  #readArray(path: string, level: number): unknown[] {
    const values: unknown[] = [];
    this.#position += 1;
    this.#skipBlanks();
    if (this.#text[this.#position] === "]") {
      this.#position += 1;
      return values;
    }
    do {
      values.push(this.#readValue(`${path}[${values.length}]`, level + 1));
    } while (!this.#atListEnd("]"));
    return values;
  }

  /** Consumes the comma before a further element (false) or the closing bracket (true). */
  #atListEnd(closing: "}" | "]"): boolean {
    this.#skipBlanks();
    const character = this.#text[this.#position];
    if (character !== "," && character !== closing) this.#fail(`expected "," or "${closing}"`);
    this.#position += 1;
    return character === closing;
  }

  #readString(): string {
    const start = this.#position;
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') {
      if (this.#text.charCodeAt(end) < 0x20) {
        this.#position = end;
        this.#fail("a string has a line break or control character; write it escaped");
      }
      end += this.#text[end] === "\\" ? 2 : 1;
    }
    if (end >= this.#text.length) this.#fail("a string is not closed");
    this.#position = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      this.#position = start;
      return this.#fail("a string has an unknown escape");
    }
  }

  #readScalar(): unknown {
    scalarPattern.lastIndex = this.#position;
    const word = scalarPattern.exec(this.#text)?.[0];
    if (word === undefined) {
      return this.#fail(
        this.#position >= this.#text.length ? "the text ends too early" : "expected a value",
      );
    }
    this.#position += word.length;
    return JSON.parse(word);
  }

  #skipBlanks(): void {
    while (" \t\n\r".includes(this.#text[this.#position] ?? "x")) this.#position += 1;
  }

  #fail(what: string): never {
    const before = this.#text.slice(0, this.#position);
    const line = before.split("\n").length;
    const column = this.#position - (before.lastIndexOf("\n") + 1) + 1;
    const found = this.#text.slice(this.#position, this.#position + 12).split("\n")[0] ?? "";
    const near = found === "" ? "" : ` near ${JSON.stringify(found)}`;
    throw new JsonProblem(`line ${line}, column ${column}${near}: ${what}`);
  }
}

const scalarPattern =
  /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![\w.+-])/y;
