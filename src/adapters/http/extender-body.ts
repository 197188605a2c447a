// Cuts the body of a filter or prioritize call (ExtenderArgs) by bytes: a scheduler sends every Node object, tens of megabytes,
// of which only the names matter. The objects are checked for valid JSON and kept as they came; nothing of them is parsed.
// Not a general JSON reader: it knows Pod, Nodes.items[].metadata.name and NodeNames.

/** A body that is no JSON or not shaped like ExtenderArgs; the message says what was expected and at which byte. */
export class BodyProblem extends Error {
  constructor(message: string) {
    super(message);
    this.name = "BodyProblem";
  }
}

/** Node objects as they came, by their position among the request's nodes. */
export interface NodeSlices {
  /** The object at `position`, parsed. */
  parse(position: number): unknown;
  /** The objects at `positions` (ascending) and the commas between them, as parts of the body. */
  pieces(positions: readonly number[]): readonly Buffer[];
}

/** What a filter or prioritize call says. */
export type ExtenderArgs = {
  /** The Pod object, parsed. */
  readonly pod: unknown;
  /** The offered nodes in the order of the request. */
  readonly nodeNames: readonly string[];
  /** The node objects; undefined when the caller named the nodes only (nodeCacheCapable). */
  readonly nodes: NodeSlices | undefined;
};

/** Nesting that Go's decoder accepts; also what bounds the work on hostile bodies. */
const maxDepth = 10_000;
/** The API server stores no object above 1.5 MiB (etcd's request limit); a Pod far above it is not one. */
const maxPodBytes = 8 * 1024 * 1024;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const letterN = 0x6e;

/**
 * Reads ExtenderArgs. Names are compared without case and of equal names the last counts, as in Go.
 * @throws BodyProblem when the body is no JSON or not of that shape
 */
export function parseExtenderArgs(body: Buffer): ExtenderArgs {
  const cutter = new Cutter(body);
  const found = cutter.args();
  if (found.pod === undefined) throw new BodyProblem("Pod is missing");
  if (found.pod.end - found.pod.start > maxPodBytes) {
    throw new BodyProblem(
      `Pod has ${found.pod.end - found.pod.start} bytes, more than an API server stores`,
    );
  }
  const pod: unknown = JSON.parse(body.toString("utf8", found.pod.start, found.pod.end));
  const names = found.nodeNames === undefined ? undefined : parseNames(body, found.nodeNames);
  // A scheduler fills one of the two; an empty list of objects beside names is the unused one.
  if (names !== undefined && (found.nodes === undefined || found.nodes.count === 0)) {
    return { pod, nodeNames: names, nodes: undefined };
  }
  if (found.nodes === undefined) {
    throw new BodyProblem("neither Nodes nor NodeNames is there: the nodes to choose from");
  }
  return { pod, nodeNames: found.nodes.names(), nodes: found.nodes };
}

function parseNames(body: Buffer, span: Span): string[] {
  const json: unknown = JSON.parse(body.toString("utf8", span.start, span.end));
  if (!Array.isArray(json)) throw new BodyProblem("NodeNames is not a list");
  for (const [index, name] of (json as readonly unknown[]).entries()) {
    if (typeof name !== "string") throw new BodyProblem(`NodeNames[${index}] is not a string`);
  }
  return json as string[];
}

/** Bytes of the body from `start` to before `end`. */
type Span = { readonly start: number; readonly end: number };

/** Where the node objects and their names stand: four numbers a node in one array. */
class CutNodes implements NodeSlices {
  readonly #body: Buffer;
  /** start, end of the object; start, end of the name with its quotes. */
  readonly #marks: number[] = [];

  constructor(body: Buffer) {
    this.#body = body;
  }

  get count(): number {
    return this.#marks.length / 4;
  }

  add(node: Span, name: Span): void {
    this.#marks.push(node.start, node.end, name.start, name.end);
  }

