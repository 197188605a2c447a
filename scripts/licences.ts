// Lists the licences of every package that a release contains, and ends with 1 when one is not on the list of those that are accepted.
//   node scripts/licences.ts
//
// Which packages there are is said by the lockfile; `npm run sbom` writes the same as a bill of materials (CycloneDX).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** SPDX names. All of them let the programs be passed on under Apache-2.0, with their notices. */
const accepted = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "PSF-2.0",
  "Python-2.0",
  "Unlicense",
]);

/** Only used to make a release, but copied into it: the page has preact in it, the host programs are a copy of Bun. */
const alsoShipped = ["preact", "@oven/bun-linux-x64-baseline", "@oven/bun-linux-aarch64"];

/** A package of the release. */
export type Licensed = {
  readonly name: string;
  readonly version: string;
  /** SPDX expression; "" when it says nothing. */
  readonly licence: string;
  readonly isAccepted: boolean;
};

/** All of them, by name. */
export function licences(): readonly Licensed[] {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Readonly<
      Record<string, { version?: string; dev?: boolean; license?: string | readonly string[] }>
    >;
  };
  return Object.entries(packages)
    .flatMap(([path, { version = "", dev, license }]) => {
      const name = path.replace(/^.*node_modules\//, "");
      if (path === "" || (dev === true && !alsoShipped.includes(name))) return [];
      const licence = typeof license === "string" ? license : (license ?? []).join(" OR ");
      return [{ name, version, licence, isAccepted: isAccepted(licence) }];
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** One of alternatives is enough, all of what is joined by AND is needed (SPDX, annex D). */
export function isAccepted(expression: string): boolean {
  return expression
    .replaceAll(/[()]/g, "")
    .split(" OR ")
    .some((one) => one.split(" AND ").every((name) => accepted.has(name.trim())));
}

if (import.meta.main) {
  const all = licences();
  const width = Math.max(...all.map(({ name, version }) => name.length + version.length)) + 2;
  for (const { name, version, licence, isAccepted: isFine } of all) {
    const note = isFine ? "" : "  is not accepted; see scripts/licences.ts";
    console.log(`${`${name} ${version}`.padEnd(width)}${licence || "no licence"}${note}`);
  }
  const wrong = all.filter((one) => !one.isAccepted);
  console.log(`${all.length} packages, ${wrong.length} with a licence that is not accepted`);
  if (wrong.length > 0) process.exitCode = 1;
}
