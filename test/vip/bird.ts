// BIRD in the namespaces of the bed: the client is a router, each node its BGP neighbour that tells it the routes of protocol 157, as
// docs/vip.md says how to. It knows nothing of who should have an address.

import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import type { ChildProgram } from "../control-plane/child-program.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import type { LabNamespace, NetworkLab } from "../node/network-lab.ts";
import { locateBird } from "./programs.ts";

/** A node as BGP knows it. */
type Speaker = { readonly name: string; readonly namespace: LabNamespace; readonly ip: string };

const clientIp = "192.0.2.2";

/** Numbers of private use (RFC 6996). */
const clientAs = 64_512;
const nodeAs = 64_513;

/** One BIRD in each node and one in the client. */
export class BirdRouters implements AsyncDisposable {
  readonly #programs: ChildProgram[] = [];
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  static async start(
    lab: NetworkLab,
    client: LabNamespace,
    nodes: readonly Speaker[],
  ): Promise<BirdRouters> {
    const bird = await locateBird();
    if (bird.kind === "missing") throw new Error(bird.because);
    const folder = join(lab.folder, "bird");
    await mkdir(folder, { recursive: true });
    const routers = new BirdRouters(join(folder, "client.sock"));
    const begin = async (name: string, namespace: LabNamespace, config: string) => {
      const file = join(folder, `${name}.conf`);
      const logFile = join(folder, `${name}.log`);
      const socket = join(folder, `${name}.sock`);
      await writeFile(file, config);
      const words = ["-f", "-c", file, "-s", socket, "-P", join(folder, `${name}.pid`)];
      const args = [`--net=${namespace.path}`, "--", bird.file, ...words];
      const program = startProgram({ name: `bird of ${name}`, file: "nsenter", args, logFile });
      routers.#programs.push(program);
      await waitForProgram(program, async () => {
        const said = await ask(socket, "show status").catch(() => "");
        return said.includes("up and running") || tailOf(logFile).includes("up and running");
      });
    };
    try {
      await begin("client", client, clientConfig(nodes));
      for (const node of nodes) await begin(node.name, node.namespace, nodeConfig(node));
    } catch (error) {
      await routers[Symbol.asyncDispose]();
      throw error;
    }
    return routers;
  }

  /** What the client's BIRD knows of the ways to an address: the next hops. */
  async hopsTo(ip: string): Promise<readonly string[]> {
    const prefix = ip.includes(":") ? `${ip}/128` : `${ip}/32`;
    const table = ip.includes(":") ? "master6" : "master4";
    const said = await ask(this.#socket, `show route for ${prefix} table ${table} all`);
    return [...said.matchAll(/\bvia (\S+) on/g)].map(([, hop = ""]) => hop);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#programs.map((program) => program.stop("SIGKILL")));
  }
}

/** Timers are those of a network that wants to converge within a second; nothing hangs on them once the sessions stand. */
const times = "connect delay time 1; connect retry time 1; error wait time 1, 2;";

function clientConfig(nodes: readonly Speaker[]): string {
  const peers = nodes.map(
    ({ ip, name }) => `protocol bgp node_${name} {
  local ${clientIp} as ${clientAs}; neighbor ${ip} as ${nodeAs}; ${times}
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}`,
  );
  return [`router id ${clientIp};`, "protocol device { }", ...peers, ""].join("\n");
}

function nodeConfig({ ip }: Speaker): string {
  const number = ip.split(".").at(-1) ?? "";
  return `router id ${ip};
protocol device { }
protocol kernel kernel4 { learn; scan time 1; ipv4 { import where krt_source = 157; export none; }; }
protocol kernel kernel6 { learn; scan time 1; ipv6 { import where krt_source = 157; export none; }; }
protocol bgp to_client {
  local ${ip} as ${nodeAs}; neighbor ${clientIp} as ${clientAs}; ${times}
  ipv4 { import none; export where source = RTS_INHERIT; next hop self; };
  ipv6 { import none; export where source = RTS_INHERIT; next hop address 2001:db8::${number}; };
}
`;
}

/** Asks a BIRD over its control socket; its answer without the greeting. */
async function ask(socket: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket);
    let said = "";
    connection.setEncoding("utf8");
    connection.once("error", reject);
    connection.once("connect", () => connection.write(`${question}\n`));
    connection.on("data", (text: string) => {
      said += text;
      // Lines that end an answer have a blank behind the number; the greeting is 0001.
      const isWhole = /^(?!0001)\d{4} /m.test(said) && said.endsWith("\n");
      if (isWhole) connection.end();
    });
    connection.once("close", () => resolve(said));
  });
}
