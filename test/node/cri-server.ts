// A CRI server that says what a test wants, on node:http2: for answers that no real runtime can be made to give.

import { once } from "node:events";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { createServer } from "node:http2";
import { formatMessage } from "../../src/adapters/cri/protobuf.ts";

/** What it answers to a path: sandboxes by id, a gRPC status, these very bytes, an HTTP status without gRPC, or nothing for ever. */
export type CriReply =
  | { readonly ids: readonly string[] }
  | { readonly status: number; readonly message: string }
  | { readonly bytes: Uint8Array }
  | { readonly http: number }
  | "silence";

/** A listening server. */
export type CriServer = { stop(): Promise<void> };

/** Listens on a unix socket. */
export async function startCriServer(
  socket: string,
  reply: (path: string) => CriReply,
): Promise<CriServer> {
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    answer(stream, reply(String(headers[":path"])));
  });
  server.listen(socket);
  await once(server, "listening");
  return {
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

function answer(stream: ServerHttp2Stream, reply: CriReply): void {
  if (reply === "silence") return;
  const type = { "content-type": "application/grpc" };
  if ("http" in reply) {
    stream.respond({ ":status": reply.http });
    stream.end("not gRPC");
  } else if ("status" in reply) {
    const message = encodeURIComponent(reply.message);
    const trailers = { "grpc-status": String(reply.status), "grpc-message": message };
    stream.respond({ ":status": 200, ...type, ...trailers }, { endStream: true });
  } else {
    const bytes = "bytes" in reply ? reply.bytes : frameOf(reply.ids);
    stream.respond({ ":status": 200, ...type }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(bytes);
  }
}

function frameOf(ids: readonly string[]): Uint8Array {
  const message = formatMessage(
    ids.map((id) => {
      const metadata = formatMessage([[1, `pod of ${id}`]]);
      return [
        1,
        formatMessage([
          [1, id],
          [2, metadata],
          [4, 1_700_000_000],
        ]),
      ] as const;
    }),
  );
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
