// A program that writes records and Pools to a state file as fast as it can until it is killed, and notes in a journal what it is about to
// do and what was acknowledged. The journal's checker is crash.test.ts.

import { openSync, writeSync } from "node:fs";
import { SqliteAllocationStore } from "../../src/adapters/sqlite/allocation-store.ts";
import { SqlitePoolStore } from "../../src/adapters/sqlite/pool-store.ts";
import { openStateFile } from "../../src/adapters/sqlite/state-file.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { Allocation } from "../../src/core/allocation.ts";
import type { PoolFacts } from "../../src/core/facts.ts";
import { ipFromNumber } from "../../src/core/ip.ts";
import { anAllocation, aPool, podOwner } from "../builders.ts";

/** Lanes that write at the same time, each to objects of its own. */
export const laneCount = 32;

/** The program's path, to be run with the state file and the journal as arguments. */
export const crashWriterFile = import.meta.filename;

/**
 * A line of the journal.
 * - `will`: the write whose outcome is this state may happen from now on
 * - `done`: it was acknowledged; `version` is the one that it was given, absent for a removal
 * State: a text that tells one write from every other, undefined when the object is gone.
 */
export type JournalLine = {
  readonly step: "will" | "done";
  readonly object: string;
  readonly state?: string;
  readonly version?: string;
};

/** What a record says, in the words of the journal. */
export function stateOfRecord(record: Allocation): string {
  return `${record.nodeName} ${record.podUid} ${record.updatedAtMs}`;
}

/** What a Pool says, in the words of the journal. */
export function stateOfPool(pool: PoolFacts): string {
  return `size ${pool.size}`;
}

/** Name of a Pool in the journal; records go by their address. */
export function objectOfPool(name: string): string {
  return `pool ${name}`;
}

async function writeUntilKilled(path: string, journalPath: string): Promise<never> {
  const file = openStateFile(path);
  const records = new SqliteAllocationStore({ file, log: silent });
  const pools = new SqlitePoolStore({ file, log: silent, clock: new SystemClock() });
  const journal = openSync(journalPath, "a");
  const note = (line: JournalLine) => void writeSync(journal, `${JSON.stringify(line)}\n`);
  const known = new Map((await records.list()).map((record) => [record.ip as string, record]));
  const knownPools = new Map(pools.all().map((pool) => [pool.name, pool]));
  let serial = Date.now() * 1000;

  const writeRecord = async (object: string) => {
    serial += 1;
    const present = known.get(object);
    if (present !== undefined && serial % 4 === 0) {
      note({ step: "will", object });
      const outcome = await records.remove(present);
      if (outcome.kind !== "removed") throw new Error(`remove ${object}: ${outcome.kind}`);
      known.delete(object);
      note({ step: "done", object });
      return;
    }
    const name = `pod-${serial}`;
    const fields = { owner: podOwner({ name }), nodeName: `n${serial}`, updatedAtMs: serial };
    const wanted = { ...anAllocation({ ...fields, ip: object }), podUid: name };
    const state = stateOfRecord(wanted);
    note({ step: "will", object, state });
    const outcome =
      present === undefined
        ? await records.create(wanted)
        : await records.update({ ...wanted, version: present.version });
    if (!("allocation" in outcome)) throw new Error(`write ${object}: ${outcome.kind}`);
    known.set(object, outcome.allocation);
    note({ step: "done", object, state, version: outcome.allocation.version });
  };

  const writePool = async (name: string) => {
    serial += 1;
    const object = objectOfPool(name);
    const wanted = aPool({ ...knownPools.get(name), name, size: serial });
    const state = stateOfPool(wanted);
    note({ step: "will", object, state });
    const outcome = await pools.write(wanted);
    if (outcome.kind !== "written") throw new Error(`write ${object}: ${outcome.kind}`);
    knownPools.set(name, outcome.pool);
    note({ step: "done", object, state, version: outcome.pool.version });
  };

  const lane = async (index: number): Promise<never> => {
    for (let round = 0; ; round += 1) {
      // 10.0.LANE.0 to 10.0.LANE.63: few enough that updates and removals are frequent.
      const object = ipFromNumber(0x0a000000 + index * 256 + ((round * 7) % 64));
      await writeRecord(object);
      if (round % 10 === 0) await writePool(`pool${index}`);
    }
  };
  return Promise.race(Array.from({ length: laneCount }, (_, index) => lane(index)));
}

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

if (import.meta.main) {
  const [path, journalPath] = process.argv.slice(2);
  if (path === undefined || journalPath === undefined) throw new TypeError("two paths are needed");
  await writeUntilKilled(path, journalPath);
}
