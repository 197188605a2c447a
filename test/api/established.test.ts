// The examples of tkestack/galaxy's documents, word for word, against our server: the answers are those shown there.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import type { WorkloadRef } from "../../src/core/owner.ts";
import { ApiWorld } from "../api-world.ts";
import { anAllocation, aPodSubnet, aStatefulSetRef, podOwner } from "../builders.ts";

/** Where the user's own documents lie beside the repository; absent in a plain checkout. */
const seeds = new URL("../../../shared/seeds/", import.meta.url);

const listTapp =
  'curl "http://192.168.99.100:32761/v1/ip?namespace=default&appName=nginx-deployment&appType=tapp"';
const releaseTapp = `curl -v -H 'Content-type: application/json' -d '{"ips":[{"ip":"10.0.70.169", "namespace":"default", "appName":"nginx-deployment", "appType":"tapp", "podName": "nginx-deployment-1"}]}' "http://192.168.99.100:32761/v1/ip"`;
const listSts =
  "curl 'http://192.168.30.7:9041/v1/ip?appName=sts&appType=statefulsets&namespace=default'";
const releaseSts = `curl -X POST -H "Content-type: application/json" -d '{"ips":[{"ip":"10.0.0.112", "appName":"sts", "appType":"statefulset", "podName":"sts-0","namespace":"default"},{"ip":"10.0.0.174", "appName":"sts", "appType":"statefulset", "podName":"sts-1", "namespace":"default"}]}' 'http://192.168.30.7:9041/v1/ip'`;

const tapp: WorkloadRef = {
  type: "custom",
  kind: "tapp",
  apiGroup: "apps.tkestack.io",
  namespace: "default",
  name: "nginx-deployment",
};
const sts = aStatefulSetRef({ namespace: "default", name: "sts" });

/** A record that policy never left behind when its pod went. */
function kept(ip: string, name: string, workload: WorkloadRef) {
  return anAllocation({
    ip,
    owner: podOwner({ namespace: "default", name, workload }),
    policy: "never",
    podUid: "",
    nodeName: "",
  });
}

describe("the documented examples", () => {
  let api: ApiWorld;
  before(async () => {
    api = await ApiWorld.leading([
      aPodSubnet({ cidr: "10.0.70.0/24" }),
      aPodSubnet({ cidr: "10.0.0.0/24" }),
    ]);
    for (const record of [
      kept("10.0.70.142", "nginx-deployment-2", tapp),
      kept("10.0.70.169", "nginx-deployment-1", tapp),
      kept("10.0.70.33", "nginx-deployment-0", tapp),
      kept("10.0.0.112", "sts-0", sts),
      kept("10.0.0.174", "sts-1", sts),
    ]) {
      await new MemoryAllocationStore(api.world.cluster).create(record);
    }
    await api.world.settle();
  });
  after(() => api.close());

  test("addresses of a tapp are listed as shown, in the order of numbers", async () => {
    const { status, text } = await api.curl(listTapp);
    assert.equal(status, 200);
    const updateTime = "2023-11-14T22:13:20.000Z";
    const element = (ip: string, ordinal: number) => `   {
    "ip": "${ip}",
    "namespace": "default",
    "appName": "nginx-deployment",
    "podName": "nginx-deployment-${ordinal}",
    "policy": 2,
    "appType": "tapp",
    "updateTime": "${updateTime}",
    "status": "Deleted",
    "releasable": true
   }`;
    // Go sorts texts, so that .33 came after .169; everything else is the documented text, blanks included.
    assert.equal(
      text,
      `{
  "last": true,
  "totalElements": 3,
  "totalPages": 1,
  "first": true,
  "numberOfElements": 3,
  "size": 10,
  "number": 0,
  "content": [
${[element("10.0.70.33", 0), element("10.0.70.142", 2), element("10.0.70.169", 1)].join(",\n")}
  ]
 }`,
    );
  });

  test("an address of a tapp is released as shown, and the list shrinks", async () => {
    const { status, body } = await api.curl(releaseTapp);
    assert.deepEqual([status, body], [200, { code: 200, message: "" }]);
    assert.equal((await api.curl(listTapp)).body.totalElements, 2);
    assert.ok(!api.world.records().some(({ ip }) => ip === "10.0.70.169"));
  });

  test("addresses of a StatefulSet are listed as shown, with the type in the plural", async () => {
    const { body } = await api.curl(listSts);
    const { content, ...page } = body;
    assert.deepEqual(page, {
      last: true,
      totalElements: 2,
      totalPages: 1,
      first: true,
      numberOfElements: 2,
      size: 10,
      number: 0,
    });
    const common = {
      namespace: "default",
      appName: "sts",
      policy: 2,
      appType: "statefulset",
      updateTime: "2023-11-14T22:13:20.000Z",
      status: "Deleted",
      releasable: true,
    };
    assert.deepEqual(content, [
      { ip: "10.0.0.112", podName: "sts-0", ...common },
      { ip: "10.0.0.174", podName: "sts-1", ...common },
    ]);
  });

  test("two addresses of a StatefulSet are released as shown, and once more is no error", async () => {
    for (let time = 1; time <= 2; time += 1) {
      const { status, body } = await api.curl(releaseSts);
      assert.deepEqual([status, body], [200, { code: 200, message: "" }]);
    }
    assert.equal((await api.curl(listSts)).body.totalElements, 0);
  });

  test("no curl command of the documents is missing here", (t) => {
    if (!existsSync(seeds)) {
      t.skip("the user's documents are not beside this checkout");
      return;
    }
    const commands = readdirSync(seeds).flatMap((name) =>
      [...readFileSync(new URL(name, seeds), "utf8").matchAll(/^curl .*$/gm)].map(([line]) => line),
    );
    assert.ok(commands.length >= 4);
    for (const command of commands) {
      // One document lost the line break before the answer.
      const isKnown = [listTapp, releaseTapp, listSts, releaseSts].some((known) =>
        command.startsWith(known),
      );
      assert.ok(isKnown, command);
    }
  });
});
