// What the node side asks of an SR-IOV network card: its virtual functions, and what the card does with each of them.

import type { FunctionFacts, FunctionSettings } from "../core/virtual-function.ts";

/** The functions of the cards of a host. Every method rejects with a WorldError (`NETWORK_READ_FAILED`, `NETWORK_CHANGE_FAILED`). */
export interface VirtualFunctions {
  /** The functions that the card has now; none for a device that is no such card. */
  list(pf: string): Promise<readonly FunctionFacts[]>;
  /** Makes up to `count` functions when there are none, and waits for their devices; leaves those that there are as they are. */
  ensure(pf: string, count: number): Promise<void>;
  /** Sets what is given of one function, and leaves the rest. */
  set(pf: string, index: number, settings: Partial<FunctionSettings>): Promise<void>;
}
