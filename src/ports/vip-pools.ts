// Pools of virtual addresses as operators wrote them, and what is told of them in return. Which addresses may be claimed is VipClaims' affair.

import type { VipPoolSight, VipPoolStatus } from "../core/vip-pool-status.ts";

/** Pools as last seen. */
export interface VipPools {
  /** All, by name. */
  sights(): readonly VipPoolSight[];
  /**
   * Writes the status of a pool. `stale`: it changed or went meanwhile, and what it is now is seen sooner or later. Rejections are
   * WorldErrors.
   */
  tell(name: string, status: VipPoolStatus): Promise<"told" | "stale">;
}
