// CNI on the wire: a result in the form of every version and back, requests that are refused, and text that must not make a parser throw.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import type { CniResult } from "../core/cni-result.ts";
import {
  cniVersions,
  formatCniResult,
  formatPluginConfig,
  parseCniArgsVariable,
  parseCniRequest,
  parseCniResult,
  validAttachments,
} from "./cni.ts";

const golden = JSON.parse(
  readFileSync(new URL("./golden/cni-results.json", import.meta.url), "utf8"),
) as { readonly result: CniResult; readonly texts: Readonly<Record<string, unknown>> };

test("one result reads in every version as the golden file says", () => {
  assert.deepEqual(Object.keys(golden.texts), [...cniVersions]);
  for (const version of cniVersions) {
    assert.deepEqual(formatCniResult(golden.result, version), golden.texts[version], version);
  }
});

test("a result that was written is read again without loss, as far as its version has room", () => {
  for (const version of cniVersions) {
    const text = JSON.stringify(formatCniResult(golden.result, version));
    const read = parseCniResult(JSON.parse(text));
    assert.ok(!("kind" in read), version);
    assert.deepEqual(formatCniResult(read, version), golden.texts[version], version);
    if (version === "1.1.0") assert.deepEqual(read, golden.result);
  }
});

test("a configuration without a version gets the caller's, and the result before it in that form", () => {
  const previous = golden.result;
  const written = JSON.parse(formatPluginConfig({ name: "n", type: "t" }, "0.4.0", previous));
  assert.equal(written.cniVersion, "0.4.0");
  assert.deepEqual(written.prevResult, golden.texts["0.4.0"]);
  const own = JSON.parse(formatPluginConfig({ cniVersion: "1.0.0" }, "0.4.0", undefined));
  assert.deepEqual(own, { cniVersion: "1.0.0" });
});

test("CNI_ARGS is split at semicolons and first equals signs; the last of equal keys wins", () => {
  const read = (text: string) => Object.fromEntries(parseCniArgsVariable(text));
  assert.deepEqual(read("a=1; b = x=y ;c;a=2;"), { a: "2", b: "x=y" });
  assert.deepEqual(read(""), {});
});

test("GC without a list of attachments keeps everything; drafts of the specification named the list otherwise", () => {
  assert.equal(validAttachments({}), undefined);
  const list = [{ containerID: "c", ifname: "eth0" }, { containerID: "d" }];
  for (const name of ["cni.dev/valid-attachments", "cni.dev/attachments"]) {
    assert.deepEqual(validAttachments({ [name]: list }), [{ containerId: "c", ifName: "eth0" }]);
  }
});

test("no environment and no text make the parser throw, and what it accepts is safe in a path and a command", () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("", "c1", "/run/netns/a", "eth0", "a;b", "../x"),
  );
  fc.assert(
    fc.property(
      fc.record({
        CNI_COMMAND: fc.constantFrom("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "x"),
        CNI_CONTAINERID: text,
        CNI_NETNS: text,
        CNI_IFNAME: text,
        CNI_ARGS: text,
        CNI_PATH: text,
      }),
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.constantFrom('{"cniVersion":"1.1.0","name":"n"}', '{"cniVersion":"0.3.1","name":"n"}'),
      ),
      (env, stdin) => {
        const request = parseCniRequest(env, stdin);
        if (request.kind === "refused") {
          assert.ok(request.message.length > 0 && request.code > 0);
          return;
        }
        if (!["ADD", "DEL", "CHECK"].includes(request.command)) return;
        assert.match(request.containerId, /^[A-Za-z0-9][A-Za-z0-9_.-]*$/);
        assert.match(request.ifName, /^[A-Za-z0-9_.@+-]{1,15}$/);
        assert.match(request.netns, /^(\/[A-Za-z0-9_.:/@+-]*)?$/);
      },
    ),
  );
});
