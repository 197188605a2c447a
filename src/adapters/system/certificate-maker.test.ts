// Certificates made with node-forge, judged by the TLS of Node.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { connect, createServer } from "node:tls";
import type { CertifiedKey } from "../../ports/certificate-maker.ts";
import { ForgeCertificateMaker } from "./certificate-maker.ts";

const maker = new ForgeCertificateMaker();
const nowMs = Date.now();
const untilMs = nowMs + 86_400_000;

/** What a TLS client that trusts `ca` says of a server with this pair, called by this name. */
async function handshake(pair: CertifiedKey, ca: string, servername: string): Promise<string> {
  const server = createServer(pair).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const socket = connect({ port, host: "127.0.0.1", ca, servername });
  const outcome = await new Promise<string>((resolve) => {
    socket.once("secureConnect", () => resolve("trusted"));
    socket.once("error", (error: { readonly code?: string }) => resolve(error.code ?? "error"));
  });
  socket.destroy();
  server.close();
  return outcome;
}

describe("certificates made here", () => {
  it("are trusted by who trusts the authority, for their names only", async () => {
    const authority = await maker.makeAuthority({ commonName: "galaxy", nowMs, untilMs });
    const stranger = await maker.makeAuthority({ commonName: "galaxy", nowMs, untilMs });
    const names = ["galaxy-webhook.kube-system.svc", "127.0.0.1"];
    const pair = await maker.makeServer({ authority, names, nowMs, untilMs });
    const [name = ""] = names;
    assert.equal(await handshake(pair, authority.cert, name), "trusted");
    assert.equal(
      await handshake(pair, `${stranger.cert}${authority.cert}`, name),
      "trusted",
      "an authority of the same name beside it does no harm",
    );
    assert.notEqual(await handshake(pair, stranger.cert, name), "trusted");
    assert.equal(
      await handshake(pair, authority.cert, "elsewhere"),
      "ERR_TLS_CERT_ALTNAME_INVALID",
    );
  });

  it("are read back with names, times and signer", async () => {
    const authority = await maker.makeAuthority({ commonName: "galaxy", nowMs, untilMs });
    const stranger = await maker.makeAuthority({ commonName: "galaxy", nowMs, untilMs });
    const pair = await maker.makeServer({
      authority,
      names: ["a.svc", "::1"],
      nowMs,
      untilMs: untilMs - 1_000,
    });
    const [served] = maker.read(pair.cert);
    assert.deepEqual(served?.dnsNames, ["a.svc"]);
    assert.deepEqual(served?.ipNames, ["0:0:0:0:0:0:0:1"]);
    assert.equal(Math.abs((served?.madeMs ?? 0) - nowMs) < 1_000, true);
    assert.equal(Math.abs((served?.untilMs ?? 0) - untilMs) <= 2_000, true);
    const authorities = maker.read(stranger.cert + authority.cert);
    assert.equal(authorities.length, 2);
    assert.equal(maker.signerOf(pair.cert, authorities), authorities[1]?.id);
    assert.equal(maker.signerOf(pair.cert, authorities.slice(0, 1)), undefined);
    assert.equal(maker.belongTogether(pair), true);
    assert.equal(maker.belongTogether({ cert: pair.cert, key: authority.key }), false);
  });

  it("are left out when they cannot be read", () => {
    assert.deepEqual(maker.read("nothing"), []);
    assert.deepEqual(
      maker.read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
      [],
    );
    assert.equal(maker.belongTogether({ cert: "no", key: "no" }), false);
  });
});
