// What is read from CSV, pods and the objects of other systems, and what is said of lines that cannot be read.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ReadLine } from "./import-lines.ts";
import { readCsv, readObjects } from "./import-lines.ts";

/** Lines as text: `line 2: {...}` or `line 2! problem`. */
function shown(lines: readonly ReadLine[]): string[] {
  return lines.map((line) =>
    line.kind === "line"
      ? `${line.from}: ${JSON.stringify(line.line)}`
      : `${line.from}! ${line.problem}`,
  );
}

describe("CSV", () => {
  test("is read by the names of its columns, whatever separates them", () => {
    const expected = [
      'line 2: {"ip":"10.0.0.2","namespace":"shop","podName":"web-0","policy":2}',
      'line 3: {"ip":"10.0.0.3","reserved":true,"reason":"printer, 2nd floor"}',
    ];
    const comma =
      'IP,Namespace,Pod Name,policy,reserved,reason\r\n10.0.0.2,shop,web-0,never,,\r\n10.0.0.3,,,,yes,"printer, 2nd floor"\r\n';
    assert.deepEqual(shown(readCsv(comma)), expected);
    const semicolon =
      "\ufeffip;namespace;pod;policy;reserved;reason\n10.0.0.2;shop;web-0;2;false;\n10.0.0.3;;;;1;printer, 2nd floor";
    assert.deepEqual(shown(readCsv(semicolon)), expected);
  });

  test("may have quotes, line breaks in them, comments and empty lines; lines keep their numbers", () => {
    const text = 'ip,reason\n# a comment\n\n10.0.0.2,"says ""hi""\nthere"\n10.0.0.3,x\n';
    assert.deepEqual(shown(readCsv(text)), [
      'line 4: {"ip":"10.0.0.2","reason":"says \\"hi\\"\\nthere"}',
      'line 6: {"ip":"10.0.0.3","reason":"x"}',
    ]);
  });

  test("says of each line what is wrong with it, and reads the others", () => {
    const text =
      'ip,policy,reserved\n10.0.0.256,,\n10.0.0.2,always,\n10.0.0.3,,perhaps\n10.0.0.4\n10.0.0.5,1,no\n10.0.0.6,"0,';
    assert.deepEqual(shown(readCsv(text)), [
      'line 2! "10.0.0.256" is no address',
      'line 3! policy "always" is none; write pod-delete, immutable or never',
      'line 4! reserved "perhaps" is neither true nor false',
      "line 5! it has 1 values and there are 3 columns; add or remove separators",
      'line 6: {"ip":"10.0.0.5","policy":1}',
      "line 7! a quote is not closed",
    ]);
  });

  test("with columns that say nothing to us is refused as a whole: a misspelt one would change the meaning", () => {
    assert.match(
      shown(readCsv("ip,podnam\n10.0.0.2,web-0\n")).join(),
      /"podnam" is none; there are ip/,
    );
    assert.deepEqual(shown(readCsv("namespace,pod\na,b\n")), ["line 1! there is no column ip"]);
    assert.deepEqual(shown(readCsv("ip,pod,podName\n1,2,3\n")), [
      "line 1! column podName stands twice; keep one",
    ]);
    assert.deepEqual(shown(readCsv("")), ["line 1! the file is empty"]);
  });
});

