// Whether a path is a network namespace. Pods' namespaces are named by path (`/var/run/netns/…`, `/proc/PID/ns/net`) and vanish.

import { statfsSync, statSync } from "node:fs";
import { WorldError } from "../../ports/world-error.ts";

/** NSFS_MAGIC of linux/magic.h: what statfs says of namespace files. */
const namespaceFileSystem = 0x6e736673;

/** What is at the path: `gone` also for a leftover file on which no namespace is mounted any more. */
export function namespaceAt(path: string): "present" | "gone" {
  try {
    return statfsSync(path).type === namespaceFileSystem ? "present" : "gone";
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ESRCH") return "gone";
    throw new WorldError("NETWORK_READ_FAILED", {
      tried: `look at network namespace ${path}`,
      message: `${error instanceof Error ? error.message : String(error)}; check that the daemon sees the runtime's namespaces`,
      cause: error,
    });
  }
}

/** Whether both paths are one namespace. */
export function isSameNamespace(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)];
  return a.ino === b.ino && a.dev === b.dev;
}
