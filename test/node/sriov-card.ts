// A network card with virtual functions for tests, where no machine has one: a sysfs tree in a folder, an `ip` that knows `vf`, and a veth pair for
// each function, whose other end is on the outside's switch. What a card does with VLANs and MACs itself is not modelled.

import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FunctionNetwork } from "../../src/adapters/linux/function-network.ts";
import { SysfsFunctions } from "../../src/adapters/linux/sysfs-functions.ts";
import type { HostNetwork } from "../../src/ports/host-network.ts";
import type { LabNamespace, NetworkLab } from "./network-lab.ts";

/** Keeps what is set of functions in files, and shows it as iproute2 does. */
const ipScript = `#!/bin/sh
state="$(dirname "$0")/state"
if [ "$2" = set ]; then
  # ip link set dev PF vf N WHAT VALUE
  echo "$8" > "$state/$6.$7"
  exit 0
fi
list=
for number in 0 1 2 3; do
  vlan=$(cat "$state/$number.vlan"); spoof=$(cat "$state/$number.spoofchk"); trust=$(cat "$state/$number.trust")
  [ "$spoof" = on ] && spoof=true || spoof=false
  [ "$trust" = on ] && trust=true || trust=false
  list="$list{\\"vf\\":$number,\\"address\\":\\"$(cat "$state/$number.mac")\\",\\"vlan_list\\":[{\\"vlan\\":$vlan}],\\"spoofchk\\":$spoof,\\"trust\\":$trust},"
done
echo "[{\\"ifname\\":\\"eth0\\",\\"vfinfo_list\\":[\${list%,}]}]"
`;

/** eth0 of a node as a card with four functions. */
export class CardForTests {
  readonly #folder: string;
  readonly #node: LabNamespace;

  private constructor(folder: string, node: LabNamespace) {
    this.#folder = folder;
    this.#node = node;
  }

  static async plugInto(lab: NetworkLab, node: LabNamespace, outside: LabNamespace) {
    const card = new CardForTests(join(lab.folder, `card-${node.name}`), node);
    const device = join(card.#folder, "class", "net", "eth0", "device");
    const state = join(card.#folder, "state");
    await mkdir(state, { recursive: true });
    for (const number of [0, 1, 2, 3]) {
      await mkdir(join(device, `virtfn${number}`, "net", `vf${number}`), { recursive: true });
      await node.ip(
        `link add vf${number} mtu 1500 type veth peer name port${number} netns ${outside.path}`,
      );
      await outside.ip(`link set port${number} master br0 up`);
      const initial = { vlan: "0", mac: "00:00:00:00:00:00", spoofchk: "on", trust: "off" };
      for (const [name, value] of Object.entries(initial)) {
        await writeFile(join(state, `${number}.${name}`), `${value}\n`);
      }
    }
    await writeFile(join(device, "sriov_totalvfs"), "4\n");
    await writeFile(join(device, "sriov_numvfs"), "0\n");
    await writeFile(join(card.#folder, "ip"), ipScript);
    await chmod(join(card.#folder, "ip"), 0o755);
    return card;
  }

  /** The product's own view of the card, on top of the network of its node. */
  extend(network: HostNetwork): HostNetwork {
    const host = { hostNetns: this.#node.path };
    const places = { root: this.#folder, ip: join(this.#folder, "ip") };
    return new FunctionNetwork(network, new SysfsFunctions({ ...host, ...places }), host);
  }

  /** VLAN, MAC, spoof check and trust of a function, as they were set last. */
  async settings(number: number): Promise<readonly string[]> {
    const names = ["vlan", "mac", "spoofchk", "trust"];
    return Promise.all(
      names.map(async (name) => {
        const text = await readFile(join(this.#folder, "state", `${number}.${name}`), "utf8");
        return text.trim();
      }),
    );
  }
}
