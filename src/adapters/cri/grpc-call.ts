// One gRPC call with one answer over a unix socket (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), on node:http2. No
// streams, no compression, no channel that is kept: a node asks its runtime once a minute.

import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { connect, constants } from "node:http2";
import { createConnection } from "node:net";

/** How a call ended: the answer, or gRPC's status with its message (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export type GrpcAnswer =
  | { readonly kind: "answer"; readonly message: Uint8Array }
  | { readonly kind: "status"; readonly code: number; readonly message: string };

/** The status of a method that the server does not have. */
export const statusUnimplemented = 12;

/** A node has a few hundred sandboxes of a few hundred bytes each, with their labels and annotations. */
const mostAnswerBytes = 64 * 2 ** 20;

/**
 * Calls a method.
 * Rejects with an Error when there was no connection, no answer in time, or one that is no gRPC.
 * @param call.path `/package.Service/Method`
 */
export async function callGrpc(call: {
  readonly socket: string;
  readonly path: string;
  readonly message: Uint8Array;
  readonly limitMs: number;
}): Promise<GrpcAnswer> {
  // gRPC servers in Go refuse an authority that is a path.
  const session = connect("http://localhost", {
    createConnection: () => createConnection(call.socket),
  });
  try {
    return await new Promise<GrpcAnswer>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${call.limitMs} ms`));
      }, call.limitMs);
      const settle = (error: Error | undefined, answer?: GrpcAnswer) => {
        clearTimeout(timer);
        if (answer === undefined) reject(error ?? new Error("the connection was closed"));
        else resolve(answer);
      };
      session.on("error", settle);
      session.once("close", () => settle(undefined));
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: "POST",
        [constants.HTTP2_HEADER_PATH]: call.path,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
        [constants.HTTP2_HEADER_TE]: "trailers",
        "grpc-timeout": `${call.limitMs}m`,
      });
      readAnswer(stream, settle);
      stream.end(formatFrame(call.message));
    });
  } finally {
    session.destroy();
  }
}

function readAnswer(
  stream: ClientHttp2Stream,
  settle: (error: Error | undefined, answer?: GrpcAnswer) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let headers: IncomingHttpHeaders = {};
  stream.on("error", settle);
  // An answer without a message has its status where others have their headers.
  stream.on("response", (received) => {
    headers = { ...headers, ...received };
  });
  stream.on("trailers", (received: IncomingHttpHeaders) => {
    headers = { ...headers, ...received };
  });
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > mostAnswerBytes) {
      settle(new Error(`the answer is larger than ${mostAnswerBytes} bytes`));
      stream.close();
    } else chunks.push(chunk);
  });
  stream.on("end", () => {
    const http = Number(headers[":status"] ?? Number.NaN);
    const status = Number(headers["grpc-status"] ?? Number.NaN);
    if (!Number.isInteger(status)) {
      settle(new Error(`no gRPC answer (HTTP status ${Number.isNaN(http) ? "none" : http})`));
    } else if (status !== 0) {
      const message = decodeMessage(String(headers["grpc-message"] ?? ""));
      settle(undefined, { kind: "status", code: status, message });
    } else {
      const message = parseFrame(Buffer.concat(chunks));
      if (message === undefined) settle(new Error("the answer is no single gRPC message"));
      else settle(undefined, { kind: "answer", message });
    }
  });
}

/** A byte that says that it is not compressed, the length in four bytes, the message. */
function formatFrame(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}

function parseFrame(bytes: Buffer): Uint8Array | undefined {
  if (bytes.length < 5 || bytes[0] !== 0) return undefined;
  return bytes.readUInt32BE(1) === bytes.length - 5 ? bytes.subarray(5) : undefined;
}

/** gRPC writes its messages percent-encoded; one that is not stays as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
