// The configuration: golden verdicts, a table of single mistakes, and generated configurations that must be read as they were meant.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { ipFromNumber } from "../core/ip.ts";
import { formatCidr, formatIpRange, mergeRanges, totalSize } from "../core/ip-range.ts";
import type { PodSubnet } from "../core/subnets.ts";
import { Topology } from "../core/subnets.ts";
import type { ConfigParse } from "./floatingip-config.ts";
import { parseFloatingIpConfig } from "./floatingip-config.ts";

const golden = JSON.parse(
  readFileSync(new URL("./golden/floatingip-config.golden.json", import.meta.url), "utf8"),
) as readonly {
  readonly name: string;
  readonly text: string;
  readonly subnets?: readonly string[];
  readonly warnings?: readonly string[];
  readonly problems?: readonly string[];
}[];

function described(subnet: PodSubnet): string {
  const ranges = subnet.ranges.map(formatIpRange).join(", ");
  const nodes = subnet.nodeSubnets.map(formatCidr).join(", ");
  return `${formatCidr(subnet.cidr)} via ${subnet.gateway} vlan ${subnet.vlan}: ${ranges} for ${nodes}`;
}

const minimal = {
  nodeSubnets: ["10.0.0.0/16"],
  ips: ["10.0.70.2~10.0.70.241"],
  subnet: "10.0.70.0/24",
  gateway: "10.0.70.1",
};

/** The verdict on entries, each the minimal one with some fields replaced; undefined removes a field. */
function verdictOn(...entries: readonly Readonly<Record<string, unknown>>[]): ConfigParse {
  return parseFloatingIpConfig(JSON.stringify(entries.map((entry) => ({ ...minimal, ...entry }))));
}

function problemsOf(parse: ConfigParse): readonly string[] {
  return parse.kind === "invalid" ? parse.problems : [];
}

function subnetsOf(parse: ConfigParse): readonly PodSubnet[] {
  assert.deepEqual(problemsOf(parse), []);
  return parse.kind === "valid" ? parse.subnets : [];
}

test("the golden configurations get the golden verdicts", () => {
  for (const { name, text, subnets, warnings, problems } of golden) {
    const parse = parseFloatingIpConfig(text);
    if (problems !== undefined) assert.deepEqual(parse, { kind: "invalid", problems }, name);
    else {
      assert.deepEqual(subnetsOf(parse).map(described), subnets, name);
      assert.deepEqual((parse as { warnings: unknown }).warnings, warnings, name);
    }
  }
});

test("case 16: an empty configuration is valid, has no subnets and says so", () => {
  for (const text of ["", "  \n", "null", "[]", " [ ] "]) {
    const parse = parseFloatingIpConfig(text);
    assert.ok(parse.kind === "valid", JSON.stringify(text));
    assert.deepEqual(parse.subnets, []);
    assert.equal(parse.warnings.length, 1);
    assert.match(parse.warnings[0] ?? "", /no pod can get a float IP; add an entry/);
  }
});

