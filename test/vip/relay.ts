// Passes TCP connections on between a port and a socket file, byte by byte: a file is seen from every network namespace, a port of loopback is
// not. Usage: relay.ts HOST:PORT|FILE HOST:PORT|FILE, where it listens and where it leads to. Not part of the product.

import { connect, createServer } from "node:net";

function placeOf(text: string): { readonly path: string } | { host: string; port: number } {
  if (text.startsWith("/")) return { path: text };
  const [host = "", port = ""] = text.split(":");
  return { host, port: Number(port) };
}

const [from = "", to = ""] = process.argv.slice(2);
createServer({ noDelay: true }, (client) => {
  const target = connect({ ...placeOf(to), noDelay: true });
  for (const [one, other] of [
    [client, target],
    [target, client],
  ] as const) {
    one.pipe(other);
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
}).listen(placeOf(from), () => process.stdout.write("ready\n"));