  names(): string[] {
    const names: string[] = [];
    for (let at = 0; at < this.#marks.length; at += 4) {
      names.push(textOf(this.#body, this.#marks[at + 2] as number, this.#marks[at + 3] as number));
    }
    return names;
  }

  parse(position: number): unknown {
    const [start, end] = this.#marks.slice(position * 4, position * 4 + 2);
    if (start === undefined) throw new RangeError(`no node at position ${position}`);
    return JSON.parse(this.#body.toString("utf8", start, end)) as unknown;
  }

  pieces(positions: readonly number[]): Buffer[] {
    const pieces: Buffer[] = [];
    let start = -1;
    let end = -1;
    for (const position of positions) {
      const nodeStart = this.#marks[position * 4] as number;
      // Neighbours with one byte between them, which then is the comma, are one piece: usually most nodes pass.
      const isNeighbour = end >= 0 && nodeStart === end + 1;
      if (!isNeighbour) {
        if (end >= 0) pieces.push(this.#body.subarray(start, end), commaPiece);
        start = nodeStart;
      }
      end = this.#marks[position * 4 + 1] as number;
    }
    if (end >= 0) pieces.push(this.#body.subarray(start, end));
    return pieces;
  }
}

const commaPiece = Buffer.from(",");

/** The text of a string that stands with its quotes from `start` to before `end`. */
function textOf(body: Buffer, start: number, end: number): string {
  const raw = body.toString("utf8", start + 1, end - 1);
  return raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
}

/** Walks the bytes once. Strict: what it accepts is exactly what JSON.parse accepts, up to the depth limit. */
class Cutter {
  readonly #body: Buffer;
  readonly #end: number;
  #at = 0;
  #depth = 0;
  /** Closing byte of each open object and list. */
  readonly #closers = new Uint8Array(maxDepth);

  constructor(body: Buffer) {
    this.#body = body;
    this.#end = body.length;
  }

  args(): { pod?: Span; nodes?: CutNodes; nodeNames?: Span } {
    const found: { pod?: Span; nodes?: CutNodes; nodeNames?: Span } = {};
    this.#skipBlanks();
    if (this.#peek() !== openBrace) throw this.#unexpected("an object with Pod and Nodes");
    this.#members((name) => {
      const key = name().toLowerCase();
      if (key === "pod") {
        delete found.pod;
        const isNull = this.#peek() === letterN;
        const start = this.#at;
        if (!isNull && this.#peek() !== openBrace) throw this.#unexpected("Pod to be an object");
        this.#skipValue();
        if (!isNull) found.pod = { start, end: this.#at };
      } else if (key === "nodes") {
        delete found.nodes;
        const nodes = this.#nodes();
        if (nodes !== undefined) found.nodes = nodes;
      } else if (key === "nodenames") {
        delete found.nodeNames;
        const isNull = this.#peek() === letterN;
        const start = this.#at;
        this.#skipValue();
        if (!isNull) found.nodeNames = { start, end: this.#at };
      } else {
        this.#skipValue();
      }
    });
    this.#skipBlanks();
    if (this.#at < this.#end) throw this.#unexpected("nothing after the object");
    return found;
  }

  #nodes(): CutNodes | undefined {
    if (this.#peek() === letterN) {
      this.#skipValue();
      return undefined;
    }
    if (this.#peek() !== openBrace) throw this.#unexpected("Nodes to be an object with items");
    let nodes = new CutNodes(this.#body);
    this.#members((name) => {
      if (name().toLowerCase() === "items") nodes = this.#items();
      else this.#skipValue();
    });
    return nodes;
  }

  #items(): CutNodes {
    const nodes = new CutNodes(this.#body);
    if (this.#peek() === letterN) {
      this.#skipValue();
      return nodes;
    }
    if (this.#peek() !== openBracket) throw this.#unexpected("Nodes.items to be a list");
    this.#open(closeBracket);
    let index = 0;
    if (!this.#closes(closeBracket)) {
      do {
        this.#skipBlanks();
        // Go reads a null item as a node without a name; there is no such node, so it is neither kept nor failed.
        if (this.#peek() === letterN) this.#skipValue();
        else this.#node(nodes, index);
        index += 1;
      } while (this.#continues(closeBracket));
    }
    return nodes;
  }

  #node(nodes: CutNodes, index: number): void {
    if (this.#peek() !== openBrace) {
      throw this.#unexpected(`Nodes.items[${index}] to be an object`);
    }
    const start = this.#at;
    let nameStart = -1;
    let nameEnd = -1;
    this.#members((key) => {
      if (key() !== "metadata") {
        this.#skipValue();
        return;
      }
      nameStart = -1;
      if (this.#peek() !== openBrace) {
        this.#skipValue();
        return;
      }
      this.#members((inner) => {
        const isName = inner() === "name";
        const valueStart = this.#at;
        const isText = this.#peek() === quote;
        this.#skipValue();
        if (isName) {
          nameStart = isText ? valueStart : -1;
          nameEnd = this.#at;
        }
      });
    });
    if (nameStart < 0 || nameEnd - nameStart === 2) {
      throw new BodyProblem(`Nodes.items[${index}] has no metadata.name`);
    }
    nodes.add({ start, end: this.#at }, { start: nameStart, end: nameEnd });
  }

  /**
   * Walks the object at the current byte; `visit` is called with the byte after the colon as the current one and must
   * go past the value.
   */
  #members(visit: (name: () => string) => void): void {
    this.#open(closeBrace);
    if (this.#closes(closeBrace)) return;
    do {
      this.#skipBlanks();
      const start = this.#at;
      this.#skipString("a name in quotes");
      const end = this.#at;
      this.#skipBlanks();
      if (this.#peek() !== colon) throw this.#unexpected('":"');
      this.#at += 1;
      this.#skipBlanks();
      visit(() => textOf(this.#body, start, end));
    } while (this.#continues(closeBrace));
  }

  #open(closer: number): void {
    if (this.#depth === maxDepth) {
      throw new BodyProblem(`nested deeper than ${maxDepth} at byte ${this.#at}`);
    }
    this.#closers[this.#depth] = closer;
    this.#depth += 1;
    this.#at += 1;
  }

  /** Whether the object or list just opened is empty; goes past its end then. */
  #closes(closer: number): boolean {
    this.#skipBlanks();
    if (this.#peek() !== closer) return false;
    this.#at += 1;
    this.#depth -= 1;
    return true;
  }

  /** After a member or item: true past a comma, false past the end. */
  #continues(closer: number): boolean {
    this.#skipBlanks();
    const byte = this.#peek();
    if (byte === comma) {
      this.#at += 1;
      return true;
    }
    if (byte !== closer) throw this.#unexpected(`"," or "${String.fromCharCode(closer)}"`);
    this.#at += 1;
    this.#depth -= 1;
    return false;
  }

  /** Goes past the value at the current byte without recursion: the depth of a body is its sender's choice. */
  #skipValue(): void {
    const base = this.#depth;
    for (;;) {
      this.#skipBlanks();
      const byte = this.#peek();
      let isInside = false;
      if (byte === quote) {
        this.#skipString("a string");
      } else if (byte === openBrace) {
        this.#open(closeBrace);
        isInside = !this.#closes(closeBrace);
        if (isInside) this.#skipName();
      } else if (byte === openBracket) {
        this.#open(closeBracket);
        isInside = !this.#closes(closeBracket);
      } else {
        this.#skipScalar(byte);
      }
      while (!isInside) {
        if (this.#depth === base) return;
        const closer = this.#closers[this.#depth - 1] as number;
        if (this.#continues(closer)) {
          if (closer === closeBrace) this.#skipName();
          isInside = true;
        }
      }
    }
  }

  #skipName(): void {
    this.#skipBlanks();
    this.#skipString("a name in quotes");
    this.#skipBlanks();
    if (this.#peek() !== colon) throw this.#unexpected('":"');
    this.#at += 1;
  }

  #skipBlanks(): void {
    const body = this.#body;
    let at = this.#at;
    while (at < this.#end) {
      const byte = body[at] as number;
      // Almost always the first byte already says that there is no blank: schedulers write compact JSON.
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
      at += 1;
    }
    this.#at = at;
  }

  #skipString(expected: string): void {
    if (this.#peek() !== quote) throw this.#unexpected(expected);
    const body = this.#body;
    const end = this.#end;
    let at = this.#at + 1;
    // Most bytes of a body are looked at here and nowhere else.
    while (at < end) {
      const byte = body[at] as number;
      if (byte === quote) {
        this.#at = at + 1;
        return;
      }
      if (byte === backslash) {
        at = this.#skipEscape(at);
      } else if (byte < 0x20) {
        this.#at = at;
        throw this.#unexpected("no control character in a string");
      } else {
        at += 1;
      }
    }
    this.#at = end;
    throw this.#unexpected("the end of a string");
  }

  /** @returns the byte after the escape that starts at `at` */
  #skipEscape(at: number): number {
    const kind = String.fromCharCode(this.#body[at + 1] ?? 0);
    if ('"\\/bfnrt'.includes(kind)) return at + 2;
    const digits = this.#body.toString("latin1", at + 2, at + 6);
    if (kind === "u" && /^[0-9a-fA-F]{4}$/.test(digits)) return at + 6;
    this.#at = at;
    throw this.#unexpected("an escape sequence of JSON");
  }

  #skipScalar(byte: number): void {
    const word = byte === 0x74 ? "true" : byte === 0x66 ? "false" : byte === letterN ? "null" : "";
    if (word !== "") {
      if (this.#body.toString("latin1", this.#at, this.#at + word.length) !== word) {
        throw this.#unexpected(word);
      }
      this.#at += word.length;
      return;
    }
    this.#skipNumber();
  }

  /** RFC 8259 section 6: no leading zeros, no bare point, no sign but minus. */
  #skipNumber(): void {
    const start = this.#at;
    if (this.#peek() === 0x2d) this.#at += 1;
    if (this.#peek() === 0x30) this.#at += 1;
    else this.#skipDigits(start);
    if (this.#peek() === 0x2e) {
      this.#at += 1;
      this.#skipDigits(this.#at);
    }
    const exponent = this.#peek();
    if (exponent === 0x65 || exponent === 0x45) {
      this.#at += 1;
      const sign = this.#peek();
      if (sign === 0x2b || sign === 0x2d) this.#at += 1;
      this.#skipDigits(this.#at);
    }
  }

  /** One digit or more; `start` is where the message points when there is none. */
  #skipDigits(start: number): void {
    const first = this.#at;
    while (this.#at < this.#end) {
      const byte = this.#body[this.#at] as number;
      if (byte < 0x30 || byte > 0x39) break;
      this.#at += 1;
    }
    if (this.#at === first) {
      this.#at = this.#at === this.#end ? this.#end : start;
      throw this.#unexpected("a value");
    }
  }

  /** The current byte; -1 at the end. */
  #peek(): number {
    return this.#at < this.#end ? (this.#body[this.#at] as number) : -1;
  }

  #unexpected(expected: string): BodyProblem {
    const byte = this.#peek();
    const found =
      byte < 0
        ? "the body ends"
        : byte > 0x20 && byte < 0x7f
          ? `found "${String.fromCharCode(byte)}"`
          : `found byte 0x${byte.toString(16).padStart(2, "0")}`;
    return new BodyProblem(`the body breaks at byte ${this.#at}: expected ${expected}, ${found}`);
  }
}