test("cases 8, 9, 11, 15, 16: every single mistake is one problem that names entry, field, value and remedy", () => {
  const cases: [entry: Readonly<Record<string, unknown>>, problem: RegExp][] = [
    [{ nodeSubnets: undefined }, /nodeSubnets is empty; list the networks/],
    [{ nodeSubnets: [] }, /nodeSubnets is empty/],
    [{ nodeSubnets: "10.0.0.0/16" }, /nodeSubnets is "10\.0\.0\.0\/16"; write a list/],
    [{ nodeSubnets: ["10.0.0.0/33"] }, /nodeSubnets\[0\] "10\.0\.0\.0\/33" is no block/],
    [{ nodeSubnets: ["10.0.0.0/16", 5] }, /nodeSubnets\[1\] 5 is no block/],
    [{ routableSubnet: "10.0.0.0" }, /routableSubnet "10\.0\.0\.0" is no block ADDRESS\/PREFIX/],
    [{ gateway: undefined }, /gateway is empty; write the router/],
    [{ gateway: "" }, /gateway is empty/],
    [
      { gateway: "10.177.143.254/22" },
      /gateway "10\.177\.143\.254\/22" is no address; write it without the prefix: "10\.177\.143\.254"/,
    ],
    [{ gateway: "router" }, /gateway "router" is no address; write one address/],
    [{ gateway: 5 }, /gateway 5 is no address/],
    [{ gateway: "10.0.71.1" }, /gateway 10\.0\.71\.1 is not inside subnet 10\.0\.70\.0\/24/],
    [{ gateway: "fd00::1" }, /gateway fd00::1 is not inside subnet/],
    [{ gateway: "10.0.70.0" }, /gateway 10\.0\.70\.0 ends in \.0, which cannot be a default route/],
    [{ gateway: "10.0.70.255" }, /gateway 10\.0\.70\.255 is the broadcast address/],
    [
      { gateway: "10.0.70.100" },
      /gateway 10\.0\.70\.100 is one of the ips \(10\.0\.70\.2~10\.0\.70\.241\)/,
    ],
    [{ subnet: "10.0.0.0/16", gateway: "10.0.71.0" }, /ends in \.0/],
    [{ ips: undefined }, /ips is empty; list the addresses/],
    [{ ips: [] }, /ips is empty/],
    [{ ips: "10.0.70.2" }, /ips is "10\.0\.70\.2"; write a list/],
    [{ ips: ["10.0.70.256"] }, /ips\[0\] "10\.0\.70\.256" is neither/],
    [{ ips: ["10.0.70.9~10.0.70.2"] }, /ips\[0\] "10\.0\.70\.9~10\.0\.70\.2" starts after its end/],
    [{ ips: ["10.0.70.64/26"] }, /ips\[0\] "10\.0\.70\.64\/26" is neither/],
    [{ ips: ["10.0.70.2 - 10.0.70.4"] }, /ips\[0\] "10\.0\.70\.2 - 10\.0\.70\.4" is neither/],
    [
      { ips: ["10.0.70.2", "10.49.28.5"] },
      /ips\[1\] 10\.49\.28\.5 is not inside subnet 10\.0\.70\.0\/24/,
    ],
    [{ ips: ["10.0.70.200~10.0.71.2"] }, /ips\[0\] 10\.0\.70\.200~10\.0\.71\.2 is not inside/],
    [
      { ips: ["10.0.70.2", "fd00::5"] },
      /ips\[1\] fd00::5 is IPv6, but subnet 10\.0\.70\.0\/24 is IPv4/,
    ],
    [{ ips: ["10.0.70.0"] }, /ips\[0\] 10\.0\.70\.0 includes 10\.0\.70\.0, the network address/],
    [{ ips: ["10.0.70.250~10.0.70.255"] }, /includes 10\.0\.70\.255, the broadcast address/],
    [{ vlan: -1 }, /vlan -1 is no integer from 0/],
    [{ vlan: 4095 }, /vlan 4095 is no integer/],
    [{ vlan: 2.5 }, /vlan 2\.5 is no integer/],
    [{ vlan: "2" }, /vlan "2" is no integer .* without quotes/],
    [{ vlan: true }, /vlan true is no integer/],
    [{ Vlan: 2, vlan: 3 }, /"Vlan" and "vlan" are the same field; keep one/],
  ];
  for (const [entry, problem] of cases) {
    const problems = problemsOf(verdictOn(entry));
    assert.equal(problems.length, 1, `${JSON.stringify(entry)}: ${problems.join("; ")}`);
    assert.match(problems[0] ?? "", problem);
    assert.match(problems[0] ?? "", /^floatingips\[0\] \(subnet 10\.0\.[0-9./]+\): [^;]+; .+/);
  }
});

test("a subnet that cannot be read is one problem, not one for each address", () => {
  for (const [subnet, problem] of [
    [undefined, /^floatingips\[0\]: subnet is empty; write the block/],
    ["", /subnet is empty/],
    ["10.0.70.0", /\(subnet 10\.0\.70\.0\): subnet "10\.0\.70\.0" is no block/],
    [24, /subnet 24 is no block/],
  ] as const) {
    const problems = problemsOf(verdictOn({ subnet }));
    assert.equal(problems.length, 1, problems.join("; "));
    assert.match(problems[0] ?? "", problem);
  }
});

