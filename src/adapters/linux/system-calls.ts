// The few system calls that Node does not have (sockets of families other than IP and unix, setns), through koffi. Where its prebuilt
// library is missing or does not fit, there are none, and iproute2 does the work.

import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";

/** Numbers of linux/socket.h and its neighbours, the same on every architecture that Node runs on. */
export const socketNumbers = {
  unix: 1,
  netlink: 16,
  packet: 17,
  stream: 1,
  raw: 3,
  closeOnExec: 0o2000000,
  routes: 0,
  dontWait: 0x40,
  netlinkOptions: 270,
  extendedAck: 11,
  strictCheck: 12,
} as const;

const newNetworkNamespace = 0x40000000;

/** Threads that Node has for everything that blocks. */
const threadCount = Number(process.env["UV_THREADPOOL_SIZE"] ?? "") || 4;

/** Sends at once: each may wait for the kernel. One thread is for closing, and one is left to files. */
const sendsAtOnce = Math.max(1, threadCount - 2);

/** As many as wait for a lock at a time; the kernel has its own limit. */
const backlog = 4096;

type AsyncSend = (
  socket: number,
  bytes: Uint8Array,
  size: number,
  flags: number,
  done: (error: unknown, sent: number) => void,
) => void;
type AsyncClose = (socket: number, done: (error: unknown) => void) => void;

/** System calls of this process. Failures are thrown as Errors with the kernel's reason. */
export type SystemCalls = {
  openSocket(family: number, type: number, protocol: number): number;
  setOption(socket: number, level: number, option: number, value: number): void;
  /**
   * Sends a netlink request, which the kernel carries out before the call ends. In another thread when that takes long (`slow`), or when
   * another one is under way, whose lock it might wait for; at once otherwise, which costs a fifth.
   */
  send(socket: number, bytes: Uint8Array, pace: "quick" | "slow"): Promise<void>;
  /** Sends one frame out of a device; only queues it. */
  sendFrame(socket: number, frame: Uint8Array, device: number): void;
  /** What is in the socket's queue already; never waits. @returns the number of bytes */
  receive(socket: number, into: Uint8Array): number;
  /**
   * A listening unix socket with that abstract name (unix(7)); undefined when somebody has it. Nobody accepts: who connects is told by the end
   * of the connection that it was closed.
   */
  holdName(name: string): number | undefined;
  close(socket: number): void;
  /** Closes a packet socket, in another thread: the kernel first waits until no processor is using it, which is ten milliseconds. */
  closeSlowly(socket: number): void;
  /**
   * Runs the action with this thread in another network namespace. The action must not wait for anything: the thread is the program's
   * only one, and everything else it did meanwhile would happen there. Sockets that it opens stay in that namespace, and files
   * below /proc/sys/net are that namespace's.
   * @param netns path of the namespace; rejects what the kernel refuses
   */
  inNamespace<T>(netns: string, action: () => T): T;
};

/** The system calls, or undefined where they are not to be had. */
export async function loadSystemCalls(): Promise<SystemCalls | undefined> {
  // Executables made with Bun carry no library with them.
  if (process.platform !== "linux" || "Bun" in globalThis) return undefined;
  // A package of every platform, and none of this one.
  const koffi = await import("koffi").catch(() => undefined);
  if (koffi === undefined) return undefined;
  const home = openSync("/proc/thread-self/ns/net", "r");
  const library = koffi.load(null);
  const socket = library.func("int socket(int, int, int)");
  const setsockopt = library.func("int setsockopt(int, int, int, const void *, uint32_t)");
  const send = library.func("int64_t send(int, const void *, uint64_t, int)");
  const sendto = library.func(
    "int64_t sendto(int, const void *, uint64_t, int, const void *, uint32_t)",
  );
  const recv = library.func("int64_t recv(int, _Out_ uint8_t *, uint64_t, int)");
  const setns = library.func("int setns(int, int)");
  const close = library.func("int close(int)");
  const bind = library.func("int bind(int, const void *, uint32_t)");
  const listen = library.func("int listen(int, int)");
  const asked = (what: string, result: unknown): number => {
    const value = Number(result);
    if (value >= 0) return value;
    const errno = koffi.errno();
    throw new Error(`${what}: ${getSystemErrorMessage(-errno)}`);
  };
  let underWay = 0;
  const waiting: (() => void)[] = [];
  const turn = async (): Promise<void> => {
    if (underWay >= sendsAtOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else underWay += 1;
  };
  const pass = (): void => {
    const next = waiting.shift();
    if (next === undefined) underWay -= 1;
    else next();
  };
  const toClose: number[] = [];
  let isClosing = false;
  const closeNext = (): void => {
    const next = toClose.shift();
    isClosing = next !== undefined;
    if (next !== undefined) (close.async as AsyncClose)(next, closeNext);
  };
  return {
    openSocket: (family, type, protocol) =>
      asked("socket", socket(family, type | socketNumbers.closeOnExec, protocol)),
    setOption: (fd, level, option, value) => {
      const bytes = new Uint8Array(new Int32Array([value]).buffer);
      asked("setsockopt", setsockopt(fd, level, option, bytes, bytes.length));
    },
    send: async (fd, bytes, pace) => {
      if (pace === "quick" && underWay === 0) {
        asked("send", send(fd, bytes, bytes.length, 0));
        return;
      }
      await turn();
      await new Promise<void>((resolve, reject) => {
        const done = (error: unknown, sent: number) => {
          pass();
          if (error === null && sent === bytes.length) resolve();
          else reject(new Error(`send: the kernel took ${sent} of ${bytes.length} bytes`));
        };
        (send.async as AsyncSend)(fd, bytes, bytes.length, 0, done);
      });
    },
    sendFrame: (fd, frame, device) => {
      // struct sockaddr_ll of packet(7); with SOCK_RAW only the device counts.
      const address = Buffer.alloc(20);
      address.writeUInt16LE(socketNumbers.packet, 0);
      address.writeInt32LE(device, 4);
      asked("sendto", sendto(fd, frame, frame.length, 0, address, address.length));
    },
    receive: (fd, into) => asked("recv", recv(fd, into, into.length, socketNumbers.dontWait)),
    holdName: (name) => {
      const { unix, stream, closeOnExec } = socketNumbers;
      const fd = asked("socket", socket(unix, stream | closeOnExec, 0));
      const address = Buffer.from(`\0\0\0${name}`, "utf8");
      address.writeUInt16LE(unix, 0);
      if (bind(fd, address, address.length) === 0) {
        asked("listen", listen(fd, backlog));
        return fd;
      }
      const errno = koffi.errno();
      close(fd);
      if (errno === constants.errno.EADDRINUSE) return undefined;
      throw new Error(`bind: ${getSystemErrorMessage(-errno)}`);
    },
    close: (fd) => {
      close(fd);
    },
    closeSlowly: (fd) => {
      toClose.push(fd);
      if (!isClosing) closeNext();
    },
    inNamespace: (netns, action) => {
      const there = openSync(netns, "r");
      try {
        asked(`enter ${netns}`, setns(there, newNetworkNamespace));
      } finally {
        closeSync(there);
      }
      try {
        return action();
      } finally {
        // A program that cannot go home would change the pod's network and take it for the node's.
        if (setns(home, newNetworkNamespace) !== 0) process.abort();
      }
    },
  };
}
