// The program of an older release, out of the history of the repository, with the packages of now. For tests of two releases beside each other.

import { execFileSync } from "node:child_process";
import { mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeAtExit } from "./child-program.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Where the sources of an older release are, or why there are none. */
export type OlderRelease =
  | { readonly kind: "found"; readonly folder: string }
  | { readonly kind: "missing"; readonly because: string };

/** Takes the sources of a commit out of the history, into a folder that goes when this process ends. */
export function openOlderRelease(commit: string): OlderRelease {
  const folder = mkdtempSync(join(tmpdir(), `galaxy-${commit}-`));
  removeAtExit(folder);
  try {
    const archive = execFileSync("git", ["archive", commit, "src", "package.json"], {
      cwd: root,
      maxBuffer: 256 * 1024 * 1024,
      stdio: ["ignore", "pipe", "pipe"],
    });
    execFileSync("tar", ["-x", "-C", folder], { input: archive });
  } catch (error) {
    const reason = String(error).split("\n")[1] ?? String(error);
    return { kind: "missing", because: `no history with the release of ${commit}: ${reason}` };
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return { kind: "found", folder };
}
