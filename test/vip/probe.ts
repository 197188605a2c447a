// A client in one network namespace that asks echo.ts again and again, by UDP from one port and from fresh ones, and by TCP. Commands come as
// JSON lines on stdin, what it finds goes as lines to stdout. Not part of the product.

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** What the client does from now on under a name, until it is told to stop that. */
export type ProbeCommand =
  | {
      readonly do: "udp";
      readonly id: string;
      readonly ip: string;
      readonly port: number;
      readonly everyMs: number;
      /** A new source port for each question; otherwise one for all. */
      readonly isFresh: boolean;
    }
  | { readonly do: "tcp"; readonly id: string; readonly ip: string; readonly port: number }
  /** One connection that sends a line every so often, and says when it is broken. */
  | {
      readonly do: "tcp-long";
      readonly id: string;
      readonly ip: string;
      readonly port: number;
      readonly everyMs: number;
    }
  | { readonly do: "stop"; readonly id: string };

/** What the client says. Times are milliseconds of the machine's monotonic clock, which all processes share. */
export type ProbeLine =
  | { readonly kind: "ready" }
  | {
      readonly kind: "answer";
      readonly id: string;
      /** When it was asked and answered. */
      readonly askedMs: number;
      readonly ms: number;
      readonly pod: string;
      /** The client's address as the pod saw it. */
      readonly source: string;
    }
  | { readonly kind: "asked"; readonly id: string; readonly ms: number }
  | {
      readonly kind: "connected";
      readonly id: string;
      readonly ms: number;
      readonly pod: string;
      readonly source: string;
    }
  | { readonly kind: "broken"; readonly id: string; readonly ms: number; readonly because: string }
  | { readonly kind: "stopped"; readonly id: string; readonly ms: number };

const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const say = (line: ProbeLine) => process.stdout.write(`${JSON.stringify(line)}\n`);
const stops = new Map<string, () => void>();
/** A fresh socket that got no answer is given up. */
const patienceMs = 2_000;

function askByUdp(command: Extract<ProbeCommand, { do: "udp" }>): void {
  const { id, ip, port, everyMs, isFresh } = command;
  const open = new Set<UdpSocket>();
  const make = () => {
    const socket = createSocket(ip.includes(":") ? "udp6" : "udp4");
    open.add(socket);
    // Host unreachable and the like: no answer.
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const [pod = "", source = "", askedMs = ""] = data.toString("latin1").split(" ");
      say({ kind: "answer", id, askedMs: Number(askedMs), ms: nowMs(), pod, source });
      if (isFresh) close(socket);
    });
    return socket;
  };
  const close = (socket: UdpSocket) => {
    if (open.delete(socket)) socket.close();
  };
  const one = isFresh ? undefined : make();
  let nextMs = nowMs();
  let timer: NodeJS.Timeout;
  const ask = () => {
    const socket = one ?? make();
    const askedMs = nowMs();
    socket.send(String(askedMs), port, ip, () => {});
    say({ kind: "asked", id, ms: askedMs });
    if (isFresh) setTimeout(() => close(socket), patienceMs);
    nextMs = Math.max(nextMs + everyMs, nowMs());
    timer = setTimeout(ask, Math.max(0, nextMs - nowMs()));
  };
  ask();
  stops.set(id, () => {
    clearTimeout(timer);
    for (const socket of open) close(socket);
  });
}

function talkByTcp(command: Extract<ProbeCommand, { do: "tcp" | "tcp-long" }>): void {
  const { id, ip, port } = command;
  const socket: Socket = connect(port, ip);
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  const end = (because: string) => {
    if (isOver) return;
    isOver = true;
    clearInterval(timer);
    socket.destroy();
    say({ kind: "broken", id, ms: nowMs(), because });
  };
  socket.setNoDelay(true);
  socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.on("close", () => end("closed"));
  let text = "";
  let isGreeted = false;
  socket.on("data", (data) => {
    text += data.toString("latin1");
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      const [first = "", second = ""] = line.split(" ");
      if (isGreeted) {
        say({ kind: "answer", id, askedMs: Number(first), ms: nowMs(), pod: "", source: "" });
      } else {
        isGreeted = true;
        say({ kind: "connected", id, ms: nowMs(), pod: first, source: second });
        if (command.do === "tcp") end("done");
      }
    }
  });
  if (command.do === "tcp-long") {
    timer = setInterval(() => {
      if (isGreeted) socket.write(`${nowMs()}\n`);
    }, command.everyMs);
  }
  stops.set(id, () => end("asked to stop"));
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line) as ProbeCommand;
    if (command.do === "udp") askByUdp(command);
    else if (command.do === "stop") {
      stops.get(command.id)?.();
      stops.delete(command.id);
      say({ kind: "stopped", id: command.id, ms: nowMs() });
    } else talkByTcp(command);
  })
  .on("close", () => process.exit());
say({ kind: "ready" });
