// What is remembered, for how long, and what a flood of tokens or a broken API server leads to. Real tokens and rights are tested end to end.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Script,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import { asObject, valueAt } from "../../wire/json-value.ts";
import { MemoryLog } from "../memory/log.ts";
import type { KubernetesAccessReviewOptions } from "./access-review.ts";
import { KubernetesAccessReview } from "./access-review.ts";
import { ApiClient } from "./api-client.ts";

/** Tokens that begin with `good` are users of that name; they may list. */
const honest: Script = ({ path, body }, response) => {
  if (path.endsWith("/tokenreviews")) {
    const token = String(valueAt(body, "spec", "token"));
    const isGood = token.startsWith("good");
    const user = { username: token, uid: "u1", groups: ["g1"], extra: { scopes: ["s1"] } };
    sendJson(response, 201, { status: isGood ? { authenticated: true, user } : {} });
    return;
  }
  const verb = valueAt(body, "spec", "resourceAttributes", "verb");
  sendJson(response, 201, { status: { allowed: verb === "list" } });
};

async function withReview(
  use: (bench: {
    readonly review: KubernetesAccessReview;
    readonly log: MemoryLog;
    readonly asked: () => readonly string[];
    readonly bodies: () => readonly unknown[];
    readonly answer: (script: Script) => void;
    readonly pass: (ms: number) => void;
  }) => Promise<void>,
  options: Partial<KubernetesAccessReviewOptions> = {},
): Promise<void> {
  await using server = await startScriptedServer(honest);
  const client = new ApiClient({ access: server.access });
  const log = new MemoryLog();
  let nowMs = 0;
  const review = new KubernetesAccessReview({ client, log, nowMs: () => nowMs, ...options });
  try {
    await use({
      review,
      log,
      asked: () => server.seen.map(({ path }) => path.split("/").at(-1) ?? ""),
      bodies: () => server.seen.map(({ body }) => body),
      answer: (script) => {
        server.script = script;
      },
      pass: (ms) => {
        nowMs += ms;
      },
    });
  } finally {
    client.close();
  }
}

const ask = (token: string, verb = "list") => ({
  caller: { kind: "token" as const, token },
  verb,
  resource: "floatingips",
});

describe("KubernetesAccessReview", () => {
  it("asks only for the right of somebody whose certificate says who it is", () =>
    withReview(async ({ review, asked, bodies }) => {
      const caller = { kind: "certificate" as const, user: "good-1", groups: ["lookers"] };
      const question = { caller, verb: "list", resource: "floatingips" };
      assert.deepEqual(await review.review(question), { kind: "allowed", user: "good-1" });
      assert.deepEqual(asked(), ["subjectaccessreviews"]);
      assert.match(JSON.stringify(bodies()), /"groups":\["lookers","system:authenticated"\]/);
    }));

  it("asks who it is and then whether that user may, with everything that the API server said of the user", () =>
    withReview(async ({ review, asked, bodies }) => {
      assert.deepEqual(await review.review(ask("good-1")), { kind: "allowed", user: "good-1" });
      assert.deepEqual(asked(), ["tokenreviews", "subjectaccessreviews"]);
      assert.deepEqual(asObject(bodies()[1])?.["spec"], {
        user: "good-1",
        uid: "u1",
        groups: ["g1"],
        extra: { scopes: ["s1"] },
        resourceAttributes: { group: "galaxy.k8s.io", resource: "floatingips", verb: "list" },
      });
      const forbidden = await review.review(ask("good-1", "delete"));
      assert.deepEqual(forbidden, { kind: "forbidden", user: "good-1" });
      assert.deepEqual(await review.review(ask("bad")), { kind: "unauthenticated" });
    }));

  it("asks once for callers of the same moment, and believes a yes longer than a no", () =>
    withReview(async ({ review, asked, pass }) => {
      await Promise.all([1, 2, 3].map(() => review.review(ask("good"))));
      await review.review(ask("good", "delete"));
      await review.review(ask("bad"));
      assert.equal(asked().length, 4);
      pass(3_000);
      await review.review(ask("good"));
      assert.equal(asked().length, 4, "the yes of 3 s ago");
      await review.review(ask("good", "delete"));
      await review.review(ask("bad"));
      assert.deepEqual(asked().slice(4), ["subjectaccessreviews", "tokenreviews"]);
      pass(8_000);
      await review.review(ask("good"));
      assert.deepEqual(asked().slice(6), ["tokenreviews", "subjectaccessreviews"]);
    }));

  it("a token that was revoked is refused when its yes is over", () =>
    withReview(async ({ review, answer, pass }) => {
      await review.review(ask("good"));
      answer((_request, response) => sendJson(response, 201, { status: { authenticated: false } }));
      assert.equal((await review.review(ask("good"))).kind, "allowed");
      pass(10_001);
      assert.equal((await review.review(ask("good"))).kind, "unauthenticated");
    }));

  it("a flood of unknown tokens is turned away here, and known ones are not", () =>
    withReview(
      async ({ review, asked, pass }) => {
        await review.review(ask("good"));
        pass(20_000);
        const kinds: string[] = [];
        for (let index = 0; index < 40; index += 1) {
          kinds.push((await review.review(ask(`bad-${index}`))).kind);
        }
        assert.equal(kinds.filter((kind) => kind === "busy").length, 35);
        assert.equal(asked().filter((path) => path === "tokenreviews").length, 6);
        assert.equal((await review.review(ask("good"))).kind, "allowed");
      },
      { perSecond: 1, burst: 5 },
    ));

  it("remembers a bounded number of answers", () =>
    withReview(
      async ({ review, asked }) => {
        for (const token of ["good-1", "good-2", "good-3", "good-1"])
          await review.review(ask(token));
        assert.equal(asked().filter((path) => path === "tokenreviews").length, 4);
      },
      { capacity: 2 },
    ));

  it("an API server that fails or forbids the question is no yes and no no, is logged, and is asked again", () =>
    withReview(async ({ review, answer, log }) => {
      for (const code of [403, 404, 422, 500]) {
        answer((_request, response) => sendStatus(response, code));
        assert.deepEqual(await review.review(ask("good")), { kind: "unavailable" }, `${code}`);
      }
      assert.equal(log.lines().length, 4);
      answer((_request, response) => {
        response.end("<html>");
      });
      assert.deepEqual(await review.review(ask("good")), { kind: "unavailable" });
      answer(honest);
      assert.equal((await review.review(ask("good"))).kind, "allowed");
    }));

  it("a connection that breaks under the question is asked again at once", () =>
    withReview(async ({ review, answer }) => {
      let cuts = 1;
      answer((request, response) => {
        if (cuts > 0) response.destroy();
        else void honest(request, response);
        cuts -= 1;
      });
      assert.equal((await review.review(ask("good"))).kind, "allowed");
    }));
});
