// What the certificate of a connection says of the caller, over real connections to a port that asks for one and takes callers without.

import assert from "node:assert/strict";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { testCertificates, userCertificates } from "../../../test/certificates.ts";
import { certificateOf, type ShownCertificate } from "./client-certificate.ts";

const { authority, server, stranger } = testCertificates;
const { alice, former } = userCertificates;

/** What a port makes of a caller with this certificate. */
async function seen(
  t: TestContext,
  pair: { readonly cert: string; readonly key: string } | undefined,
  nowMs?: number,
): Promise<ShownCertificate> {
  const options = { ca: userCertificates.authority, requestCert: true, rejectUnauthorized: false };
  const port = createServer({ ...server, ...options }, ({ socket }, response) => {
    response.end(JSON.stringify(certificateOf(socket, nowMs)));
  });
  await new Promise<void>((resolve) => {
    port.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => port.close());
  return await new Promise((resolve, reject) => {
    const url = `https://localhost:${(port.address() as AddressInfo).port}`;
    const asked = request(url, { ca: authority, agent: false, ...pair }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.once("end", () => resolve(JSON.parse(text) as ShownCertificate));
    });
    asked.once("error", reject);
    asked.end();
  });
}

describe("a client certificate", () => {
  it("names user and groups, as Kubernetes reads them", async (t) => {
    assert.deepEqual(await seen(t, alice), {
      kind: "certificate",
      user: "alice",
      groups: ["lookers", "writers"],
    });
  });

  it("that was not shown is none", async (t) => {
    assert.deepEqual(await seen(t, undefined), { kind: "none" });
  });

  it("is refused by name, date and next step when its time is over or not come, or a stranger signed it", async (t) => {
    const reasonOf = async (...args: [typeof alice, number?]) => {
      const shown = await seen(t, ...args);
      assert.equal(shown.kind, "refused");
      return shown.kind === "refused" ? shown.reason : "";
    };
    assert.match(
      await reasonOf(former),
      /^client certificate "O=lookers, CN=alice" of "CN=users" has expired on 2021-01-01T00:00:00\.000Z; renew it/,
    );
    assert.match(
      await reasonOf(alice, Date.UTC(2000, 0)),
      /CN=alice" .* is not valid before 2020-01-01T00:00:00\.000Z; compare the clocks/,
    );
    assert.match(
      await reasonOf(stranger),
      /"CN=stranger" of "CN=stranger" is not accepted \(\w+\); use one that an authority of --api-client-ca-file has signed/,
    );
  });

  it("is looked at anew on a connection that stays open", async (t) => {
    const later = await seen(t, alice, Date.UTC(2200, 0));
    assert.ok(later.kind === "refused" && later.reason.includes("has expired on 2120-01-01"));
  });
});
