// Who calls the HTTP API, and whether they may: answered by whoever knows the users. What an operation needs is said in wire/api.

/** A verb on a resource of galaxy.k8s.io, asked for by the bearer of a token. */
export type AccessQuestion = {
  readonly token: string;
  readonly verb: string;
  readonly resource: string;
};

/**
 * - `allowed`, `forbidden`: the token is good; `user` is its name, for the log
 * - `unauthenticated`: the token is wrong, expired or revoked
 * - `busy`: too many tokens are asked about at this moment; ask again
 * - `unavailable`: the answer cannot be had now; why stands in the log
 */
export type AccessVerdict =
  | { readonly kind: "allowed"; readonly user: string }
  | { readonly kind: "forbidden"; readonly user: string }
  | { readonly kind: "unauthenticated" }
  | { readonly kind: "busy" }
  | { readonly kind: "unavailable" };

/** Answers may be as old as the adapter says; never rejects. */
export interface AccessReview {
  review(question: AccessQuestion): Promise<AccessVerdict>;
}
