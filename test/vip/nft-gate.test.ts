// The kernel's gate on nftables, in namespaces of its own: the contract, and that the kernel needs no agent to stop answering.

import { setTimeout as pause } from "node:timers/promises";
import { NftSession } from "../../src/adapters/linux/nft-session.ts";
import { NftVipGate } from "../../src/adapters/linux/vip-gate.ts";
import { describeVipGate } from "../contract/vip-gate.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import { locateNft } from "./programs.ts";

const nft = await locateNft();
const skip = (await reasonToSkipLab()) || (nft.kind === "missing" ? nft.because : false);

describeVipGate(
  "NftVipGate",
  async () => {
    const lab = await NetworkLab.open();
    const node = await lab.namespace("node");
    const file = nft.kind === "found" ? nft.file : "nft";
    const session = new NftSession({ hostNetns: node.path, file });
    return {
      gate: new NftVipGate(session),
      pass: (ms) => pause(ms),
      stop: async () => {
        await session.close();
        await lab[Symbol.asyncDispose]();
      },
    };
  },
  skip,
);
