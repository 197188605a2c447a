// CPU time of processes and of this thread: unlike the time of day it does not depend on what else the machine does.

import { readFileSync } from "node:fs";

/** CPU of a process so far in milliseconds (Linux: fields 14 and 15 of /proc/PID/stat, in hundredths of a second). */
export function processCpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/**
 * CPU of this process's main thread so far in milliseconds, to be asked from another thread (Linux: the first field of schedstat, in
 * nanoseconds).
 */
export function mainThreadCpuMs(): number {
  const text = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8");
  return Number(text.slice(0, text.indexOf(" "))) / 1e6;
}

/** CPU of this thread so far in milliseconds. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
