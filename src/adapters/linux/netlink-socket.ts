// A socket of rtnetlink in one network namespace: one request after the other, each with all of its answers.

import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { numbered, parseAnswers } from "./netlink-message.ts";
import type { SystemCalls } from "./system-calls.ts";
import { socketNumbers } from "./system-calls.ts";

/**
 * What a read of any socket gives, as large as the kernel makes one part of a list. One for all sockets, because it is read and taken apart
 * without a pause; one for each would be megabytes that wait for the garbage collector.
 */
const part = Buffer.allocUnsafeSlow(65_536);

/** What the kernel answers to a request that it refuses. */
export class NetlinkRefusal extends Error {
  /** `EEXIST`, `ENODEV`, … */
  readonly code: string;

  constructor(errno: number, reason: string) {
    const words = getSystemErrorMessage(-errno);
    super(reason === "" ? words : `${words} (${reason})`);
    this.name = "NetlinkRefusal";
    this.code = getSystemErrorName(-errno);
  }
}

/** Requests to the kernel. */
export class NetlinkSocket implements Disposable {
  readonly #calls: SystemCalls;
  readonly #socket: number;
  #sequence = 0;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(calls: SystemCalls, socket: number) {
    this.#calls = calls;
    this.#socket = socket;
  }

  /** @param netns path of the namespace; undefined: that of this process */
  static open(calls: SystemCalls, netns: string | undefined): NetlinkSocket {
    const make = () =>
      calls.openSocket(socketNumbers.netlink, socketNumbers.raw, socketNumbers.routes);
    const socket = netns === undefined ? make() : calls.inNamespace(netns, make);
    // Reasons in words, and lists that the kernel filters; kernels without them still answer.
    for (const option of [socketNumbers.extendedAck, socketNumbers.strictCheck]) {
      try {
        calls.setOption(socket, socketNumbers.netlinkOptions, option, 1);
      } catch {
        // Older than Linux 4.20: all answers are filtered here as well.
      }
    }
    return new NetlinkSocket(calls, socket);
  }

  /**
   * Sends a request and collects the objects of its answer. Rejects with a {@link NetlinkRefusal} when the kernel says no.
   * @param bytes a message of {@link message}, with the flag `ack` or `dump`
   * @param pace `slow` for what makes, moves or removes devices: milliseconds
   */
  request(bytes: Buffer, pace: "quick" | "slow" = "quick"): Promise<readonly Buffer[]> {
    const answer = this.#last.then(() => this.#exchange(bytes, pace));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #exchange(bytes: Buffer, pace: "quick" | "slow"): Promise<readonly Buffer[]> {
    this.#sequence += 1;
    const sequence = this.#sequence;
    await this.#calls.send(this.#socket, numbered(bytes, sequence), pace);
    const objects: Buffer[] = [];
    for (;;) {
      // The kernel has answered before it took the request as sent.
      const size = this.#calls.receive(this.#socket, part);
      for (const answer of parseAnswers(part.subarray(0, size))) {
        if (answer.sequence !== sequence) continue;
        if (answer.kind === "object") objects.push(answer.body);
        else if (answer.kind === "end") return objects;
        else throw new NetlinkRefusal(answer.errno, answer.reason);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#calls.close(this.#socket);
  }
}
