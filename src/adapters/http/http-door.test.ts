// TLS of a port: renewed certificates and callers without one. Answers to bad requests are tested with the ports.

import assert from "node:assert/strict";
import type { RequestOptions } from "node:https";
import { request } from "node:https";
import { describe, it, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";
import { testCertificates, userCertificates } from "../../../test/certificates.ts";
import { MemoryLog } from "../memory/log.ts";
import type { DoorTls } from "./http-door.ts";
import { createFastify, doorOf } from "./http-door.ts";

const { authority, client, other, server, stranger } = testCertificates;

async function open(t: TestContext, tls: DoorTls) {
  const log = new MemoryLog();
  let requestCount = 0;
  const options = { name: "the test", log, tls, bodyLimit: 1024 };
  const fastify = createFastify(options);
  fastify.addHook("onRequest", async () => {
    requestCount += 1;
  });
  fastify.get("/", () => "ok");
  const door = doorOf(fastify, options);
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  t.after(() => door.close(0));
  return { door, log, port, requestCount: () => requestCount };
}

/** The name in the certificate that the port shows. */
function nameShownBy(port: number, options: RequestOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: "127.0.0.1", port, ca: authority, agent: false, ...options },
      (response) => {
        const { subject } = (response.socket as TLSSocket).getPeerCertificate();
        response.resume().once("end", () => resolve(String(subject.CN)));
      },
    );
    asked.once("error", reject);
    asked.end();
  });
}

describe("a port with TLS", () => {
  it("shows a renewed certificate to new connections without being restarted", async (t) => {
    const { door, port } = await open(t, server);
    assert.equal(await nameShownBy(port), "server");
    door.renewTls(other);
    assert.equal(await nameShownBy(port), "other");
  });

  it("lets in only who has a certificate of the client authority, also after a renewal", async (t) => {
    const { door, port } = await open(t, { ...server, clientCa: authority });
    for (const shown of ["server", "other"]) {
      assert.equal(await nameShownBy(port, client), shown);
      await assert.rejects(nameShownBy(port), /certificate required|ECONNRESET|hang up/i);
      await assert.rejects(
        nameShownBy(port, stranger),
        /unknown ca|ECONNRESET|hang up|certificate/i,
      );
      door.renewTls({ ...other, clientCa: authority });
    }
  });

  it("says whose certificate it refused and why, and hears no request of it", async (t) => {
    const { alice, former } = userCertificates;
    const tls = { ...server, clientCa: userCertificates.authority };
    const cases = [
      [former, /^client certificate "O=lookers, CN=alice" of "CN=users" has expired on 2021-01-01/],
      [stranger, /^client certificate "CN=stranger" .* of --extender-client-ca-file has signed$/],
      [{}, /^no client certificate was shown; give one to certFile of tlsConfig/],
    ] as const;
    for (const [shown, reason] of cases) {
      const { log, port, requestCount } = await open(t, tls);
      await assert.rejects(nameShownBy(port, shown), /certificate|ECONNRESET|hang up/i);
      const [line] = log.lines("warn");
      assert.equal(line?.message, "caller refused");
      assert.match(String(line?.fields["reason"]), reason);
      await assert.rejects(nameShownBy(port, shown), /certificate|ECONNRESET|hang up/i);
      assert.equal(log.lines("warn").length, 1, "not once for each attempt");
      assert.equal(requestCount(), 0);
      assert.equal(await nameShownBy(port, alice), "server");
      assert.equal(requestCount(), 1);
    }
  });
});
