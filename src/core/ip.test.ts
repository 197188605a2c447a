// Addresses: Node's net.isIP is the oracle for what is one, URL the oracle for canonical IPv6 text.

import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  compareIpNumbers,
  compareIps,
  familyOf,
  familyOfNumber,
  ipFromNumber,
  ipToNumber,
  parseIp,
  parseIpNumber,
  predecessor,
  successor,
} from "./ip.ts";

const ipv4Number = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const ipv6Number = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
/** Mostly zeros, so that "::" is exercised. */
const sparseIpv6Number = fc
  .array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 0xffff })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n));
const ipNumber = fc.oneof(ipv4Number, ipv6Number, sparseIpv6Number);

/** Text that is nearly an address. */
const nearlyAnAddress = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4Extended(),
  fc
    .array(
      fc.constantFrom("0", "1", "9", "255", "256", "a", "f", "ffff", "::", ":", ".", "%", " "),
      {
        maxLength: 16,
      },
    )
    .map((parts) => parts.join("")),
  fc.string(),
);

test("exactly the texts that net.isIP takes for an address are addresses, but for zone identifiers", () => {
  fc.assert(
    fc.property(nearlyAnAddress, (text) => {
      const expected = text.includes("%") ? 0 : isIP(text);
      const ip = parseIp(text);
      assert.equal(ip === undefined ? 0 : familyOf(ip) === "IPv4" ? 4 : 6, expected, text);
    }),
    { numRuns: 3000 },
  );
});

test("canonical text is read back as the same number and the same text", () => {
  fc.assert(
    fc.property(ipNumber, (value) => {
      const ip = ipFromNumber(value);
      assert.equal(ipToNumber(ip), value);
      assert.equal(parseIp(ip), ip);
      assert.equal(familyOf(ip), familyOfNumber(value));
      assert.equal(isIP(ip), typeof value === "number" ? 4 : 6);
    }),
  );
});

test("canonical IPv6 text is what URL makes of it", () => {
  fc.assert(
    fc.property(fc.oneof(ipv6Number, sparseIpv6Number), (value) => {
      const ip = ipFromNumber(value);
      assert.equal(new URL(`http://[${ip}]/`).hostname, `[${ip}]`);
    }),
  );
});

test("every spelling of an IPv6 address has one canonical text", () => {
  const cases = {
    "::": ["0:0:0:0:0:0:0:0", "0000::0000", "::0.0.0.0"],
    "::1": ["0:0::1", "0000:0000:0000:0000:0000:0000:0000:0001"],
    "fd00::5": ["FD00:0:0:0:0:0:0:5", "fd00:0::0:5", "fd00::0.0.0.5"],
    "1:0:0:2::3": ["1:0:0:2:0:0:0:3"],
    "1::2:0:0:3:4": ["1:0:0:2:0:0:3:4"],
    "1:0:2:3:4:5:6:7": ["1:0:2:3:4:5:6:7"],
    "::ffff:102:304": ["::ffff:1.2.3.4"],
  };
  for (const [canonical, spellings] of Object.entries(cases)) {
    for (const text of spellings) assert.equal(parseIp(text), canonical, text);
  }
});

test("texts that other programs read in different ways are refused", () => {
  const texts = [
    "",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "10.0.0.01",
    "0x0a.0.0.1",
    "167772161",
    " 10.0.0.1",
    "10.0.0.1 ",
    "10.0.0.1/24",
    "10.0.0.1\n",
    "fe80::1%eth0",
    "1::2::3",
    ":::",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "12345::",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
  ];
  for (const text of texts) assert.equal(parseIpNumber(text), undefined, JSON.stringify(text));
});

test("addresses are ordered by number, IPv4 before IPv6", () => {
  const sorted = [
    "10.0.70.33",
    "10.0.70.142",
    "10.0.70.169",
    "255.255.255.255",
    "::",
    "fd00::2",
    "fd00::10",
  ];
  const shuffled = sorted.toReversed().flatMap((text) => parseIp(text) ?? []);
  assert.deepEqual(shuffled.toSorted(compareIps), sorted);
  fc.assert(
    fc.property(ipNumber, ipNumber, (a, b) => {
      const order = compareIps(ipFromNumber(a), ipFromNumber(b));
      assert.equal(order, compareIpNumbers(a, b));
      assert.equal(compareIpNumbers(b, a), order === 0 ? 0 : -order);
    }),
  );
});

test("successor and predecessor are one apart in both families", () => {
  assert.equal(ipFromNumber(successor(ipToNumber(ipFromNumber(0x0a0000ff)))), "10.0.1.0");
  assert.equal(ipFromNumber(predecessor(0xfd000000000000000000000000010000n)), "fd00::ffff");
  fc.assert(fc.property(ipNumber, (value) => assert.equal(predecessor(successor(value)), value)));
});

test("the number of a text that is no address is a broken program", () => {
  assert.throws(() => ipToNumber("10.0.0" as never), /"10\.0\.0" is not a canonical address/);
});
