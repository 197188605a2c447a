// Finds out whether the machine's kubectl can do what docs/install.md asks of it. Nothing is fetched: Debian's kubectl is too old.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** False where a kubectl with a kustomize that knows components is in the PATH, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkipKubectl(): Promise<string | false> {
  let text: string;
  try {
    ({ stdout: text } = await promisify(execFile)("kubectl", [
      "version",
      "--client",
      "-o",
      "json",
    ]));
  } catch (error) {
    return `no kubectl in the PATH (${String(error).split("\n")[0]}); install 1.21 or later`;
  }
  const minor = Number(/"minor": *"(\d+)/.exec(text)?.[1]);
  return minor >= 21 ? false : `kubectl is of 1.${minor}; install 1.21 or later`;
}
