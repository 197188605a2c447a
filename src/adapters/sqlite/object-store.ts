// Named pieces of JSON on the table `object` of a state file: what a simulated cluster is made of. It knows nothing of their meaning, and keeps no
// copy.

import type { StateFile } from "./state-file.ts";

/** An object as it is stored; `content` is JSON. */
export type StoredObject = {
  readonly kind: string;
  readonly name: string;
  readonly content: string;
};

/** Objects in a state file. */
export class SqliteObjectStore {
  readonly #file: StateFile;
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(file: StateFile) {
    this.#file = file;
    this.#statements = prepareStatements(file);
  }

  /**
   * All objects in the order in which they were made; one that was removed and made again is a new one.
   * @throws WorldError STATE_FILE_FAILED or STOPPED
   */
  list(): readonly StoredObject[] {
    const rows = this.#file.read("list objects", () => this.#statements.list.all());
    return rows as StoredObject[];
  }

  /**
   * Creates or replaces an object.
   * @returns when it is durable
   * @throws WorldError STATE_FILE_FAILED, QUEUE_FULL or STOPPED
   */
  put({ kind, name, content }: StoredObject): Promise<void> {
    return this.#file.write(`write ${kind} ${name}`, () => {
      this.#statements.put.run(kind, name, content);
    });
  }

  /** Removes an object; one that is not there is no error. As {@link put}. */
  remove({ kind, name }: Pick<StoredObject, "kind" | "name">): Promise<void> {
    return this.#file.write(`remove ${kind} ${name}`, () => {
      this.#statements.remove.run(kind, name);
    });
  }
}

function prepareStatements(file: StateFile) {
  return {
    list: file.prepare("SELECT kind, name, content FROM object ORDER BY place"),
    put: file.prepare(
      `INSERT INTO object (kind, name, content) VALUES (?, ?, ?)
      ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content`,
    ),
    remove: file.prepare("DELETE FROM object WHERE kind = ? AND name = ?"),
  };
}
