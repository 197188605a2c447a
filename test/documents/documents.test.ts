// What holds for all Markdown pages together: every block of commands is run by a test or says why not, the Chinese pages have the English ones' blocks,
// links lead to headings, and each error code has its place in the page for trouble.
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { test } from "node:test";
import { type Block, blocksOf, isShell, readPage, repository } from "./markdown-blocks.ts";

const pages = globSync(
  ["*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md", "bench/**/*.md"],
  {
    cwd: repository,
  },
).toSorted();

/** Tests that run the blocks of a page name its path. */
const testFiles = globSync("test/**/*.test.ts", { cwd: repository })
  .filter((path) => path !== relative(repository, import.meta.filename))
  .map((path) => ({ path, text: readFileSync(join(repository, path), "utf8") }));

/** Pages whose commands are not run, all of them, and why. */
const notRun: Readonly<Record<string, string>> = {
  "README.md":
    "test/e2e/embedded.test.ts starts what npm start starts, and npm test is what runs this",
  "CONTRIBUTING.md": "npm run check is what runs this",
  "docs/scenarios.md": "sim/scenarios/scenarios.test.ts plays all files that the commands name",
  "docs/node.md": "installs onto a host; test/node/installation.test.ts does it in a folder",
};

/** Why the block is not in order; undefined when it is. */
function complaintAbout(page: string, block: Block): string | undefined {
  const { at, place } = block;
  if (!isShell(block) || place.kind === "not run" || notRun[page] !== undefined) return undefined;
  if (place.kind === "cluster" || place.kind === "embedded") {
    return /^docs\/guide\/(zh\/)?[\w-]+\.md$/.test(page)
      ? undefined
      : `${at}: test/e2e/guide.test.ts runs the pages of docs/guide and no others`;
  }
  const isRun =
    place.kind === "file"
      ? existsSync(join(repository, place.path))
      : testFiles.some(
          ({ text }) => text.includes(`docs/${basename(page)}`) && /blocksOf\("|sh\\n/.test(text),
        );
  return isRun
    ? undefined
    : `${at}: no test runs these commands; name it in <!-- commands: … -->, or say why not`;
}

test("every block of commands in a page is run by a test, or says why it is not", () => {
  const stray = blocksOf("docs/stray.md", "# A page\n\n```sh\nrm -r everything\n```\n");
  assert.match(complaintAbout("docs/stray.md", stray[0] as Block) ?? "", /no test runs/);
  const complaints = pages.flatMap((page) =>
    blocksOf(page).flatMap((block) => complaintAbout(page, block) ?? []),
  );
  assert.deepEqual(complaints, []);
  for (const page of Object.keys(notRun)) assert.ok(blocksOf(page).some(isShell), page);
});

test("the short installation has no command that the installation has not", () => {
  const whole = readPage("docs/install.md");
  for (const { text, at } of blocksOf("docs/guide/install.md").filter(isShell)) {
    for (const line of text.trim().split("\n"))
      assert.ok(whole.includes(`\n${line}\n`), `${at}: ${line}`);
  }
});

test("each page of the guide is there in both languages, with the same blocks in the same places", () => {
  const english = globSync("docs/guide/*.md", { cwd: repository }).toSorted();
  const chinese = globSync("docs/guide/zh/*.md", { cwd: repository }).toSorted();
  assert.deepEqual(
    chinese.map((page) => basename(page)),
    english.map((page) => basename(page)),
  );
  const contents = (page: string) =>
    blocksOf(page).map(({ language, text, place }) => ({ language, text, place }));
  for (const page of english) {
    const translated = `docs/guide/zh/${basename(page)}`;
    assert.deepEqual(contents(translated), contents(page), translated);
    assert.match(readPage(translated), /\p{Script=Han}{4}/u, translated);
    for (const path of ["docs/guide/README.md", "docs/guide/zh/README.md"]) {
      if (basename(page) !== "README.md")
        assert.ok(readPage(path).includes(`(${basename(page)})`), page);
    }
  }
});

/** The anchors that GitHub gives to the headings of a page. */
function anchorsOf(page: string): ReadonlySet<string> {
  const prose = readPage(page).replaceAll(/^```[\s\S]*?^```$/gm, "");
  return new Set(
    [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

test("every link to a heading leads to a heading", () => {
  const broken = pages.flatMap((page) =>
    [...readPage(page).matchAll(/\]\(([^)\s:#]*)#([^)\s]+)\)/g)].flatMap(
      ([, file = "", anchor = ""]) => {
        const target = file === "" ? page : join(page, "..", file);
        const isThere = target.endsWith(".md") && existsSync(join(repository, target));
        return isThere && !anchorsOf(target).has(anchor) ? [`${page}: ${file}#${anchor}`] : [];
      },
    ),
  );
  assert.deepEqual(broken, []);
});

test("each error code has a line in docs/troubleshooting.md", () => {
  const codes = [...readPage("docs/errors.md").matchAll(/^\| `([A-Z][A-Z0-9_]*)` \|/gm)];
  assert.ok(codes.length > 10);
  const lines = readPage("docs/troubleshooting.md");
  for (const [, code] of codes) assert.match(lines, new RegExp(`^\\| \`${code}\` \\|`, "m"));
});
