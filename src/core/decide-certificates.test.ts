// When certificates are renewed, also over years of looks at any distance.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { CertificateState, CertificateTerms } from "./decide-certificates.ts";
import { decideCertificates } from "./decide-certificates.ts";

const dayMs = 86_400_000;
const terms: CertificateTerms = {
  authorityMs: 90 * dayMs,
  servedMs: 30 * dayMs,
  spreadMs: 120_000,
};

/** What a caller trusts after the last step, and a maker that carries steps out. */
class Ring {
  state: CertificateState = { authorities: [], served: undefined };
  #made = 0;

  carryOut(nowMs: number): string {
    const step = decideCertificates(this.state, terms, nowMs);
    if (step.kind === "make all" || step.kind === "add authority") {
      const kept = step.kind === "make all" ? [] : step.keep;
      this.#made += 1;
      const id = `authority ${this.#made}`;
      const made = { id, fromMs: nowMs, untilMs: nowMs + terms.authorityMs };
      const old = this.state.authorities.filter((authority) => kept.includes(authority.id));
      this.state = { ...this.state, authorities: [made, ...old] };
      if (step.kind === "make all") this.#serve(nowMs);
    }
    if (step.kind === "renew served") this.#serve(nowMs);
    return step.kind;
  }

  #serve(nowMs: number): void {
    const [newest] = this.state.authorities;
    assert.ok(newest !== undefined);
    const untilMs = Math.min(nowMs + terms.servedMs, newest.untilMs);
    const served = { fromMs: nowMs, untilMs, authorityId: newest.id, hasAllNames: true };
    this.state = { ...this.state, served };
  }
}

describe("decideCertificates", () => {
  it("makes everything where there is nothing, once", () => {
    const ring = new Ring();
    assert.equal(ring.carryOut(0), "make all");
    assert.equal(ring.carryOut(1), "keep");
  });

  it("renews the served certificate when a third of its term is left", () => {
    const ring = new Ring();
    ring.carryOut(0);
    assert.equal(ring.carryOut(20 * dayMs - 1), "keep");
    assert.equal(ring.carryOut(20 * dayMs + 1), "renew served");
  });

  it("adds an authority beside the old one, and serves a certificate of it only when callers know it", () => {
    const ring = new Ring();
    ring.carryOut(0);
    ring.carryOut(59 * dayMs);
    const nowMs = 60 * dayMs + 1;
    assert.equal(ring.carryOut(nowMs), "add authority");
    assert.deepEqual(
      ring.state.authorities.map(({ id }) => id),
      ["authority 2", "authority 1"],
    );
    assert.equal(ring.carryOut(nowMs + terms.spreadMs - 1), "keep");
    assert.equal(ring.carryOut(nowMs + terms.spreadMs), "renew served");
    assert.equal(ring.state.served?.authorityId, "authority 2");
    assert.equal(ring.carryOut(nowMs + terms.spreadMs), "keep");
  });

  it("renews a certificate that lacks a name, or of an authority that nobody trusts", () => {
    const ring = new Ring();
    ring.carryOut(0);
    const { authorities, served } = ring.state;
    assert.ok(served !== undefined);
    const nameless = { authorities, served: { ...served, hasAllNames: false } };
    assert.equal(decideCertificates(nameless, terms, 1).kind, "renew served");
    const foreign = { authorities, served: { ...served, authorityId: "another" } };
    assert.equal(decideCertificates(foreign, terms, 1).kind, "renew served");
  });

  it("serves at all times a certificate that callers of a while ago trust, however often it is looked at", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 * dayMs }), { minLength: 1, maxLength: 200 }),
        (pauses) => {
          const ring = new Ring();
          let nowMs = 0;
          ring.carryOut(nowMs);
          for (const pauseMs of pauses) {
            nowMs += pauseMs;
            const knownBefore = ring.state.authorities.map(({ id }) => id);
            for (let steps = 0; ring.carryOut(nowMs) !== "keep"; steps += 1) assert.ok(steps < 4);
            const { served } = ring.state;
            assert.ok(served !== undefined && served.untilMs > nowMs);
            assert.ok(knownBefore.includes(served.authorityId));
          }
        },
      ),
    );
  });
});
