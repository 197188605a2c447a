// The contracts of records and Pools, run by the stores on a state file.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { SqliteAllocationStore } from "../../src/adapters/sqlite/allocation-store.ts";
import { SqliteHistoryStore } from "../../src/adapters/sqlite/history-store.ts";
import { SqlitePoolStore } from "../../src/adapters/sqlite/pool-store.ts";
import { SqliteQuotaStore } from "../../src/adapters/sqlite/quota-store.ts";
import { openStateFile, type StateFile } from "../../src/adapters/sqlite/state-file.ts";
import { describeAllocationStore } from "./allocation-store.ts";
import { describeHistoryStore } from "./history-store.ts";
import { describePoolStore } from "./pool-store.ts";
import { describeQuotaStore } from "./quota-store.ts";

const log = new MemoryLog();

// A second process is refused by the lock of the file: the other writer is another store on the same open file.
describeAllocationStore(
  "SqliteAllocationStore",
  async () => {
    const { file, stop } = openOwnFile();
    return {
      store: new SqliteAllocationStore({ file, log }),
      foreign: new SqliteAllocationStore({ file, log }),
      stop,
    };
  },
  { runs: 30 },
);

describePoolStore("SqlitePoolStore", async () => {
  const { file, stop } = openOwnFile();
  const clock = new ManualClock();
  const store = new SqlitePoolStore({ file, log, clock });
  return {
    store,
    foreign: new SqlitePoolStore({ file, log, clock }),
    readStatus: async (pool) => store.status(pool),
    stop,
  };
});

describeQuotaStore("SqliteQuotaStore", async () => {
  const { file, stop } = openOwnFile();
  return { store: new SqliteQuotaStore(file), stop };
});

describeHistoryStore("SqliteHistoryStore", async ({ bounds, nowMs }) => {
  const { file, stop } = openOwnFile();
  const options = { file, bounds, clock: new ManualClock(nowMs) };
  return {
    store: new SqliteHistoryStore(options),
    reopen: async () => new SqliteHistoryStore(options),
    stop,
  };
});

function openOwnFile(): { readonly file: StateFile; readonly stop: () => Promise<void> } {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-state-"));
  const file = openStateFile(join(folder, "state.db"));
  return {
    file,
    stop: async () => {
      file.close();
      rmSync(folder, { recursive: true });
    },
  };
}
