// Pages against the same question answered by looking at every address.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aStatefulSetRef,
  ip,
  ipRange,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { ListedAddress, ListQuery } from "./allocation-listing.ts";
import { AllocationListing } from "./allocation-listing.ts";
import type { Ip } from "./ip.ts";
import { compareIps, ipToNumber } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import { addressesOf, rangeContains } from "./ip-range.ts";
import type { Owner } from "./owner.ts";

/** A key like the established one, without the pod's name. */
function prefixOf(owner: Owner): string {
  switch (owner.kind) {
    case "pod": {
      const pool = owner.pool === undefined ? "" : `pool__${owner.pool}_`;
      return `${pool}${owner.workload?.kind ?? "NULL"}_${owner.pod.namespace}_${owner.workload?.name ?? "NULL"}_`;
    }
    case "workload":
      return `${owner.workload.kind}_${owner.workload.namespace}_${owner.workload.name}_`;
    case "pool":
      return `pool__${owner.pool}_`;
    case "admin":
    case "foreign":
      return owner.key;
    default:
      return owner satisfies never;
  }
}

const plain = { sortBy: "ip", isDescending: false, offset: 0, limit: 10 } as const;
const policyNumber = { "pod-delete": 0, immutable: 1, never: 2 };

/** Every address looked at. */
function slowPage(records: readonly Allocation[], query: ListQuery, ranges: readonly IpRange[]) {
  const taken = new Set(records.map((record) => record.ip));
  const lines: ListedAddress[] = records.map((allocation) => ({ ip: allocation.ip, allocation }));
  for (const range of ranges) {
    for (const address of addressesOf(range)) {
      if (!taken.has(address)) lines.push({ ip: address, allocation: undefined });
    }
  }
  const facts = ({ allocation }: ListedAddress) => {
    const owner = allocation?.owner;
    const pod = owner?.kind === "pod" ? owner.pod : undefined;
    const workload =
      owner?.kind === "pod" || owner?.kind === "workload" ? owner.workload : undefined;
    const pool = owner?.kind === "pod" || owner?.kind === "pool" ? owner.pool : undefined;
    const state =
      allocation === undefined
        ? "free"
        : owner?.kind === "admin"
          ? "admin"
          : !isBound(allocation)
            ? "reserved"
            : allocation.isDraining
              ? "draining"
              : "bound";
    return {
      namespace: pod?.namespace ?? workload?.namespace ?? "",
      podname: pod?.name ?? "",
      appName: workload?.name ?? "",
      appType: workload?.kind ?? "",
      poolName: pool ?? "",
      policy: allocation === undefined ? 0 : policyNumber[allocation.policy],
      key: owner === undefined ? "" : prefixOf(owner) + (pod?.name ?? ""),
      state,
    };
  };
  const found = lines.filter((line) => {
    const fact = facts(line);
    return (
      (query.namespace === undefined || fact.namespace === query.namespace) &&
      (query.appName === undefined || fact.appName === query.appName) &&
      (query.appType === undefined || fact.appType === query.appType) &&
      (query.podName === undefined || fact.podname === query.podName) &&
      (query.poolName === undefined || fact.poolName === query.poolName) &&
      (query.state === undefined || fact.state === query.state) &&
      (query.keyword === undefined ||
        (line.allocation !== undefined && fact.key.includes(query.keyword.text))) &&
      (query.range === undefined || rangeContains(query.range, ipToNumber(line.ip)))
    );
  });
  const sign = query.isDescending ? -1 : 1;
  found.sort((a, b) => {
    const byIp = compareIps(a.ip, b.ip);
    if (query.sortBy === "ip") return sign * byIp;
    const [x, y] = [facts(a)[query.sortBy], facts(b)[query.sortBy]];
    return (x < y ? -sign : x > y ? sign : 0) || byIp;
  });
  return {
    totalCount: found.length,
    addresses: found.slice(query.offset, query.offset + query.limit),
  };
}

