// What --profiling serves, at the Go program's paths: where the program's time and memory go. The formats are V8's, not pprof's.

import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/**
 * A right of its own, which no role of ours has: a heap snapshot holds everything in the program's memory, the token of its service
 * account and private keys among it.
 */
const access = { verb: "get", resource: "profiles" } as const;

/** A CPU profile. The longest is shorter than the time in which the port gives an answer up. */
export const getCpuProfile = endpoint({
  id: "getCpuProfile",
  method: "GET",
  path: "/debug/pprof/profile",
  topic: "profiles",
  summary: "Where the program's time goes, as a .cpuprofile (with --profiling)",
  access,
  query: Type.Object({
    seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 25, default: 10 })),
  }),
  answers: {
    200: {
      description: "a profile that the browser's development tools open",
      schema: Type.Object({}, { title: "api.CpuProfile", additionalProperties: true }),
    },
    429: { description: "another profile or snapshot is being made" },
  },
});

/** A heap snapshot. */
export const getHeapSnapshot = endpoint({
  id: "getHeapSnapshot",
  method: "GET",
  path: "/debug/pprof/heap",
  topic: "profiles",
  summary: "What is in the program's memory, as a .heapsnapshot (with --profiling)",
  access,
  answersWith: "application/octet-stream",
  answers: {
    200: {
      description: "a snapshot that the browser's development tools open; it holds secrets",
      schema: Type.Unsafe<string>({ type: "string", format: "binary" }),
    },
    429: { description: "another profile or snapshot is being made" },
  },
});
