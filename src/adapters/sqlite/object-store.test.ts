// Tests of the objects in a state file: what was answered is there after the file was opened again, in its order.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { WorldError } from "../../ports/world-error.ts";
import { SqliteObjectStore } from "./object-store.ts";
import { openStateFile } from "./state-file.ts";

function aPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-objects-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "state.db");
}

test("objects are listed in the order in which they were made, also after the file was opened again", async (t) => {
  const path = aPath(t);
  const file = openStateFile(path);
  const store = new SqliteObjectStore(file);
  await Promise.all([
    store.put({ kind: "pods", name: "ns/z", content: '{"a":1}' }),
    store.put({ kind: "nodes", name: "n1", content: "{}" }),
    store.put({ kind: "pods", name: "ns/a", content: "{}" }),
  ]);
  await store.put({ kind: "pods", name: "ns/z", content: '{"a":2}' });
  await store.remove({ kind: "nodes", name: "n1" });
  await store.remove({ kind: "nodes", name: "never" });
  await store.put({ kind: "nodes", name: "n1", content: "[]" });
  file.close();

  const again = openStateFile(path);
  t.after(() => again.close());
  assert.deepEqual(
    new SqliteObjectStore(again).list().map(({ kind, name, content }) => [kind, name, content]),
    [
      ["pods", "ns/z", '{"a":2}'],
      ["pods", "ns/a", "{}"],
      ["nodes", "n1", "[]"],
    ],
  );
});

test("content that is no JSON is not written, and a file that has some is refused", async (t) => {
  const path = aPath(t);
  const file = openStateFile(path);
  const store = new SqliteObjectStore(file);
  await assert.rejects(store.put({ kind: "pods", name: "ns/a", content: "{" }), /CHECK/);
  await store.put({ kind: "pods", name: "ns/a", content: "{}" });
  assert.equal(store.list().length, 1);
  file.close();

  const database = new DatabaseSync(path);
  database.exec("PRAGMA ignore_check_constraints = ON; UPDATE object SET content = '{'");
  database.close();
  assert.throws(
    () => openStateFile(path),
    (error) =>
      error instanceof WorldError &&
      error.code === "STATE_FILE_UNUSABLE" &&
      /rows that this program does not write: 1 in object/.test(error.message),
  );
});
