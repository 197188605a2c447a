// The VirtualFunctions port on sysfs (Documentation/ABI/testing/sysfs-bus-pci: sriov_totalvfs, sriov_numvfs, virtfnN) and `ip link set … vf`.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { FunctionFacts, FunctionSettings } from "../../core/virtual-function.ts";
import type { VirtualFunctions } from "../../ports/virtual-functions.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, valueAt } from "../../wire/json-value.ts";
import { runProgram } from "./child-program.ts";

const limitMs = 20_000;
/** Drivers make the devices of new functions after the number was written. */
const appearLimitMs = 10_000;
const pollMs = 50;

/** Cards of this host. */
export class SysfsFunctions implements VirtualFunctions {
  readonly #root: string;
  readonly #ip: readonly [string, ...string[]];

  /** @param options `hostNetns`: path of the namespace that counts as the host; `root`: where sysfs is; `ip`: the program */
  constructor(
    options: { readonly hostNetns?: string; readonly root?: string; readonly ip?: string } = {},
  ) {
    const { hostNetns, root = "/sys", ip = "ip" } = options;
    this.#root = root;
    this.#ip = hostNetns === undefined ? [ip] : ["nsenter", `--net=${hostNetns}`, "--", ip];
  }

  async list(pf: string): Promise<readonly FunctionFacts[]> {
    const folder = this.#folder(pf);
    const count = await numberIn(join(folder, "sriov_numvfs"));
    if (count === 0) return [];
    const settings = await this.#settings(pf);
    return Promise.all(
      Array.from({ length: count }, async (_, index): Promise<FunctionFacts> => {
        const [link = ""] = await readdir(join(folder, `virtfn${index}`, "net")).catch(() => []);
        return { pf, index, link, ...(settings.get(index) ?? unknown) };
      }),
    );
  }

  async ensure(pf: string, count: number): Promise<void> {
    const folder = this.#folder(pf);
    const file = join(folder, "sriov_numvfs");
    const total = await numberIn(join(folder, "sriov_totalvfs"));
    const wanted = Math.min(total, count);
    if (wanted === 0 || (await numberIn(file)) > 0) return;
    const tried = `make ${wanted} virtual functions of ${pf}`;
    try {
      await writeFile(file, String(wanted));
    } catch (error) {
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried,
        message: `${error instanceof Error ? error.message : String(error)}; write the number to ${file} when the node starts`,
        cause: error,
      });
    }
    for (const deadlineMs = performance.now() + appearLimitMs; ; ) {
      const functions = await this.list(pf);
      // A driver may be missing for all of them, and then ADD says that none is free.
      if (functions.length >= wanted && functions.every(({ link }) => link !== "")) return;
      if (performance.now() >= deadlineMs) return;
      await pause(pollMs);
    }
  }

  async set(pf: string, index: number, settings: Partial<FunctionSettings>): Promise<void> {
    const { vlan, mac, spoofCheck, trust } = settings;
    const onOff = (value: boolean) => (value ? "on" : "off");
    // One by one: not every driver can do everything, and the message says which it cannot.
    for (const [what, value] of [
      ["mac", mac],
      ["vlan", vlan === undefined ? undefined : String(vlan)],
      ["spoofchk", spoofCheck === undefined ? undefined : onOff(spoofCheck)],
      ["trust", trust === undefined ? undefined : onOff(trust)],
    ] as const) {
      if (value === undefined) continue;
      const args = ["link", "set", "dev", pf, "vf", String(index), what, value];
      const end = await this.#run(args);
      if (end.exitCode === 0) continue;
      throw new WorldError("NETWORK_CHANGE_FAILED", {
        tried: `set ${what} ${value} of virtual function ${index} of ${pf}`,
        message: `ip ${args.join(" ")}: ${end.stderr.trim()}; see what the driver of ${pf} supports`,
      });
    }
  }

  /** What `ip link show` says of each function. */
  async #settings(pf: string): Promise<Map<number, FunctionSettings>> {
    const end = await this.#run(["-json", "-details", "link", "show", "dev", pf]);
    if (end.exitCode !== 0) {
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `read the virtual functions of ${pf}`,
        message: `ip link show dev ${pf}: ${end.stderr.trim()}`,
      });
    }
    const [link] = asList(JSON.parse(end.stdout) as unknown);
    const settings = new Map<number, FunctionSettings>();
    for (const item of asList(valueAt(link, "vfinfo_list"))) {
      const index = valueAt(item, "vf");
      if (typeof index !== "number") continue;
      const [tag] = asList(valueAt(item, "vlan_list"));
      const vlan = valueAt(tag, "vlan");
      // Versions of iproute2 differ in the name of the MAC.
      const mac = asText(valueAt(item, "address")) ?? asText(valueAt(item, "mac")) ?? "";
      const flag = (name: string) => {
        const value = valueAt(item, name);
        return typeof value === "boolean" ? value : undefined;
      };
      settings.set(index, {
        vlan: typeof vlan === "number" ? vlan : 0,
        mac,
        spoofCheck: flag("spoofchk"),
        trust: flag("trust"),
      });
    }
    return settings;
  }

  #folder(pf: string): string {
    if (pf.includes("/") || pf.startsWith(".")) throw new TypeError(`"${pf}" is no device name`);
    return join(this.#root, "class", "net", pf, "device");
  }

  #run(args: readonly string[]) {
    const [file, ...before] = this.#ip;
    return runProgram({ file, args: [...before, ...args], limitMs });
  }
}

const unknown: FunctionSettings = { vlan: 0, mac: "", spoofCheck: undefined, trust: undefined };

async function numberIn(file: string): Promise<number> {
  const text = await readFile(file, "utf8").catch(() => "0");
  const value = Number(text.trim());
  return Number.isInteger(value) && value > 0 ? value : 0;
}
