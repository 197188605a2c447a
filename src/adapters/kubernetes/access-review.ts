// AccessReview by TokenReview and SubjectAccessReview of the API server, with short memory. It decides nothing itself: an answer that
// cannot be had is not a yes.

import { createHash } from "node:crypto";
import type {
  AccessQuestion,
  AccessReview,
  AccessVerdict,
  Caller,
} from "../../ports/access-review.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { galaxyGroup } from "../../wire/established-names.ts";
import type { JsonObject } from "../../wire/json-value.ts";
import { asObject, textAt, valueAt } from "../../wire/json-value.ts";
import type { ApiClient } from "./api-client.ts";
import { parseAnswer } from "./api-client.ts";
import { RateLimit } from "./rate-limit.ts";

/** What the review needs; times in milliseconds. */
export type KubernetesAccessReviewOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  /** How long a yes is believed: a token that was revoked or a right that was taken away works so much longer. Default 10 s. */
  readonly yesMs?: number;
  /** How long a no is believed: a right that was granted works so much later. Default 2 s. */
  readonly noMs?: number;
  /** Unknown tokens asked about per second over a longer time, and at once. Defaults 20 and 100. */
  readonly perSecond?: number;
  readonly burst?: number;
  /** Most answers that are remembered of each kind. Default 2,000. */
  readonly capacity?: number;
  /** Milliseconds on any scale that does not go back. */
  readonly nowMs?: () => number;
};

/** Time limit of one review: a caller waits for two of them at most. */
const reviewLimitMs = 3_000;

/** A token that was good within this time is asked about again however many unknown ones are: a flood of those locks out nobody known. */
const knownMs = 600_000;

/** A user as the TokenReview describes it; handed on to the SubjectAccessReview as it is. */
type User = { readonly name: string; readonly text: string; readonly spec: JsonObject };

/** An answer with its end; `undefined`: the token is not good. */
type Remembered<T> = { readonly answer: Promise<T>; untilMs: number };

/** Asks the API server. */
export class KubernetesAccessReview implements AccessReview {
  readonly #options: KubernetesAccessReviewOptions;
  readonly #limit: RateLimit;
  readonly #yesMs: number;
  readonly #noMs: number;
  readonly #capacity: number;
  readonly #nowMs: () => number;
  /** By digest: the tokens themselves are not kept. The maps are in the order of their last renewal. */
  readonly #users = new Map<string, Remembered<User | undefined>>();
  readonly #rights = new Map<string, Remembered<boolean>>();
  /** Digests of tokens that were good, with the time until which that counts. */
  readonly #known = new Map<string, number>();

  constructor(options: KubernetesAccessReviewOptions) {
    this.#options = options;
    this.#limit = new RateLimit({
      perSecond: options.perSecond ?? 20,
      burst: options.burst ?? 100,
    });
    this.#yesMs = options.yesMs ?? 10_000;
    this.#noMs = options.noMs ?? 2_000;
    this.#capacity = options.capacity ?? 2_000;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  async review({ caller, verb, resource }: AccessQuestion): Promise<AccessVerdict> {
    try {
      const user = await this.#whoIs(caller);
      if (user === "busy") return { kind: "busy" };
      if (user === undefined) return { kind: "unauthenticated" };
      const isAllowed = await this.#mayDo(user, verb, resource);
      return { kind: isAllowed ? "allowed" : "forbidden", user: user.name };
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      this.#options.log.warn("permission of a caller could not be checked", {}, error);
      return { kind: "unavailable" };
    }
  }

  async #whoIs(caller: Caller): Promise<User | undefined | "busy"> {
    if (caller.kind === "certificate") return userOfCertificate(caller);
    const digest = createHash("sha256").update(caller.token).digest("base64");
    return this.#mustWait(digest) ? "busy" : await this.#userOf(digest, caller.token);
  }

  /** Whether the API server would be asked about a token of which nothing good is known, and was asked enough already. */
  #mustWait(digest: string): boolean {
    const nowMs = this.#nowMs();
    if ((this.#users.get(digest)?.untilMs ?? 0) > nowMs) return false;
    if ((this.#known.get(digest) ?? 0) > nowMs) return false;
    return this.#limit.take(nowMs, 0) === undefined;
  }

  #userOf(digest: string, token: string): Promise<User | undefined> {
    return this.#remembered(this.#users, digest, async () => {
      const user = userOfReview(
        await this.#ask("/apis/authentication.k8s.io/v1/tokenreviews", {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenReview",
          spec: { token },
        }),
      );
      if (user !== undefined) {
        enter(this.#known, digest, this.#nowMs() + knownMs, this.#capacity);
      } else {
        this.#known.delete(digest);
      }
      return user;
    });
  }

  #mayDo(user: User, verb: string, resource: string): Promise<boolean> {
    return this.#remembered(this.#rights, `${verb} ${resource} ${user.text}`, async () => {
      const review = await this.#ask("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { ...user.spec, resourceAttributes: { group: galaxyGroup, resource, verb } },
      });
      return valueAt(review, "status", "allowed") === true;
    });
  }

  /** The answer of a short while ago, or that of `ask`; who asks the same at the same time shares it. Failures are not remembered. */
  #remembered<T>(map: Map<string, Remembered<T>>, key: string, ask: () => Promise<T>): Promise<T> {
    const found = map.get(key);
    if (found !== undefined && found.untilMs > this.#nowMs()) return found.answer;
    const entry: Remembered<T> = { answer: ask(), untilMs: Number.POSITIVE_INFINITY };
    enter(map, key, entry, this.#capacity);
    entry.answer.then(
      (answer) => {
        const isYes = answer !== undefined && answer !== false;
        entry.untilMs = this.#nowMs() + (isYes ? this.#yesMs : this.#noMs);
      },
      () => {
        if (map.get(key) === entry) map.delete(key);
      },
    );
    return entry.answer;
  }

  /** Asking changes nothing: a kept connection that broke under the question is no answer, and it is asked once more. */
  async #ask(path: string, body: JsonObject): Promise<unknown> {
    const tried = `ask for a ${String(body["kind"])}`;
    const post = async () => {
      const answer = await this.#options.client.write({
        method: "POST",
        path,
        body,
        tried,
        timeLimitMs: reviewLimitMs,
      });
      if (answer.kind === "done") return parseAnswer(answer.text, tried, false);
      throw new WorldError("API_REJECTED", { tried, message: answer.message });
    };
    try {
      return await post();
    } catch (error) {
      const mayPass = error instanceof WorldError && error.code === "API_UNAVAILABLE";
      if (!mayPass) throw error;
      return await post();
    }
  }
}

/** The group that the API server gives to all whom it knows: a review by name has it only when it is said. */
function userOfCertificate(caller: Caller & { readonly kind: "certificate" }): User {
  const spec = { user: caller.user, groups: [...caller.groups, "system:authenticated"] };
  return { name: caller.user, text: JSON.stringify(spec), spec };
}

function userOfReview(review: unknown): User | undefined {
  if (valueAt(review, "status", "authenticated") !== true) return undefined;
  const found = asObject(valueAt(review, "status", "user")) ?? {};
  const spec: Record<string, unknown> = {};
  for (const [name, value] of Object.entries({
    user: found["username"],
    uid: found["uid"],
    groups: found["groups"],
    extra: found["extra"],
  })) {
    if (value !== undefined) spec[name] = value;
  }
  return { name: textAt(found, "username") ?? "", text: JSON.stringify(spec), spec };
}

/** Puts an entry at the end; the one that was renewed longest ago goes when there is no room. */
function enter<T>(map: Map<string, T>, key: string, value: T, capacity: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= capacity) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
