// Virtual addresses in the address space: each has a record of its own, so that it is never a pod's address too. Made through the one
// writer, like every other record; who holds a virtual address is not said here.

import type { Ip } from "../core/ip.ts";
import type { Owner } from "../core/owner.ts";
import { describeOwner } from "../core/owner.ts";
import { vipOwnerKey } from "../core/vip.ts";
import type { KeepOutcome, VipAddresses } from "../ports/vip-addresses.ts";
import type { Allocator } from "./allocator.ts";

/** Keeps addresses for virtual use, also those that no configuration lists yet: it may list them later. */
export class VipAddressRecords implements VipAddresses {
  readonly #allocator: Allocator;

  constructor(allocator: Allocator) {
    this.#allocator = allocator;
  }

  async keep(ip: Ip): Promise<KeepOutcome> {
    const allocator = this.#allocator;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const found = allocator.view.get(ip);
    if (found !== undefined) {
      return isOurs(found.owner)
        ? { kind: "kept" }
        : { kind: "in use", by: describeOwner(found.owner) };
    }
    const outcome = await allocator.take({
      addresses: [{ ip, from: "free" }],
      owner: { kind: "admin", key: vipOwnerKey },
      policy: "never",
      podUid: "",
      nodeName: "",
    });
    // Promised to a pod that is being scheduled, or carried by one that has no record yet.
    return outcome.kind === "taken" ? { kind: "kept" } : { kind: "busy" };
  }

  async giveBack(ip: Ip): Promise<void> {
    const allocator = this.#allocator;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const found = allocator.view.get(ip);
    if (found === undefined || !isOurs(found.owner)) return;
    await allocator.release(found, "no pod claims it as a virtual address");
  }
}

function isOurs(owner: Owner): boolean {
  return owner.kind === "admin" && owner.key === vipOwnerKey;
}
