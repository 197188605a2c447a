// Reads the fenced blocks out of a Markdown page, with where and how each is to be run. It runs nothing.
//
// A comment says where the commands of a page or of one block run:
//
//   <!-- commands: cluster -->                    before the first heading: all blocks of the page
//   <!-- commands: not run: needs containerd -->  right above a block: that block alone
//
// The word is `cluster` or `embedded` (both in test/e2e/guide.test.ts), the path of the test file that runs them, or `not run:` with a reason.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Where commands run; `unsaid` where no comment says it. */
export type Place =
  | { readonly kind: "cluster" }
  | { readonly kind: "embedded" }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "not run"; readonly because: string }
  | { readonly kind: "unsaid" };

/** A fenced block of a page. */
export type Block = {
  /** `PATH:LINE` of its first fence. */
  readonly at: string;
  /** The heading that it stands under. */
  readonly heading: string;
  /** The word after the fence, empty where there is none. */
  readonly language: string;
  readonly text: string;
  readonly place: Place;
  /** For a block of commands: what the block `output` right below says that they print. */
  readonly output?: string;
};

/** The languages of blocks that a reader types into a shell. */
const shellLanguages = new Set(["sh", "bash", "shell", "console", "zsh"]);

/** Whether a reader is to type the block into a shell. */
export function isShell(block: Block): boolean {
  return shellLanguages.has(block.language);
}

/** The page at a path from the repository's root. */
export function readPage(path: string): string {
  return readFileSync(join(repository, path), "utf8");
}

/** All fenced blocks of a page, in order. Throws on a comment that cannot be understood and on a fence that is not closed. */
export function blocksOf(path: string, page = readPage(path)): readonly Block[] {
  const lines = page.split("\n");
  const firstHeading = lines.findIndex((line) => /^#+ /.test(line));
  const ofPage = lines.slice(0, Math.max(firstHeading, 0)).map(placeIn).find(isPlace) ?? unsaid;
  const blocks: Block[] = [];
  let heading = "";
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading;
    const language = /^```(\S*)/.exec(line)?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf("```", index + 1);
    const at = `${path}:${index + 1}`;
    if (end < 0) throw new Error(`${at}: the block is not closed by a line of three backticks`);
    const text = lines
      .slice(index + 1, end)
      .map((inside) => `${inside}\n`)
      .join("");
    const place = placeIn(lines[index - 1] ?? "") ?? ofPage;
    const before = blocks.at(-1);
    if (language === "output" && before !== undefined) {
      if (!isShell(before)) throw new Error(`${at}: "output" belongs below a block of commands`);
      blocks[blocks.length - 1] = { ...before, output: text };
    }
    blocks.push({ at, heading, language, text, place });
    index = end;
  }
  return blocks;
}

const unsaid: Place = { kind: "unsaid" };

function isPlace(place: Place | undefined): place is Place {
  return place !== undefined;
}

/** What a comment in the line says, if there is one. */
function placeIn(line: string): Place | undefined {
  const said = /^<!-- commands: (.+) -->$/.exec(line)?.[1];
  if (said === undefined) return undefined;
  if (said === "cluster" || said === "embedded") return { kind: said };
  const because = /^not run: (.{10,})$/.exec(said)?.[1];
  if (because !== undefined) return { kind: "not run", because };
  if (/^test\/[\w./-]+\.test\.ts$/.test(said)) return { kind: "file", path: said };
  throw new Error(
    `"${line}": write cluster, embedded, the path of a test file, or "not run: REASON"`,
  );
}
