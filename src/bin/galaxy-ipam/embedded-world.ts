// galaxy-ipam without a Kubernetes cluster: a simulated one inside the process, and everything that has to last in one folder. Only puts adapters
// together.

import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { SimulationParts } from "../../adapters/http/api/simulation-routes.ts";
import { simulationRoutes } from "../../adapters/http/api/simulation-routes.ts";
import { MemoryHistoryStore } from "../../adapters/memory/history-store.ts";
import { MemoryVersionedStore } from "../../adapters/memory/versioned-store.ts";
import { SimulatedCluster } from "../../adapters/simulated/cluster.ts";
import { HttpExtender } from "../../adapters/simulated/http-extender.ts";
import { SystemRandom } from "../../adapters/simulated/system-random.ts";
import { SqliteAllocationStore } from "../../adapters/sqlite/allocation-store.ts";
import { SqliteHistoryStore } from "../../adapters/sqlite/history-store.ts";
import { SqliteObjectStore } from "../../adapters/sqlite/object-store.ts";
import { SqlitePoolStore } from "../../adapters/sqlite/pool-store.ts";
import { SqliteQuotaStore } from "../../adapters/sqlite/quota-store.ts";
import { openStateFile } from "../../adapters/sqlite/state-file.ts";
import { SteadyClock } from "../../adapters/system/clock.ts";
import { SoleLeader } from "../../adapters/system/sole-leader.ts";
import { WatchedFile } from "../../adapters/system/watched-file.ts";
import type { Ip } from "../../core/ip.ts";
import type { NodeLease, VipRecord } from "../../core/vip.ts";
import type { AllocationStore } from "../../ports/allocation-store.ts";
import type { PoolStore } from "../../ports/pool-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { floatingIpName } from "../../wire/crd.ts";
import { galaxyApiVersion } from "../../wire/established-names.ts";
import { parseFloatingIpConfig } from "../../wire/floatingip-config.ts";
import { defaultStateFolder } from "../../wire/ipam-options.ts";
import {
  exampleConfiguration,
  exampleNodes,
  examplePool,
  exampleRemains,
  exampleWorkloads,
} from "./example.ts";
import { guide } from "./guide.ts";
import { SimulatedAgents } from "./simulated-agents.ts";
import type { VipWorld, World, WorldParts } from "./world.ts";

/** The note that the first start is over. */
const begun = "begun";

