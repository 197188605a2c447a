// Certificates in files that are renewed while a port serves with them.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { testCertificates, userCertificates } from "../../../test/certificates.ts";
import { waitUntil } from "../../../test/control-plane/api.ts";
import { WorldError } from "../../ports/world-error.ts";
import { MemoryLog } from "../memory/log.ts";
import type { TlsMaterial } from "./tls-files.ts";
import { TlsFiles } from "./tls-files.ts";

function folderWith(t: TestContext, pair: { readonly cert: string; readonly key: string }) {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-tls-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const cert = { path: join(folder, "tls.crt"), flag: "--tls-cert-file" };
  const key = { path: join(folder, "tls.key"), flag: "--tls-private-key-file" };
  writeFileSync(cert.path, pair.cert);
  writeFileSync(key.path, pair.key);
  const log = new MemoryLog();
  return { log, options: { cert, key, clientCa: undefined, log, pollMs: 20 } };
}

describe("TlsFiles", () => {
  it("tells a renewed pair once it fits together, and keeps the old one while it does not", async (t) => {
    const { server, other } = testCertificates;
    const { log, options } = folderWith(t, server);
    const files = await TlsFiles.open(options);
    t.after(() => files.stop());
    const told: TlsMaterial[] = [];
    files.watch((material) => told.push(material));
    assert.equal(files.material.cert, server.cert);
    writeFileSync(options.cert.path, other.cert);
    await waitUntil(
      "the half renewed pair to be refused",
      () => log.lines("warn").length,
      (count) => count > 0,
    );
    assert.equal(files.material.cert, server.cert);
    writeFileSync(options.key.path, other.key);
    await waitUntil(
      "the new pair",
      () => told.length,
      (count) => count === 1,
    );
    assert.deepEqual([told[0]?.cert, files.material.key], [other.cert, other.key]);
  });

  it("a file that is missing, and a key that is not the certificate's, are named with the next step", async (t) => {
    const { server, other } = testCertificates;
    const { options } = folderWith(t, { cert: server.cert, key: other.key });
    const refused = (message: RegExp) => (error: unknown) =>
      error instanceof WorldError &&
      error.code === "CONFIG_FILE_UNREADABLE" &&
      message.test(error.message);
    await assert.rejects(TlsFiles.open(options), refused(/tls\.crt.*tls\.key.*its own key/));
    const cert = { ...options.cert, path: `${options.cert.path}.gone` };
    await assert.rejects(
      TlsFiles.open({ ...options, cert }),
      refused(/tls\.crt\.gone of --tls-cert-file: ENOENT.*correct the path/),
    );
  });

  it("says which certificate has run out, in which file and since when, once, and serves on", async (t) => {
    const { server } = testCertificates;
    const { log, options } = folderWith(t, server);
    const apiClientCa = {
      path: join(options.cert.path, "../users.crt"),
      flag: "--api-client-ca-file",
    };
    writeFileSync(apiClientCa.path, userCertificates.former.cert);
    const files = await TlsFiles.open({ ...options, apiClientCa });
    t.after(() => files.stop());
    const told: TlsMaterial[] = [];
    files.watch((material) => told.push(material));
    const [line, ...others] = log.lines("warn");
    assert.match(
      String(line?.fields["reason"]),
      /^certificate "O=lookers, CN=alice" in .*users\.crt of --api-client-ca-file has expired on 2021-01-01T00:00:00\.000Z; put a renewed one there, it is read without a restart/,
    );
    assert.deepEqual(others, []);
    writeFileSync(apiClientCa.path, userCertificates.authority);
    await waitUntil(
      "the renewed authority",
      () => told.length,
      (count) => count === 1,
    );
    assert.equal(told[0]?.apiClientCa, userCertificates.authority);
    assert.equal(log.lines("warn").length, 1);
  });

  it("authorities in a file without a certificate are refused: they would let nobody in", async (t) => {
    const { options } = folderWith(t, testCertificates.server);
    const clientCa = { path: options.key.path, flag: "--extender-client-ca-file" };
    await assert.rejects(
      TlsFiles.open({ ...options, clientCa }),
      /tls\.key of --extender-client-ca-file: there is no certificate in it; give the certificates/,
    );
  });
});
