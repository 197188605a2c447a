// What galaxyctl says of certificates that are of no use: its own before it asks anybody, and the server's after that was not believed.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { testCertificates, userCertificates } from "../../test/certificates.ts";
import { createApiClient } from "./api-client.ts";
import { openConnection } from "./find-server.ts";

const options = { requestTimeout: 30, service: "kube-system/https:galaxy-ipam:9041" };
const { other, server, stranger } = testCertificates;
const { alice, former } = userCertificates;

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxyctl-certificates-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe("a certificate of one's own", () => {
  it("is refused before anybody is asked, with file, subject, date and the next step", async (t) => {
    const folder = folderOf(t);
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const key = file("alice.key", alice.key);
    const good = file("alice.crt", alice.cert);
    const old = file("old.crt", former.cert);
    const oldKey = file("old.key", former.key);
    const text = file("text.crt", "hello");
    const refusal = async (clientCertificate?: string, clientKey?: string, at = "https://h") => {
      const given = {
        ...(clientCertificate === undefined ? {} : { clientCertificate }),
        ...(clientKey === undefined ? {} : { clientKey }),
      };
      const asked = openConnection({ ...options, server: at, ...given }, {});
      return await asked.then(
        () => "nothing",
        (error: unknown) => String(error),
      );
    };
    assert.match(
      await refusal(old, oldKey),
      /"O=lookers, CN=alice" in .*old\.crt has expired on 2021-01-01T00:00:00\.000Z; have it renewed/,
    );
    assert.match(
      await refusal(good, oldKey),
      /CN=alice" in .*alice\.crt is not that of the key in .*old\.key/,
    );
    assert.match(await refusal(text, key), /text\.crt of --client-certificate.*PEM/);
    assert.match(await refusal(good), /needed together/);
    assert.match(await refusal(good, key, "http://127.0.0.1:1"), /not encrypted.*https/);
    assert.equal(await refusal(good, key), "nothing");
    const { tls } = await openConnection(
      { ...options, server: "https://h", clientCertificate: good, clientKey: key },
      {},
    );
    assert.deepEqual([tls.cert, tls.key], [alice.cert, alice.key]);
  });
});

describe("a server whose certificate is not believed", () => {
  const cases = [
    {
      about: "of an authority that is not in the file",
      shows: server,
      knows: stranger.cert,
      host: "localhost",
      says: /"CN=server" of "CN=test authority" is signed by no authority that .*ca\.crt has \(\w+\); give the file of its authority to --certificate-authority/,
    },
    {
      about: "that has expired",
      shows: former,
      knows: userCertificates.authority,
      host: "localhost",
      says: /CN=alice" of "CN=users" has expired on 2021-01-01T00:00:00\.000Z; have the file of --tls-cert-file renewed there/,
    },
    {
      about: "for other names",
      shows: other,
      knows: testCertificates.authority,
      host: "127.0.0.2",
      says: /"CN=other" .* is for DNS:localhost, IP Address:127\.0\.0\.1 and not for 127\.0\.0\.2; use one of these names/,
    },
  ] as const;
  for (const { about, host, knows, says, shows } of cases) {
    it(`${about}, is named with what is wrong and the next step`, async (t) => {
      const ca = join(folderOf(t), "ca.crt");
      writeFileSync(ca, knows);
      const asked = createServer(shows, (_, response) => response.end("{}"));
      await new Promise<void>((resolve) => {
        asked.listen(0, "0.0.0.0", resolve);
      });
      t.after(() => asked.close());
      const { port } = asked.address() as AddressInfo;
      const at = { ...options, server: `https://${host}:${port}`, certificateAuthority: ca };
      const client = await createApiClient(await openConnection(at, {}));
      t.after(() => client.close());
      const call = client.call({ method: "GET", path: "/v1/quota", about: "quotas" });
      await assert.rejects(call, says);
    });
  }
});
