// The part of an API server that lists records: pages of FloatingIP objects over HTTP, made as they are asked for. Run as a child
// process (`fork`), so that its memory is not part of a figure; it tells its port.

import { createServer } from "node:http";
import { formatFloatingIp } from "../../src/wire/crd.ts";
import { type Member, population } from "./population.ts";

/** What the parent asks for next: how many records there are. */
export type RecordServerOrder = { readonly count: number };

const nodeCount = 5_000;
let members: Generator<Member> | undefined;
let count = 0;

/** As the API server writes a record: with what it adds itself. */
function recordOf({ allocation }: Member, index: number): object {
  const record = formatFloatingIp(allocation);
  return {
    ...record,
    metadata: {
      ...record.metadata,
      uid: `0e0e0e0e-0000-4000-8000-${String(index).padStart(12, "0")}`,
      generation: 1,
      creationTimestamp: "2026-09-21T12:00:00Z",
      resourceVersion: allocation.version,
    },
  };
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  const limit = Number(url.searchParams.get("limit") ?? 500);
  const from = Number(url.searchParams.get("continue") ?? 0);
  if (from === 0) members = population(count, nodeCount);
  const items: object[] = [];
  while (items.length < limit) {
    const next = members?.next();
    if (next === undefined || next.done === true) break;
    items.push(recordOf(next.value, from + items.length));
  }
  const reached = from + items.length;
  const metadata = {
    resourceVersion: "20000000",
    ...(reached < count ? { continue: String(reached) } : {}),
  };
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ kind: "FloatingIPList", metadata, items }));
});

process.on("message", (order: RecordServerOrder) => {
  count = order.count;
  process.send?.("ready");
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.(typeof address === "object" && address !== null ? address.port : 0);
});