/** @throws WorldError STATE_FILE_UNUSABLE or STATE_FILE_IN_USE */
export async function openEmbeddedWorld(parts: WorldParts): Promise<World> {
  const { flags, fileConfig, identity, log, clock, configure } = parts;
  const folder = resolve(flags.stateFolder === "" ? defaultStateFolder : flags.stateFolder);
  const file = openStateFile(join(folder, "state.db"));
  const store = new SqliteAllocationStore({ file, log });
  const pools = new SqlitePoolStore({ file, log, clock });
  const cluster = new SimulatedCluster({
    clock,
    random: new SystemRandom(),
    store: new SqliteObjectStore(file),
    log,
  });
  const ownText = fileConfig.floatingipsText;
  const configurationFile =
    flags.floatingipsFile !== ""
      ? resolve(flags.floatingipsFile)
      : ownText === undefined
        ? join(folder, "floatingips.json")
        : "";
  const hasOwnConfiguration = flags.floatingipsFile !== "" || ownText !== undefined;
  let isFirstStart: boolean;
  try {
    cluster.load();
    isFirstStart = !cluster.isNoted(begun);
    if (isFirstStart) {
      if (!hasOwnConfiguration) writeConfiguration(configurationFile, flags.withExample);
      if (flags.withExample && !hasOwnConfiguration) await makeExample(cluster, { store, pools });
      await cluster.note(begun);
    }
  } catch (error) {
    file.close();
    throw error;
  }
  const watchedFile =
    configurationFile === ""
      ? undefined
      : new WatchedFile(configurationFile, (text) => {
          configure(text.kind === "text" ? parseFloatingIpConfig(text.text) : text, undefined);
        });
  const simulation: SimulationParts = { cluster, stateFolder: folder, configurationFile };
  const bounds = { mostChanges: flags.historyChanges, longestMs: flags.historyMs };
  // Grants do not outlive the process: nor do the kernels that answer by them.
  const vips = new MemoryVersionedStore<Ip, VipRecord>(({ ip }) => ip);
  const leases = new MemoryVersionedStore<string, NodeLease>(({ nodeName }) => nodeName);
  const agents = new SimulatedAgents({ cluster, vips, leases, clock: new SteadyClock(), log });
  const vipWorld: VipWorld = {
    vips,
    leases,
    claims: cluster.vipClaims,
    pools: undefined,
    conditions: cluster.vipClaims,
    refOf: (ip) => ({
      apiVersion: galaxyApiVersion,
      kind: "FloatingVIP",
      namespace: "",
      name: floatingIpName(ip),
      uid: "",
    }),
  };
  let extender: HttpExtender | undefined;
  return {
    kind: "embedded",
    store,
    pools,
    quotas: new SqliteQuotaStore(file),
    cluster: cluster.view,
    binder: cluster.binder,
    events: cluster.recorder,
    leadership: new SoleLeader(identity),
    vips: vipWorld,
    history:
      flags.historyChanges === 0
        ? new MemoryHistoryStore({ bounds, clock })
        : new SqliteHistoryStore({ file, clock, bounds }),
    accessReview: undefined,
    configurationSource: `file ${configurationFile === "" ? flags.configFile.path : configurationFile}`,
    routes: simulationRoutes(simulation),
    watches: () => [
      { what: "state file", lastContactMs: performance.now(), problem: file.failure },
    ],
    failure: () => file.failure,
    electionProblem: () => undefined,
    configurationProblem: () => undefined,
    prepare: () => Promise.resolve(),
    follow: () => {},
    startConfiguration: async () => {
      if (watchedFile !== undefined) await watchedFile.start();
      else configure(parseFloatingIpConfig(ownText ?? ""), undefined);
    },
    whenRecordsAreKnown: () => Promise.resolve(),
    whenClusterIsKnown: () => Promise.resolve(),
    whenVipsAreKnown: () => Promise.resolve(),
    startElection: parts.startLeading,
    serve: async (doors, stopping) => {
      extender = new HttpExtender({
        host: doors.host,
        port: doors.extenderPort,
        certificate: doors.certificate,
      });
      cluster.start(extender);
      agents.start();
      await guide({ simulation, doors, isFirstStart, stopping });
    },
    stopElection: () => Promise.resolve(),
    stop: async () => {
      await watchedFile?.stop();
      agents.stop();
      await cluster.stop();
    },
    close: () => {
      extender?.close();
      file.close();
    },
  };
}

/** Never over a file that is there. */
function writeConfiguration(path: string, withExample: boolean): void {
  if (existsSync(path)) return;
  try {
    writeFileSync(path, withExample ? exampleConfiguration : "[]\n", { flag: "wx" });
  } catch (error) {
    throw new WorldError("STATE_FILE_UNUSABLE", {
      tried: `write ${path}`,
      message: `${error instanceof Error ? error.message : String(error)}; correct the permissions, or give another --state-dir`,
      cause: error,
    });
  }
}

/** Begun again after a crash, it finds a part of itself and makes the rest. */
async function makeExample(
  cluster: SimulatedCluster,
  stores: { readonly store: AllocationStore; readonly pools: PoolStore },
): Promise<void> {
  for (const remains of exampleRemains(Date.now())) await stores.store.create(remains);
  await stores.pools.write(examplePool);
  for (const node of exampleNodes) await cluster.addNode(node);
  for (const workload of exampleWorkloads) await cluster.createWorkload(workload);
}
