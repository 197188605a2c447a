// What a Kubernetes Service does for replicas of one program: one address that leads to whichever replica is ready.
// It forwards TCP connections on loopback; it balances nothing, as only one replica is meant to be ready.

import { request } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** One replica: where connections go, and what tells whether it is ready (200) or not. */
export type Endpoint = {
  readonly host?: string;
  readonly port: number;
  /** For example `http://127.0.0.1:9041/readyz`. */
  readonly readyUrl: string;
};

export type Service = {
  /** `http://127.0.0.1:PORT`, to be given to the scheduler as `extenderUrl`. */
  readonly url: string;
  /** Changes the replicas, as when one is started anew on another port. */
  setEndpoints(endpoints: readonly Endpoint[]): void;
  /** Which replica gets the next connection; undefined while none is ready. */
  ready(): Endpoint | undefined;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts forwarding; readiness is asked every `probeMs` (200 by default; a cluster asks every 10 s). */
export async function startService(
  endpoints: readonly Endpoint[],
  options: { readonly probeMs?: number } = {},
): Promise<Service> {
  const probeMs = options.probeMs ?? 200;
  const sockets = new Set<Socket>();
  let all = endpoints;
  let ready: Endpoint | undefined;
  let isProbing = false;

  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    track(client);
    if (ready === undefined) {
      client.destroy();
      return;
    }
    const replica = track(connect(ready.port, ready.host ?? "127.0.0.1"));
    client.pipe(replica).pipe(client);
    for (const [one, other] of [
      [client, replica],
      [replica, client],
    ] as const) {
      // A connection ends as a whole, so that whoever waits on the other side learns it at once.
      one.once("error", () => other.destroy());
      one.once("close", () => other.destroy());
    }
  });
  const probe = async (): Promise<void> => {
    if (isProbing) {
      return;
    }
    isProbing = true;
    const asked = all;
    const answers = await Promise.all(asked.map((endpoint) => answersOk(endpoint.readyUrl)));
    ready = asked.find((_, index) => answers[index]);
    isProbing = false;
  };
  const timer = setInterval(() => void probe(), probeMs);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await probe();

  const stop = async (): Promise<void> => {
    clearInterval(timer);
    for (const socket of sockets) {
      socket.destroy();
    }
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    setEndpoints: (endpoints) => {
      all = endpoints;
    },
    ready: () => ready,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function answersOk(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false, timeout: 10_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(false));
    asked.end();
  });
}