const arbOwner: fc.Arbitrary<Owner> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .record({
        namespace: fc.constantFrom("a", "b", "ab"),
        app: fc.constantFrom("web", "db", undefined),
        isDeployment: fc.boolean(),
        ordinal: fc.integer({ min: 0, max: 3 }),
        pool: fc.constantFrom(undefined, undefined, "blue"),
      })
      .map(({ namespace, app, isDeployment, ordinal, pool }) =>
        podOwner({
          namespace,
          name: `${app ?? "bare"}-${ordinal}`,
          pool,
          workload:
            app === undefined
              ? undefined
              : isDeployment
                ? aDeploymentRef({ namespace, name: app })
                : aStatefulSetRef({ namespace, name: app }),
        }),
      ),
  },
  fc
    .constantFrom("a", "b")
    .map((namespace) => ({ kind: "workload" as const, workload: aDeploymentRef({ namespace }) })),
  fc.constant({ kind: "pool" as const, pool: "blue" }),
  fc.constantFrom("kept", "web_kept").map((key) => ({ kind: "admin" as const, key })),
  fc.constant({ kind: "foreign" as const, key: "x_y_z" }),
);

const arbRecord: fc.Arbitrary<Allocation> = fc
  .record({
    last: fc.integer({ min: 0, max: 60 }),
    owner: arbOwner,
    policy: fc.constantFrom("pod-delete" as const, "immutable" as const, "never" as const),
    isBound: fc.boolean(),
    isDraining: fc.boolean(),
  })
  .map(({ last, owner, policy, isBound: bound, isDraining }) =>
    anAllocation({
      ip: last > 50 ? `fd00::${last.toString(16)}` : `10.0.0.${last}`,
      owner,
      policy,
      podUid: bound && owner.kind === "pod" ? "uid" : "",
      isDraining: bound && owner.kind === "pod" && isDraining,
    }),
  );

const arbQuery: fc.Arbitrary<ListQuery> = fc
  .record({
    namespace: fc.constantFrom(undefined, undefined, undefined, "a", "b", "none"),
    appName: fc.constantFrom(undefined, undefined, undefined, "web", "db"),
    appType: fc.constantFrom(undefined, undefined, undefined, "deployment", "statefulset"),
    podName: fc.constantFrom(undefined, undefined, undefined, undefined, "web-0", "bare-1", "no"),
    poolName: fc.constantFrom(undefined, undefined, undefined, "blue"),
    state: fc.constantFrom(
      undefined,
      undefined,
      "free" as const,
      "bound" as const,
      "reserved" as const,
      "admin" as const,
      "draining" as const,
    ),
    range: fc.constantFrom(
      undefined,
      undefined,
      ipRange("10.0.0.5~10.0.0.30"),
      ipRange("fd00::34~fd00::36"),
    ),
    word: fc.constantFrom(
      undefined,
      undefined,
      undefined,
      "web",
      "web-1",
      "b_web",
      "web_web-2",
      "_",
      "kept",
      "blue_",
    ),
    sortBy: fc.constantFrom(
      "ip" as const,
      "namespace" as const,
      "podname" as const,
      "policy" as const,
    ),
    isDescending: fc.boolean(),
    offset: fc.integer({ min: 0, max: 70 }),
    limit: fc.integer({ min: 1, max: 20 }),
  })
  .map(({ word, ...rest }) => ({
    ...rest,
    keyword: word === undefined ? undefined : { text: word, prefixOf },
  }));

/** Two ranges of one block, one of another family; some records lie outside. */
const ranges = [
  ipRange("10.0.0.2~10.0.0.20"),
  ipRange("10.0.0.25~10.0.0.45"),
  ipRange("fd00::30~fd00::3a"),
];

/** As the table's indexes would: for one kind of owner, so that the walk is tested with the others. */
function membersAmong(records: () => readonly Allocation[]) {
  return (owner: Owner) => {
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload?.type !== "statefulset") return undefined;
    const isIts = (other: Owner) =>
      (other.kind === "pod" || other.kind === "workload") &&
      other.workload?.type === workload.type &&
      other.workload.namespace === workload.namespace &&
      other.workload.name === workload.name;
    return records()
      .filter((record) => isIts(record.owner))
      .map(({ ip: address }) => address);
  };
}

function filled(records: readonly Allocation[], chunkSize?: number): AllocationListing {
  const listing = new AllocationListing(
    new Map(records.map((record) => [record.ip, record])),
    membersAmong(() => records),
    chunkSize,
  );
  while (!listing.advance(7));
  return listing;
}

