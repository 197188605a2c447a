// Completes package-lock.json with the platform packages that a partial registry could not describe.
// Not an installer: it adds entries that npm skips on every other platform, and changes nothing else.
//
// `npm ci` calls a lockfile out of sync when one optional dependency of one package has no entry, and
// `npm install` leaves out those whose registry does not carry them (a mirror with Linux only). The
// entries carry version, os, cpu and libc, which is all npm needs to skip them elsewhere; on the
// platform itself npm downloads them without a recorded hash.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface LockEntry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

interface Lockfile {
  packages: Record<string, LockEntry>;
}

const OPERATING_SYSTEMS = [
  "darwin",
  "win32",
  "android",
  "freebsd",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "aix",
  "linux",
];
// The longest names first: "arm64" must not be read as "arm".
const PROCESSORS = [
  "arm64",
  "loong64",
  "mips64el",
  "ppc64",
  "riscv64",
  "s390x",
  "ia32",
  "x64",
  "arm",
];

/**
 * The platform fields of a platform package, read from its name, which is all that is known of it:
 * `@oxlint/binding-linux-x64-musl` is linux, x64, musl.
 * Throws when the name tells no operating system or no processor.
 */
function platformOf(name: string): { os: string; cpu: string; libc: string | undefined } {
  const os = OPERATING_SYSTEMS.find((word) => name.includes(word));
  const cpu = PROCESSORS.find((word) => name.includes(word));
  if (os === undefined || cpu === undefined) {
    throw new Error(
      `the lockfile has no entry for ${name} and its name tells no platform; add the entry by hand`,
    );
  }
  if (name.includes("musl")) return { os, cpu, libc: "musl" };
  return { os, cpu, libc: os === "linux" && name.includes("gnu") ? "glibc" : undefined };
}

const path = fileURLToPath(new URL("../package-lock.json", import.meta.url));
const lockfile = JSON.parse(readFileSync(path, "utf8")) as Lockfile;
const added: string[] = [];
for (const entry of Object.values(lockfile.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lockfile.packages[key] !== undefined) continue;
    const platform = platformOf(name);
    const exact = version.replace(/^[~^]/, "");
    lockfile.packages[key] = {
      // The order in which npm itself writes the fields, so that its next run changes nothing.
      version: exact,
      cpu: [platform.cpu],
      ...(entry.dev === true ? { dev: true } : {}),
      ...(platform.libc === undefined ? {} : { libc: [platform.libc] }),
      optional: true,
      os: [platform.os],
    };
    added.push(`${name}@${exact}`);
  }
}
const sorted = Object.entries(lockfile.packages).toSorted(([a], [b]) => a.localeCompare(b, "en"));
lockfile.packages = Object.fromEntries(sorted);
writeFileSync(path, `${JSON.stringify(lockfile, null, 2)}\n`);
console.log(added.length === 0 ? "package-lock.json is complete" : `added ${added.join(", ")}`);
