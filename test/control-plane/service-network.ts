// The network of Services and pods, which a machine without nodes does not have: the API server and kube-scheduler are told to reach it through
// a proxy on loopback (the API server by its egress selector, the scheduler by its environment), which leads them to processes.

import { mkdtempSync } from "node:fs";
import { createServer, request } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createSocketServer,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeAtExit } from "./child-program.ts";

/** The port on loopback behind an address of the cluster; undefined while there is none. */
export type LeadTo = (host: string, port: number) => number | undefined;

export type ServiceNetwork = {
  /** What `--egress-selector-config-file` of kube-apiserver has to name, as JSON. */
  readonly egressSelector: string;
  /** Environment of a program that reaches Services by its proxy: kube-scheduler. */
  readonly env: Readonly<Record<string, string>>;
  /** From now on addresses lead there; before, nowhere. */
  lead(to: LeadTo): void;
  stop(): Promise<void>;
};

/** Starts the proxy: CONNECT, and plain requests by absolute URL. */
export async function startServiceNetwork(): Promise<ServiceNetwork> {
  let leadTo: LeadTo = () => undefined;
  const sockets = new Set<Socket>();
  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((incoming, outgoing) => {
    const { hostname, port, pathname, search } = new URL(incoming.url ?? "", "http://nowhere");
    const target = leadTo(hostname, Number(port === "" ? 80 : port));
    if (target === undefined) {
      outgoing.writeHead(502).end(`nothing at ${hostname}:${port}`);
      return;
    }
    const { method, headers } = incoming;
    const onward = request(
      { host: "127.0.0.1", port: target, path: `${pathname}${search}`, method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.once("error", () => outgoing.destroy());
    incoming.pipe(onward);
  });
  server.on("connection", track);
  server.on("connect", ({ url = "" }, client: Socket) => {
    client.once("error", () => client.destroy());
    const { hostname, port } = new URL(`http://${url}`);
    const target = leadTo(hostname, Number(port === "" ? 80 : port));
    if (target === undefined) {
      client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
      return;
    }
    const program = track(
      connect(target, "127.0.0.1", () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(program).pipe(client);
      }),
    );
    for (const [one, other] of [
      [client, program],
      [program, client],
    ] as const) {
      one.once("error", () => other.destroy());
      one.once("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // The API server takes a port only with TLS (1.20 ends with a nil pointer).
  const folder = mkdtempSync(join(tmpdir(), "galaxy-network-"));
  removeAtExit(folder);
  const udsName = join(folder, "socket");
  const local = createSocketServer((socket) => server.emit("connection", socket));
  await new Promise<void>((resolve) => local.listen(udsName, resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    egressSelector: JSON.stringify({
      apiVersion: "apiserver.k8s.io/v1beta1",
      kind: "EgressSelectorConfiguration",
      egressSelections: [
        {
          name: "cluster",
          connection: { proxyProtocol: "HTTPConnect", transport: { uds: { udsName } } },
        },
      ],
    }),
    env: { HTTP_PROXY: url, HTTPS_PROXY: url },
    lead: (to) => {
      leadTo = to;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => local.close(() => resolve()));
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
