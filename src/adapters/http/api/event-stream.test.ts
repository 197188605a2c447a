// The stream of changes over real HTTP on loopback, in front of a world in memory.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { ApiWorld } from "../../../../test/api-world.ts";
import { aNode, aPod, aPodSubnet } from "../../../../test/builders.ts";
import { waitUntil } from "../../../../test/control-plane/api.ts";
import type { AddressEvent } from "../../../wire/api/events.ts";
import type { EventStreamLimits } from "./event-stream.ts";

type Told = { readonly id: string; readonly event: AddressEvent };

/** A listener that collects; `end` hangs up. */
async function listen(
  api: ApiWorld,
  wish: { readonly query?: string; readonly lastEventId?: string } = {},
) {
  const told: Told[] = [];
  const stop = new AbortController();
  const response = await fetch(`${api.url}/v1/events${wish.query ?? ""}`, {
    signal: stop.signal,
    headers: wish.lastEventId === undefined ? {} : { "last-event-id": wish.lastEventId },
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  let lastId = "";
  let comments = 0;
  const ended = (async () => {
    let text = "";
    try {
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk as Uint8Array).toString();
        const blocks = text.split("\n\n");
        text = blocks.pop() ?? "";
        for (const block of blocks) {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
          if (block.startsWith(":")) comments += 1;
          lastId = field("id") ?? lastId;
          const data = field("data");
          if (data === undefined) continue;
          const event = JSON.parse(data) as AddressEvent;
          assert.equal(field("event"), event.kind);
          told.push({ id: lastId, event });
        }
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  await waitUntil(
    "the first id",
    () => lastId,
    (id) => id !== "",
  );
  return {
    told,
    lastId: () => lastId,
    comments: () => comments,
    end: () => stop.abort(),
    ended,
    whenTold: (what: string, accept: (events: readonly AddressEvent[]) => boolean) =>
      waitUntil(what, () => told.map(({ event }) => event), accept),
  };
}

async function aWorld(t: TestContext, limits: Partial<EventStreamLimits> = {}): Promise<ApiWorld> {
  const api = await ApiWorld.leading([aPodSubnet()], {}, limits);
  t.after(() => api.close());
  api.world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await api.world.settle();
  return api;
}

const statesOf = (events: readonly AddressEvent[]) =>
  events.flatMap((event) =>
    event.kind === "address" ? [`${event.address.ip} ${event.address.state}`] : [],
  );

describe("GET /v1/events", () => {
  it("tells addresses, Pools and how full the subnets are", async (t) => {
    const api = await aWorld(t);
    const listener = await listen(api);
    const pod = await api.world.schedule(aPod({ name: "web-0" }));
    await listener.whenTold("the address", (events) => statesOf(events).length > 0);
    await api.world.deletePod(pod.id);
    api.world.cluster.putPool({ name: "blue", size: 0 });
    await listener.whenTold("all of it", (events) => {
      const states = statesOf(events);
      const usage = events.findLast((event) => event.kind === "usage");
      return (
        states.at(0) === "10.0.70.2 bound" &&
        states.at(-1) === "10.0.70.2 free" &&
        events.some((event) => event.kind === "pool" && event.name === "blue") &&
        usage?.kind === "usage" &&
        usage.subnets[0]?.bound === 0
      );
    });
    listener.end();
    await listener.ended;
    await waitUntil(
      "the listener to be gone",
      () => api.stream.listenerCount,
      (n) => n === 0,
    );
  });

  it("who comes back is told what was missed, each address once and as it is now", async (t) => {
    const api = await aWorld(t);
    const first = await listen(api);
    const pod = await api.world.schedule(aPod({ name: "web-0" }));
    await first.whenTold("the address", (events) => statesOf(events).length > 0);
    first.end();
    const id = first.lastId();
    await api.world.deletePod(pod.id);
    await api.world.schedule(aPod({ name: "web-1" }));
    await api.world.schedule(aPod({ name: "web-2" }));
    const second = await listen(api, { lastEventId: id });
    await second.whenTold("what was missed", (events) => statesOf(events).length === 3);
    assert.deepEqual(statesOf(second.told.map(({ event }) => event)).toSorted(), [
      "10.0.70.2 free",
      "10.0.70.3 bound",
      "10.0.70.4 bound",
    ]);
    second.end();
  });

  it("who missed too much, or comes from another process, is told to read everything again", async (t) => {
    const api = await aWorld(t, { remembered: 2 });
    const before = await listen(api);
    before.end();
    for (const name of ["web-0", "web-1", "web-2"]) await api.world.schedule(aPod({ name }));
    for (const lastEventId of [before.lastId(), "elsewhere-3", "nonsense", `${before.lastId()}9`]) {
      const listener = await listen(api, { lastEventId });
      await listener.whenTold("to read again", ([event]) => event?.kind === "reset");
      listener.end();
    }
  });

  it("a namespace narrows it, and both the old and the new owner's namespace count", async (t) => {
    const api = await aWorld(t);
    const listener = await listen(api, { query: "?namespace=ns2" });
    await api.world.schedule(aPod({ name: "web-0", namespace: "ns1" }));
    const other = await api.world.schedule(aPod({ name: "web-0", namespace: "ns2" }));
    await api.world.deletePod(other.id);
    await listener.whenTold("both changes", (events) => statesOf(events).length === 2);
    assert.deepEqual(statesOf(listener.told.map(({ event }) => event)), [
      "10.0.70.3 bound",
      "10.0.70.3 free",
    ]);
    listener.end();
  });

  it("gives signs of life, ends a stream after its time, and turns away who is too many", async (t) => {
    const api = await aWorld(t, { heartbeatMs: 20, longestMs: 400, listeners: 1 });
    const listener = await listen(api);
    const refused = await api.call("/v1/events");
    assert.equal(refused.status, 429);
    assert.match(refused.body.message, /1 listen already/);
    await waitUntil("signs of life", listener.comments, (count) => count > 1);
    await listener.ended;
    const again = await listen(api);
    again.end();
  });

  it("a follower sends listeners away and lets none in", async (t) => {
    const api = await aWorld(t, { heartbeatMs: 20 });
    const listener = await listen(api);
    api.world.leadership.become(false, "another");
    await listener.ended;
    assert.equal(listener.told.at(-1)?.event.kind, "reset");
    const refused = await api.call("/v1/events");
    assert.equal(refused.status, 503);
  });

  it("a listener that does not read is sent away and the others are not held up", async (t) => {
    const api = await aWorld(t, { waitingBytes: 128 * 1024, farewellMs: 50 });
    const { hostname, port } = new URL(api.url);
    const lazy = connect(Number(port), hostname);
    t.after(() => lazy.destroy());
    lazy.pause();
    lazy.write("GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await waitUntil(
      "the lazy one",
      () => api.stream.listenerCount,
      (count) => count === 1,
    );
    const eager = await listen(api);
    const pod = await api.world.schedule(aPod({ name: "web-0" }));
    const [ip] = pod.assignedIps;
    assert.ok(ip !== undefined);
    // The kernel takes some megabytes before anything waits here.
    await waitUntil(
      "the lazy one to be sent away",
      () => {
        for (let index = 0; index < 50; index += 1) api.stream.addressChanged(ip, ["ns1"]);
        return api.stream.listenerCount;
      },
      (count) => count === 1,
      { everyMs: 1 },
    );
    const before = eager.told.length;
    await api.world.deletePod(pod.id);
    await eager.whenTold("news", (events) => events.length > before);
    eager.end();
  });
});