describe("pages of addresses", () => {
  test("are what a look at every address gives, for every filter, sort and place", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(arbRecord, { maxLength: 60, selector: (record) => record.ip }),
        fc.array(arbQuery, { minLength: 1, maxLength: 6 }),
        (records, queries) => {
          const listing = filled(records, 4);
          for (const query of queries) {
            assert.deepEqual(listing.page(query, ranges), slowPage(records, query, ranges));
          }
        },
      ),
      { numRuns: 600 },
    );
  });

  test("one after the other are the whole list, in every sort", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(arbRecord, {
          minLength: 20,
          maxLength: 60,
          selector: (record) => record.ip,
        }),
        fc.constantFrom("ip" as const, "namespace" as const, "podname" as const, "policy" as const),
        fc.boolean(),
        fc.constantFrom(undefined, "bound" as const),
        fc.integer({ min: 1, max: 7 }),
        (records, sortBy, isDescending, state, limit) => {
          const listing = filled(records, 4);
          const query = { sortBy, isDescending, state, limit: 1_000, offset: 0 };
          const whole = slowPage(records, query, ranges).addresses;
          for (let offset = 0; offset < whole.length; offset += limit) {
            const { addresses } = listing.page({ ...query, offset, limit }, ranges);
            assert.deepEqual(addresses, whole.slice(offset, offset + limit));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test("follow the table while it changes, also while they are being filled", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 3, arbitrary: arbRecord }, fc.integer({ min: 0, max: 60 }))),
        fc.integer({ min: 0, max: 40 }),
        arbQuery,
        (changes, startAt, query) => {
          const table = new Map<Ip, Allocation>();
          const members = membersAmong(() => [...table.values()]);
          const listing = new AllocationListing(table, members, 4);
          for (const [index, change] of changes.entries()) {
            if (index >= startAt) listing.advance(2);
            if (typeof change === "number") {
              const address = ip(change > 50 ? `fd00::${change.toString(16)}` : `10.0.0.${change}`);
              table.delete(address);
              listing.drop(address);
            } else {
              table.set(change.ip, change);
              listing.put(change);
            }
          }
          while (!listing.advance(3));
          assert.deepEqual(
            listing.page(query, ranges),
            slowPage([...table.values()], query, ranges),
          );
        },
      ),
      { numRuns: 400 },
    );
  });

  test("a /8 and an IPv6 /64 are listed from both ends without a step for each address", () => {
    const records = [
      anAllocation({ ip: "10.0.0.2" }),
      anAllocation({ ip: "10.255.255.253", owner: podOwner({ name: "last" }) }),
      anAllocation({ ip: "fd00::ffff:ffff:ffff:fffe", owner: podOwner({ name: "far" }) }),
    ];
    const listing = filled(records);
    const wide = [ipRange("10.0.0.1~10.255.255.254"), ipRange("fd00::1~fd00::ffff:ffff:ffff:fffe")];
    const ips = (query: Partial<ListQuery>, from = wide) =>
      listing.page({ ...plain, limit: 3, ...query }, from).addresses.map((line) => line.ip);
    assert.deepEqual(ips({}), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert.deepEqual(ips({ isDescending: true }), [
      "fd00::ffff:ffff:ffff:fffe",
      "fd00::ffff:ffff:ffff:fffd",
      "fd00::ffff:ffff:ffff:fffc",
    ]);
    assert.deepEqual(ips({ isDescending: true, offset: 3, limit: 1 }), [
      "fd00::ffff:ffff:ffff:fffb",
    ]);
    const ipv4 = wide.slice(0, 1);
    assert.equal(listing.page(plain, ipv4).totalCount, 2 ** 24 - 2 + 1);
    assert.deepEqual(ips({ offset: 16_777_211 }, ipv4), [
      "10.255.255.252",
      "10.255.255.253",
      "10.255.255.254",
    ]);
    assert.deepEqual(ips({ sortBy: "podname", isDescending: true }, ipv4), [
      "10.0.0.2",
      "10.255.255.253",
      "fd00::ffff:ffff:ffff:fffe",
    ]);
    assert.deepEqual(ips({ state: "free", offset: 16_777_210 }, ipv4), [
      "10.255.255.252",
      "10.255.255.254",
    ]);
  });

  test("a listing that the table was filled anew under starts again", () => {
    const listing = filled([anAllocation()]);
    listing.reset();
    assert.throws(() => listing.page(plain, []), /before it is complete/);
    assert.equal(listing.advance(10), true);
    assert.equal(listing.page(plain, []).totalCount, 1);
  });
});
