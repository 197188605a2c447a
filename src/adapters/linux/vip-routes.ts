// Routes and neighbour proxies of virtual addresses with iproute2, and what netlink-vip-routes.ts has in common with it. Knows by their
// protocols which are ours; which there should be is not its affair.

import type { Ip } from "../../core/ip.ts";
import { parseIp } from "../../core/ip.ts";
import { asList, textAt, valueAt } from "../../wire/json-value.ts";
import { runProgram } from "./child-program.ts";
import { familyDigit } from "./vip-rules.ts";
import { offeredProtocol } from "./vip-speaker.ts";

/** Protocol of our routes and neighbour proxies that are offered to nobody. */
export const ownProtocol = 158;

/** Where the kernel sends packets to an address. `onlink`: the next hop is taken to be on the device, whatever routes say. */
export type VipRoute =
  | { readonly kind: "unreachable" }
  | {
      readonly kind: "device";
      readonly dev: string;
      readonly via?: Ip;
      readonly isOnlink?: boolean;
    };

/** What is to become of an address, each in place of what there was. `no …`: it is no failure when there is none. */
export type RouteChange =
  | {
      readonly do: "route";
      readonly ip: Ip;
      readonly route: VipRoute;
      readonly protocol: number;
    }
  | { readonly do: "no route"; readonly ip: Ip }
  | { readonly do: "proxy" | "no proxy"; readonly ip: Ip; readonly dev: string };

/** What of ours the kernel has. */
export type RouteFacts = {
  readonly routes: readonly {
    readonly ip: Ip;
    readonly route: VipRoute;
    readonly protocol: number;
  }[];
  readonly proxies: readonly { readonly ip: Ip; readonly dev: string }[];
};

/** Where the kernel sends packets to an address of a pod or node. */
export type Way = { readonly dev: string; readonly via: Ip | undefined };

/** Routes and proxies of one node. Rejects with a WorldError where nothing can be asked or changed at all. */
export interface VipRoutes {
  /** The ways to these addresses; those that the node cannot reach, or that are its own, are left out. */
  waysTo(ips: readonly Ip[]): Promise<ReadonlyMap<Ip, Way>>;
  /** Makes all changes in their order, those behind one that fails too. @returns what failed, in words; "" when all was done */
  change(changes: readonly RouteChange[]): Promise<string>;
  list(): Promise<RouteFacts>;
}

const families = ["4", "6"] as const;
const limitMs = 10_000;

/** Each call is a process, or two when both families are asked for. */
export class IprouteVipRoutes implements VipRoutes {
  readonly #hostNetns: string | undefined;

  /** @param options `hostNetns`: path of the namespace to work in, when it is not that of this process */
  constructor(options: { readonly hostNetns?: string } = {}) {
    this.#hostNetns = options.hostNetns;
  }