test("the problem names the entry that has it", () => {
  const other = { subnet: "10.0.71.0/24", gateway: "10.0.71.1", ips: ["10.0.71.2"] };
  const problems = problemsOf(verdictOn({}, { ...other, vlan: 4095 }));
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /^floatingips\[1\] \(subnet 10\.0\.71\.0\/24\): vlan 4095/);
});

test("IPv6: the subnet-router anycast address and mixed families are refused", () => {
  const ipv6 = { subnet: "fd00::/64", gateway: "fd00::1", ips: ["fd00::2~fd00::9"] };
  assert.deepEqual(
    subnetsOf(verdictOn(ipv6)).map((subnet) => subnet.family),
    ["IPv6"],
  );
  const cases: [entry: Readonly<Record<string, unknown>>, problem: RegExp][] = [
    [
      { ips: ["fd00::"] },
      /includes fd00::, the subnet-router anycast address of subnet fd00::\/64/,
    ],
    [{ gateway: "fd00::" }, /gateway fd00:: is the subnet-router anycast address/],
    [{ gateway: "10.0.0.1" }, /gateway 10\.0\.0\.1 is not inside subnet fd00::\/64/],
    [
      { ips: ["10.0.0.9"] },
      /ips\[0\] 10\.0\.0\.9 is IPv4, but subnet fd00::\/64 is IPv6; make an entry for each family/,
    ],
    [{ ips: ["fd00::9~10.0.0.9"] }, /mixes IPv4 and IPv6/],
    [{ gateway: "fd00::1%eth0" }, /gateway "fd00::1%eth0" is no address/],
  ];
  for (const [entry, problem] of cases) {
    const problems = problemsOf(verdictOn({ ...ipv6, ...entry }));
    assert.equal(problems.length, 1, problems.join("; "));
    assert.match(problems[0] ?? "", problem);
  }
});

test("text that is no JSON is refused with the place of the mistake, and JSON of another shape with its value", () => {
  const cases: [text: string, problem: RegExp][] = [
    [
      '[{"subnet":"10.0.70.0/24",\n "vlan" 2}]',
      /not valid JSON: line 2, column 9 .*expected ":" after "vlan"/,
    ],
    ['[{"subnet":"10.0.70.0/24",}]', /not valid JSON: line 1, column 27/],
    ["{}", /must be a JSON list of entries, but is \{\}; write \[ \.\.\. \] around/],
    ["5", /must be a JSON list/],
    ["[null]", /floatingips\[0\]: the entry is null; write an object/],
    ["[[]]", /floatingips\[0\]: the entry is \[\]; write an object/],
    ['[{"vlan":1,"vlan":2}]', /floatingips\[0\]\.vlan stands twice in one entry; keep one/],
  ];
  for (const [text, problem] of cases) {
    assert.match(problemsOf(parseFloatingIpConfig(text))[0] ?? "", problem, text);
  }
});

test("an address that two entries list is reported once for each overlap, also when one range spans several", () => {
  const gateway = { gateway: "10.0.70.1" };
  const problems = problemsOf(
    verdictOn(
      { ...gateway, ips: ["10.0.70.10~10.0.70.90"] },
      { ...gateway, ips: ["10.0.70.20", "10.0.70.95"] },
      { ...gateway, ips: ["10.0.70.80~10.0.70.99"] },
    ),
  );
  assert.deepEqual(
    problems.map((problem) =>
      /^(floatingips\[\d\]).* ips (\S+) are listed by (floatingips\[\d\])/
        .exec(problem)
        ?.slice(1)
        .join(" "),
    ),
    [
      "floatingips[1] 10.0.70.20 floatingips[0]",
      "floatingips[2] 10.0.70.80~10.0.70.90 floatingips[0]",
      "floatingips[2] 10.0.70.95 floatingips[1]",
    ],
  );
});

test("the gateway of one entry may not be in the ips of another", () => {
  const problems = problemsOf(
    verdictOn({ ips: ["10.0.70.2"] }, { ips: ["10.0.70.3~10.0.70.9"], gateway: "10.0.70.2" }),
  );
  assert.equal(problems.length, 1);
  assert.match(
    problems[0] ?? "",
    /^floatingips\[0\] .*: ips 10\.0\.70\.2 include 10\.0\.70\.2, the gateway of floatingips\[1\]/,
  );
});

