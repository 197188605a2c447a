// The args annotation: what is asked for, what was given, and that nothing foreign is lost.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { ipFromNumber } from "../core/ip.ts";
import { formatIpRange } from "../core/ip-range.ts";
import type { IpInfo } from "../core/subnets.ts";
import { formatCniArgs, mostAddressesPerPod, parseCniArgs } from "./cni-args.ts";

const golden = JSON.parse(
  readFileSync(new URL("./golden/cni-args.golden.json", import.meta.url), "utf8"),
) as readonly {
  readonly name: string;
  readonly existing: string;
  readonly infos: readonly IpInfo[];
  readonly text: string;
}[];

/** The requested ranges as text. */
function rangesOf(text: string): string[][] | undefined {
  return parseCniArgs(text).ranges?.map((list) => list.map(formatIpRange));
}

test("the annotation is written as the golden file says, and gives its addresses back", () => {
  for (const { name, existing, infos, text } of golden) {
    assert.equal(formatCniArgs(existing, infos), text, name);
    assert.deepEqual(
      parseCniArgs(text).assignedIps,
      infos.map(({ ip }) => ip.split("/")[0]),
    );
    assert.equal(formatCniArgs(text, infos), text, `${name}, twice`);
  }
});

test("whatever stands in the annotation is kept but for ipinfos", () => {
  const infos = fc.array(
    fc.record(
      {
        ip: fc.nat({ max: 2 ** 31 - 1 }).map((value) => `${ipFromNumber(value)}/24`),
        vlan: fc.nat({ max: 4094 }),
        gateway: fc.ipV4(),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 4 },
  );
  const object = fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true });
  fc.assert(
    fc.property(object, fc.option(object, { nil: undefined }), infos, (other, common, given) => {
      const existing = JSON.stringify(common === undefined ? other : { ...other, common }, null, 2);
      const written = JSON.parse(formatCniArgs(existing, given)) as Record<string, unknown>;
      const before = JSON.parse(existing) as Record<string, unknown>;
      const commonBefore =
        typeof before["common"] === "object" && !Array.isArray(before["common"])
          ? before["common"]
          : {};
      assert.deepEqual(written, { ...before, common: { ...commonBefore, ipinfos: given } });
    }),
  );
});

test("case 98: each inner list is one address, in the order of the lists", () => {
  assert.deepEqual(
    rangesOf('{"request_ip_range":[["10.49.27.205"],["10.49.27.216~10.49.27.218"]]}'),
    [["10.49.27.205"], ["10.49.27.216~10.49.27.218"]],
  );
  assert.deepEqual(
    rangesOf('{"request_ip_range":[["10.0.0.5","10.0.0.1~10.0.0.4"],["fd00::5"]]}'),
    [["10.0.0.1~10.0.0.5"], ["fd00::5"]],
  );
});

test("a pod may ask for as many addresses as a pod can have", () => {
  const lists = Array.from({ length: mostAddressesPerPod }, (_, index) => [`10.0.0.${index + 1}`]);
  assert.deepEqual(rangesOf(JSON.stringify({ request_ip_range: lists })), lists);
});

test("no request is no ranges and no problem", () => {
  const texts = [
    "",
    " ",
    "{}",
    '{"request_ip_range":null}',
    '{"request_ip_range":[]}',
    '{"common":{}}',
    '{"common":{"ipinfos":null}}',
  ];
  for (const text of texts) {
    assert.deepEqual(
      parseCniArgs(text),
      { ranges: undefined, assignedIps: [], problems: [] },
      text,
    );
  }
});

test("a mistake in the request is said with annotation, value and remedy, and the request is not half used", () => {
  const tooMany = JSON.stringify({
    request_ip_range: Array.from({ length: mostAddressesPerPod + 1 }, () => ["10.0.0.1"]),
  });
  const cases: [text: string, ...problems: RegExp[]][] = [
    ["{", /"\{" is not valid JSON: line 1, column 2: .*; write a JSON object/],
    ["[]", /\[\] is no JSON object; write/],
    ['"x"', /"x" is no JSON object/],
    ['{"request_ip_range":"10.0.0.1"}', /request_ip_range is "10\.0\.0\.1"; write a list of lists/],
    [
      '{"request_ip_range":["10.0.0.1"]}',
      /request_ip_range\[0\] is "10\.0\.0\.1"; write a list of ranges/,
    ],
    [
      '{"request_ip_range":[[]]}',
      /request_ip_range\[0\] is an empty list; name at least one range/,
    ],
    ['{"request_ip_range":[["10.0.0.1"],[5]]}', /request_ip_range\[1\]\[0\] 5 is no text; write/],
    ['{"request_ip_range":[["10.0.0.300"]]}', /\[0\]\[0\] "10\.0\.0\.300" is neither one address/],
    ['{"request_ip_range":[["10.0.0.9~10.0.0.1"]]}', /starts after its end; write "A" or "A~B"/],
    ['{"request_ip_range":[["10.0.0.0/24"]]}', /without blanks and prefix/],
    [
      '{"request_ip_range":[["10.0.0.1","fd00::1"]]}',
      /mixes IPv4 and IPv6; write one list for each/,
    ],
    [
      '{"request_ip_range":[["10.0.0.1"]],"request_ip_range":[["10.0.0.2"]]}',
      /"request_ip_range" stands twice/,
    ],
    ['{"request_ip_range":[[""],["10.0.0.1"],[]]}', /\[0\]\[0\] ""/, /\[2\] is an empty list/],
    [tooMany, /has 33 lists; a pod gets at most 32 addresses/],
  ];
  for (const [text, ...expected] of cases) {
    const { ranges, problems } = parseCniArgs(text);
    assert.equal(ranges, undefined, text);
    assert.equal(problems.length, expected.length, `${text}: ${problems.join("; ")}`);
    for (const [index, pattern] of expected.entries()) {
      assert.match(problems[index] ?? "", /^annotation k8s\.v1\.cni\.galaxy\.io\/args: /);
      assert.match(problems[index] ?? "", pattern);
    }
  }
});

test("addresses that cannot be read are a problem and not dropped in silence", () => {
  const text =
    '{"common":{"ipinfos":[{"ip":"10.0.0.5/24"},{"ip":"x"},null,{"ip":"fd00::0:5/64"}]}}';
  const { assignedIps, problems } = parseCniArgs(text);
  assert.deepEqual(assignedIps, ["10.0.0.5", "fd00::5"]);
  assert.equal(problems.length, 2);
  assert.match(problems[0] ?? "", /common\.ipinfos\[1\] \{"ip":"x"\} has no address; remove it/);
  assert.match(
    parseCniArgs('{"common":{"ipinfos":{}}}').problems[0] ?? "",
    /common\.ipinfos is \{\}/,
  );
});

test("no text makes the parser throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      assert.ok(Array.isArray(parseCniArgs(text).problems));
      assert.equal(typeof formatCniArgs(text, []), "string");
    }),
  );
});