  async waysTo(ips: readonly Ip[]): Promise<ReadonlyMap<Ip, Way>> {
    const answers = await this.#each((n) =>
      ips.filter((ip) => familyDigit(ip) === n).map((ip) => `route get ${ip}`),
    );
    const ways = new Map<Ip, Way>();
    for (const [answer] of listsIn(answers.map(({ stdout }) => stdout).join(""))) {
      const ip = parseIp(textAt(answer, "dst") ?? "");
      const dev = textAt(answer, "dev");
      if (ip === undefined || dev === undefined || dev === "lo") continue;
      ways.set(ip, { dev, via: parseIp(textAt(answer, "gateway") ?? "") });
    }
    return ways;
  }

  async change(changes: readonly RouteChange[]): Promise<string> {
    const ends = await this.#each((n) =>
      changes.filter(({ ip }) => familyDigit(ip) === n).map(lineOf),
    );
    // It numbers the lines that failed; those that remove may.
    return ends
      .flatMap(({ lines, stderr }) =>
        stderr.split(/(?<=Command failed [^\n]*\n)/).flatMap((text) => {
          const number = /Command failed [^\n]*:(\d+)/.exec(text)?.[1];
          const line = number === undefined ? undefined : lines[Number(number) - 1];
          return text.trim() === "" || / del /.test(line ?? "")
            ? []
            : [`${line ?? ""}: ${text.split("\n")[0]}`];
        }),
      )
      .join("; ");
  }

  async list(): Promise<RouteFacts> {
    const routes: RouteFacts["routes"][number][] = [];
    const proxies: RouteFacts["proxies"][number][] = [];
    const ends = await this.#each(() => [
      `route show proto ${ownProtocol}`,
      `route show proto ${offeredProtocol}`,
      "neigh show proxy",
    ]);
    for (const { stdout } of ends) {
      const [own = [], offered = [], neighbours = []] = listsIn(stdout);
      for (const [protocol, list] of [
        [ownProtocol, own],
        [offeredProtocol, offered],
      ] as const) {
        for (const item of list) {
          const ip = parseIp((textAt(item, "dst") ?? "").replace(/\/(?:32|128)$/, ""));
          if (ip !== undefined) routes.push({ ip, route: routeOf(item), protocol });
        }
      }
      for (const item of neighbours) {
        const ip = parseIp(textAt(item, "dst") ?? "");
        // A number or its text, by the version of iproute2.
        const protocol = JSON.stringify(valueAt(item, "protocol") ?? "");
        if (ip === undefined || !protocol.includes(`${ownProtocol}`)) continue;
        proxies.push({ ip, dev: textAt(item, "dev") ?? "" });
      }
    }
    return { routes, proxies };
  }

  /** One process for each family that there is something to say to. */
  async #each(linesOf: (family: "4" | "6") => readonly string[]) {
    const ends = await Promise.all(
      families.map(async (n) => {
        const lines = linesOf(n);
        if (lines.length === 0) return undefined;
        const words = [`-${n}`, "-N", "-json", "-force", "-batch", "-"];
        const input = lines.map((line) => `${line}\n`).join("");
        const call =
          this.#hostNetns === undefined
            ? { file: "ip", args: words }
            : { file: "nsenter", args: [`--net=${this.#hostNetns}`, "--", "ip", ...words] };
        return { lines, ...(await runProgram({ ...call, input, limitMs })) };
      }),
    );
    return ends.filter((end) => end !== undefined);
  }
}

/** What each line of input was answered with. */
function listsIn(text: string): readonly (readonly unknown[])[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("["))
    .map((line) => asList(JSON.parse(line) as unknown));
}

/** `type` is a word or a number, by the version of iproute2. */
function routeOf(item: unknown): VipRoute {
  if (["7", "unreachable"].includes(textAt(item, "type") ?? "")) return { kind: "unreachable" };
  const via = parseIp(textAt(item, "gateway") ?? "");
  const isOnlink = asList(valueAt(item, "flags")).includes("onlink");
  return {
    kind: "device",
    dev: textAt(item, "dev") ?? "",
    ...(via === undefined ? {} : { via }),
    ...(isOnlink ? { isOnlink } : {}),
  };
}

function lineOf(change: RouteChange): string {
  const { ip } = change;
  switch (change.do) {
    case "no route":
      return `route del ${ip}`;
    case "proxy":
      return `neigh replace proxy ${ip} dev ${change.dev} protocol ${ownProtocol}`;
    case "no proxy":
      return `neigh del proxy ${ip} dev ${change.dev}`;
    case "route": {
      const { protocol, route } = change;
      if (route.kind === "unreachable") {
        return `route replace unreachable ${ip} proto ${protocol}`;
      }
      const via = route.via === undefined ? "" : ` via ${route.via}`;
      const onlink = route.isOnlink === true ? " onlink" : "";
      return `route replace ${ip}${via} dev ${route.dev}${onlink} proto ${protocol}`;
    }
  }
}