/** Entries in subnets of their own, with ranges in any order and overlapping, as somebody might write them. */
const generatedEntries = fc
  .array(
    fc.record({
      prefix: fc.integer({ min: 22, max: 28 }),
      vlan: fc.nat({ max: 4094 }),
      isOldSpelling: fc.boolean(),
      ranges: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 9 })), {
        minLength: 1,
        maxLength: 6,
      }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((entries) =>
    entries.map(({ prefix, vlan, isOldSpelling, ranges }, index) => {
      const network = 0x0a000000 + index * 65536;
      const size = 2 ** (32 - prefix);
      const wanted = ranges.map(([at, length]) => {
        const first = network + 2 + Math.floor(at * (size - 4));
        return { first, last: Math.min(first + length, network + size - 2) };
      });
      const nodes = `192.168.${index}.0/24`;
      const entry = {
        ...(isOldSpelling ? { routableSubnet: nodes } : { nodeSubnets: [nodes] }),
        ips: wanted.map(formatIpRange),
        subnet: `${ipFromNumber(network)}/${prefix}`,
        gateway: ipFromNumber(network + 1),
        vlan,
      };
      return { entry, wanted, network };
    }),
  );

test("a sound configuration is read as it was meant, and every address belongs to its entry", () => {
  fc.assert(
    fc.property(generatedEntries, (generated) => {
      const text = JSON.stringify(generated.map(({ entry }) => entry));
      const subnets = subnetsOf(parseFloatingIpConfig(text));
      const topology = new Topology(subnets);
      for (const [index, { entry, wanted }] of generated.entries()) {
        const subnet = subnets[index] as PodSubnet;
        assert.deepEqual(subnet.ranges, mergeRanges(wanted));
        assert.equal(formatCidr(subnet.cidr), entry.subnet);
        assert.equal(subnet.gateway, entry.gateway);
        assert.equal(subnet.vlan, entry.vlan);
        assert.equal(formatCidr(subnet.nodeSubnets[0] as never), `192.168.${index}.0/24`);
        for (const range of wanted) assert.equal(topology.subnetIndexOf(range.last), index);
      }
    }),
  );
});

test("a configuration that is valid hands out neither gateway, network nor broadcast address", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 24, max: 32 }),
      fc.nat({ max: 255 }),
      fc.nat({ max: 255 }),
      fc.nat({ max: 255 }),
      (prefix, first, length, gateway) => {
        const base = 0x0a000000;
        const last = Math.min(255, first + length);
        const parse = verdictOn({
          subnet: `10.0.0.0/${prefix}`,
          ips: [formatIpRange({ first: base + first, last: base + last })],
          gateway: ipFromNumber(base + gateway),
        });
        const size = 2 ** (32 - prefix);
        const isPlain = prefix < 31;
        const rangeIsSound = last < size && (!isPlain || (first > 0 && last < size - 1));
        const gatewayIsSound =
          gateway > 0 &&
          gateway < (isPlain ? size - 1 : size) &&
          (gateway < first || gateway > last);
        assert.equal(parse.kind === "valid", rangeIsSound && gatewayIsSound, JSON.stringify(parse));
      },
    ),
    { numRuns: 1000 },
  );
});

test("no text makes the parser throw", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.array(fc.jsonValue()).map((v) => JSON.stringify(v)),
      ),
      (text) => {
        assert.ok(["valid", "invalid"].includes(parseFloatingIpConfig(text).kind));
      },
    ),
    { numRuns: 500 },
  );
});

test("an entry of a /8 or a /64 is read without looking at each of its addresses", () => {
  const entries = [
    { subnet: "11.0.0.0/8", gateway: "11.0.0.1", ips: ["11.0.0.2~11.255.255.254"] },
    { subnet: "fd00::/64", gateway: "fd00::1", ips: ["fd00::2~fd00::ffff:ffff:ffff:ffff"] },
  ];
  for (const entry of entries) {
    // Nobody would wait for 2^64 of them.
    const subnets = subnetsOf(verdictOn(entry));
    assert.ok(totalSize(subnets[0]?.ranges ?? []) > 16_000_000);
  }
});
