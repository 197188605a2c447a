// Virtual functions (VFs) of SR-IOV network cards as plain facts: a card that is several, each of which a pod can have. How they are read and set
// is the business of the VirtualFunctions port.

/** What the card does with the frames of a function. Undefined: not known, or left as it is. */
export type FunctionSettings = {
  /** 0 is untagged; others are tagged and untagged by the card, unseen by the pod. */
  readonly vlan: number;
  readonly mac: string;
  /** Whether the card drops frames with another MAC. */
  readonly spoofCheck: boolean | undefined;
  /** Whether the function may ask for more than its own frames, such as promiscuous mode. */
  readonly trust: boolean | undefined;
};

/** A function of a card. */
export type FunctionFacts = FunctionSettings & {
  /** The card's own device (physical function). */
  readonly pf: string;
  readonly index: number;
  /** Name of its device in the host's namespace; "" while it is somewhere else, or has none. */
  readonly link: string;
};

/** Whether the settings are as wished; what is left as it is, is. */
export function hasSettings(facts: FunctionSettings, wish: Partial<FunctionSettings>): boolean {
  return (
    (wish.vlan === undefined || facts.vlan === wish.vlan) &&
    (wish.mac === undefined || facts.mac === wish.mac) &&
    (wish.spoofCheck === undefined || facts.spoofCheck === wish.spoofCheck) &&
    (wish.trust === undefined || facts.trust === wish.trust)
  );
}
