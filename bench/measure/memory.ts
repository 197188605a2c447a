// What this process has in memory after a garbage collection. Needs the flag --expose-gc.

/** Bytes of the heap in use and of buffers outside it. */
export function usedBytes(): number {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("run this benchmark with --expose-gc");
  // A second collection frees what the first one finalised.
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
