// Who calls the HTTP API, and whether they may: answered by whoever knows the users. What an operation needs is said in wire/api.

/**
 * Who asks. A token is still to be asked about; of a certificate its checker knows already whose it is: the user is its common name, the
 * groups its organizations, as Kubernetes reads them.
 */
export type Caller =
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "certificate"; readonly user: string; readonly groups: readonly string[] };

/** A verb on a resource of galaxy.k8s.io, asked for by a caller. */
export type AccessQuestion = {
  readonly caller: Caller;
  readonly verb: string;
  readonly resource: string;
};

/**
 * - `allowed`, `forbidden`: the caller is known; `user` is its name, for the log
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
