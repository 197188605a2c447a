// Whether a node may go on answering for an address of a pool that holds although it does not reach the API server. The other half, when a
// controller may take over, is vip-quorum.ts; why both cannot be is in docs/design/vip.md.

/** What one voter said. `knowsLater`: of a later epoch of the address. */
export type HoldWord = {
  readonly from: string;
  readonly reachesApi: boolean;
  readonly knowsLater: boolean;
};

/**
 * Whether the words let a node hold on: a majority of the voters gave one, this node among them if it is a voter; nobody reaches the API
 * server; nobody knows of a later epoch. Words of others than voters do not count for it, but one that says no is heard.
 * @param nodeName this node, which does not reach the API server itself
 */
export function mayHoldOn(
  nodeName: string,
  voters: readonly string[],
  words: readonly HoldWord[],
): boolean {
  if (words.some(({ reachesApi, knowsLater }) => reachesApi || knowsLater)) return false;
  const heard = new Set([nodeName, ...words.map(({ from }) => from)]);
  return voters.filter((voter) => heard.has(voter)).length > voters.length / 2;
}
