// The VipPeers port over UDP between nodes. Every message is authenticated with a key that only agents can read, and an answer repeats the
// nonce of its question, so that nobody else can make a node hold on or let go.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:dgram";
import { createSocket } from "node:dgram";
import type { Ip } from "../../core/ip.ts";
import { parseIp } from "../../core/ip.ts";
import type { VipHeld, VipPeers, VipWord } from "../../ports/vip-peers.ts";
import { asList, textAt, valueAt } from "../../wire/json-value.ts";

/** UDP port of the agents. */
export const vipPeerPort = 9_043;

/** A question names at most so many addresses; more are asked in several. */
const mostHeld = 500;

type Answer = (held: readonly VipHeld[]) => Omit<VipWord, "from"> | undefined;
type Listener = (from: string, word: VipWord) => void;

/** One node's end. */
export class UdpVipPeers implements VipPeers {
  readonly #nodeName: string;
  readonly #ipsOf: (nodeName: string) => readonly Ip[];
  readonly #key: Buffer;
  readonly #socket: Socket;
  readonly #port: number;
  readonly #waiting = new Map<string, Listener>();
  #answer: Answer = () => undefined;

  private constructor(
    socket: Socket,
    options: {
      readonly nodeName: string;
      readonly ipsOf: (nodeName: string) => readonly Ip[];
      readonly key: Buffer;
      readonly port: number;
    },
  ) {
    this.#socket = socket;
    this.#nodeName = options.nodeName;
    this.#ipsOf = options.ipsOf;
    this.#key = options.key;
    this.#port = options.port;
    socket.on("message", (data, from) => this.#hear(data, from.address, from.port));
    // A node that cannot be reached says so by ICMP; its silence is all that matters.
    socket.on("error", () => {});
  }

  /** Listens on all addresses. Rejects when the port is taken. */
  static async open(options: {
    readonly nodeName: string;
    /** Addresses of a node; none when it is not known. */
    readonly ipsOf: (nodeName: string) => readonly Ip[];
    readonly key: Buffer;
    readonly port?: number;
  }): Promise<UdpVipPeers> {
    const port = options.port ?? vipPeerPort;
    const socket = createSocket({ type: "udp6", ipv6Only: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    return new UdpVipPeers(socket, { ...options, port });
  }

  answerWith(answer: Answer): void {
    this.#answer = answer;
  }

  async ask(
    nodeNames: readonly string[],
    held: readonly VipHeld[],
    limitMs: number,
  ): Promise<readonly VipWord[]> {
    const parts: VipHeld[][] = [];
    for (let at = 0; at < held.length; at += mostHeld) parts.push(held.slice(at, at + mostHeld));
    const answers = await Promise.all(parts.map((part) => this.#askPart(nodeNames, part, limitMs)));
    // A node's word counts only when it gave it to everything.
    return nodeNames.flatMap((from): readonly VipWord[] => {
      const words = answers.flatMap((each) => each.get(from) ?? []);
      if (words.length < parts.length) return [];
      return [
        {
          from,
          reachesApi: words.some(({ reachesApi }) => reachesApi),
          later: words.flatMap(({ later }) => later),
        },
      ];
    });
  }

  /** Ends. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  async #askPart(
    nodeNames: readonly string[],
    held: readonly VipHeld[],
    limitMs: number,
  ): Promise<ReadonlyMap<string, VipWord>> {
    const nonce = randomBytes(16).toString("hex");
    const words = new Map<string, VipWord>();
    const question = this.#seal({ kind: "question", nonce, from: this.#nodeName, held });
    await new Promise<void>((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(finish, limitMs);
      this.#waiting.set(nonce, (from, word) => {
        if (nodeNames.includes(from)) words.set(from, word);
        if (words.size === nodeNames.length) finish();
      });
      for (const ip of nodeNames.flatMap((name) => this.#ipsOf(name))) {
        this.#send(question, ip, this.#port);
      }
    });
    this.#waiting.delete(nonce);
    return words;
  }

  #hear(data: Buffer, address: string, port: number): void {
    const message = this.#unseal(data);
    const nonce = textAt(message, "nonce") ?? "";
    const from = textAt(message, "from") ?? "";
    const ipsIn = (member: string) =>
      asList(valueAt(message, member)).flatMap((each) => parseIp(textAt(each, "ip") ?? "") ?? []);
    if (textAt(message, "kind") === "answer") {
      const reachesApi = valueAt(message, "reachesApi") !== false;
      this.#waiting.get(nonce)?.(from, { from, reachesApi, later: ipsIn("later") });
    } else if (textAt(message, "kind") === "question") {
      const held = asList(valueAt(message, "held")).flatMap((each) => {
        const ip = parseIp(textAt(each, "ip") ?? "");
        return ip === undefined ? [] : [{ ip, epoch: Number(valueAt(each, "epoch")) }];
      });
      const word = this.#answer(held);
      if (word === undefined) return;
      const later = word.later.map((ip) => ({ ip }));
      const { reachesApi } = word;
      const answer = { kind: "answer", nonce, from: this.#nodeName, reachesApi, later };
      this.#send(this.#seal(answer), address, port);
    }
  }

  #send(data: Buffer, address: string, port: number): void {
    const to = address.includes(":") ? address : `::ffff:${address}`;
    this.#socket.send(data, port, to, () => {});
  }

  #seal(message: Readonly<Record<string, unknown>>): Buffer {
    const text = Buffer.from(JSON.stringify(message));
    return Buffer.concat([this.#mac(text), text]);
  }

  /** Undefined when it was not made with our key. */
  #unseal(data: Buffer): unknown {
    const [mac, text] = [data.subarray(0, 32), data.subarray(32)];
    if (mac.length !== 32 || !timingSafeEqual(mac, this.#mac(text))) return undefined;
    try {
      return JSON.parse(text.toString("utf8")) as unknown;
    } catch {
      return undefined;
    }
  }

  #mac(text: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(text).digest();
  }
}