describe("objects", () => {
  test("pods give the addresses of their annotation, else of their status; finished and host network ones give none", () => {
    const pod = (name: string, more: { spec?: object; status?: object; annotations?: object }) => ({
      metadata: { namespace: "ns1", name, annotations: more.annotations ?? {} },
      spec: more.spec ?? {},
      status: more.status ?? {},
    });
    const list = {
      kind: "PodList",
      items: [
        pod("a", {
          annotations: {
            "k8s.v1.cni.galaxy.io/args":
              '{"common":{"ipinfos":[{"ip":"10.0.0.2/24","vlan":2,"gateway":"10.0.0.1"}]}}',
            "tke.cloud.tencent.com/eni-ip-pool": "p1",
          },
          status: { phase: "Running", podIP: "172.16.0.9" },
        }),
        pod("b", {
          status: { podIP: "10.0.0.3", podIPs: [{ ip: "10.0.0.3" }, { ip: "fd00::3" }] },
        }),
        pod("c", { status: { podIP: "10.0.0.4" } }),
        pod("d", { status: { phase: "Succeeded", podIP: "10.0.0.5" } }),
        pod("e", { spec: { hostNetwork: true }, status: { podIP: "192.168.0.1" } }),
        pod("f", {}),
      ],
    };
    assert.deepEqual(shown(readObjects([list])), [
      'Pod ns1/a: {"ip":"10.0.0.2","namespace":"ns1","podName":"a","poolName":"p1"}',
      'Pod ns1/b: {"ip":"10.0.0.3","namespace":"ns1","podName":"b"}',
      'Pod ns1/b: {"ip":"fd00::3","namespace":"ns1","podName":"b"}',
      'Pod ns1/c: {"ip":"10.0.0.4","namespace":"ns1","podName":"c"}',
    ]);
  });

  test("whereabouts counts from the address that the range is written with", () => {
    const metadata = { namespace: "kube-system", name: "192.168.2.0-24" };
    const pool = {
      kind: "IPPool",
      metadata,
      spec: {
        range: "192.168.2.0/24",
        allocations: {
          "7": { id: "abc", podref: "ns1/web-0" },
          "300": { id: "def", podref: "ns1/web-1" },
          x: { podref: "ns1/web-2" },
          "9": { podref: "web-3" },
        },
      },
    };
    const v6 = {
      kind: "IPPool",
      metadata: { ...metadata, name: "six" },
      spec: { range: "fd00::/64", allocations: { "4294967296": { podref: "ns1/web-6" } } },
    };
    const reservations = ["192.168.2.7", "net1-192.168.2.8", "fd00--9"].map((name) => ({
      kind: "OverlappingRangeIPReservation",
      metadata: { name },
      spec: { podref: "ns1/web-0" },
    }));
    const from = "IPPool kube-system/192.168.2.0-24";
    assert.deepEqual(shown(readObjects([pool, v6, { kind: "List", items: reservations }])), [
      `${from}: {"ip":"192.168.2.7","namespace":"ns1","podName":"web-0"}`,
      `${from}! 192.168.2.9: "web-3" names no pod as NAMESPACE/NAME`,
      `${from}: {"ip":"192.168.3.44","namespace":"ns1","podName":"web-1"}`,
      `${from}! allocation "x" is no distance from the first address`,
      'IPPool kube-system/six: {"ip":"fd00::1:0:0","namespace":"ns1","podName":"web-6"}',
      'OverlappingRangeIPReservation net1-192.168.2.8: {"ip":"192.168.2.8","namespace":"ns1","podName":"web-0"}',
      'OverlappingRangeIPReservation fd00--9: {"ip":"fd00::9","namespace":"ns1","podName":"web-0"}',
    ]);
  });

  test("Spiderpool's pools and endpoints give each address once, its reserved addresses become reservations", () => {
    const objects = [
      {
        kind: "SpiderIPPool",
        metadata: { name: "p" },
        status: {
          allocatedIPs:
            '{"172.31.1.2":{"interface":"eth0","pod":"ns1/web-0","podUid":"u"},"172.31.1.3":{"pod":"ns1/web-1"}}',
        },
      },
      { kind: "SpiderIPPool", metadata: { name: "empty" }, status: {} },
      { kind: "SpiderIPPool", metadata: { name: "broken" }, status: { allocatedIPs: "[" } },
      {
        kind: "SpiderEndpoint",
        metadata: { namespace: "ns1", name: "web-0" },
        status: { current: { ips: [{ ipv4: "172.31.1.2/20", ipv6: "fd00::2/64" }] } },
      },
      {
        kind: "SpiderReservedIP",
        metadata: { name: "r" },
        spec: { ips: ["172.31.9.1-172.31.9.2"] },
      },
    ];
    assert.deepEqual(shown(readObjects(objects)), [
      'SpiderIPPool p: {"ip":"172.31.1.2","namespace":"ns1","podName":"web-0"}',
      'SpiderIPPool p: {"ip":"172.31.1.3","namespace":"ns1","podName":"web-1"}',
      "SpiderIPPool broken! status.allocatedIPs is no JSON object",
      'SpiderEndpoint ns1/web-0: {"ip":"fd00::2","namespace":"ns1","podName":"web-0"}',
      'SpiderReservedIP r: {"ip":"172.31.9.1","reserved":true,"reason":"SpiderReservedIP r"}',
      'SpiderReservedIP r: {"ip":"172.31.9.2","reserved":true,"reason":"SpiderReservedIP r"}',
    ]);
  });

  test("of other kinds are named", () => {
    assert.match(
      shown(readObjects([{ kind: "Service", metadata: { namespace: "a", name: "b" } }])).join(),
      /^Service a\/b! kind "Service" is not known; there are Pod,/,
    );
    assert.match(shown(readObjects(["x"])).join(), /^object ! kind "" is not known/);
  });
});
