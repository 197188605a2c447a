// GET /debug/pprof/profile and /debug/pprof/heap: profiles of this process. Who may have them is the guard's matter; that they are served at
// all is --profiling's.

import { Session } from "node:inspector/promises";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { getHeapSnapshot as takeHeapSnapshot } from "node:v8";
import type { FastifyReply, FastifyRequest } from "fastify";
import { getCpuProfile, getHeapSnapshot } from "../../../wire/api/profiles.ts";
import type { RawQuery } from "../../../wire/api/read-request.ts";
import { readParameters } from "../../../wire/api/read-request.ts";
import { sendProblem } from "../http-door.ts";
import type { Route } from "./route.ts";

/** The routes. One profile or snapshot at a time: each costs time of everybody, and a snapshot as much memory again. */
export function profileRoutes(): readonly Route[] {
  let isBusy = false;
  const alone =
    (make: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>) =>
    async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      if (isBusy) {
        const message = "another profile or snapshot is being made; try again when it is there";
        return sendProblem(reply, 429, message);
      }
      isBusy = true;
      try {
        return await make(request, reply);
      } finally {
        isBusy = false;
      }
    };
  return [
    { endpoint: getCpuProfile, answer: alone(sendCpuProfile) },
    { endpoint: getHeapSnapshot, answer: alone(sendHeapSnapshot) },
  ];
}

async function sendCpuProfile(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const read = readParameters(getCpuProfile.query, request.query as RawQuery);
  if (read.kind === "invalid") return sendProblem(reply, 400, read.message, { field: read.field });
  // The endpoint's schema filled it in.
  const { seconds } = read.value as { readonly seconds: number };
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.start");
    // Whoever hung up wants no profile; the next one may have his.
    await pause(seconds * 1_000, undefined, { signal: gone.signal }).catch(() => {});
    const { profile } = await session.post("Profiler.stop");
    return await attached(reply, "galaxy-ipam.cpuprofile")
      .type("application/json; charset=utf-8")
      .send(JSON.stringify(profile));
  } finally {
    session.disconnect();
  }
}

/** Everything stands still while V8 writes its memory down; what is written then leaves as fast as the caller reads. */
async function sendHeapSnapshot(_: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  attached(reply, "galaxy-ipam.heapsnapshot").type("application/octet-stream");
  // The port's time for an answer is not for this one.
  reply.hijack();
  reply.raw.writeHead(200, reply.getHeaders() as Record<string, string>);
  // A caller that hangs up in the middle is no failure of ours, and has nobody to be told.
  await pipeline(takeHeapSnapshot(), reply.raw).catch(() => {});
  return reply;
}

function attached(reply: FastifyReply, name: string): FastifyReply {
  return reply
    .header("content-disposition", `attachment; filename="${name}"`)
    .header("cache-control", "no-store");
}
