// A small process that does what Node cannot: it tells the kernel to forget flows, and withdraws offered routes when nobody renews the offer,
// also because this program died or stands still; where there are no system calls it sends frames too. It is Perl, which every Debian has (perl-base) and which needs no
// module for it. What is sent is made in vip-frames.ts.

import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { getSystemErrorMessage } from "node:util";
import type { Log } from "../../ports/log.ts";
import type { SystemCalls } from "./system-calls.ts";
import { socketNumbers } from "./system-calls.ts";

/** Protocol of routes that are offered to a routing daemon (`ip route show proto 157`, BIRD's krt_source). */
export const offeredProtocol = 157;

/**
 * Lines in: `F INDEX HEX` a frame out of the device, `C HEX` a message to netfilter, `O MS` the offer is good for that long from now on,
 * `K` leave what is offered at the end. Lines out: what failed. At the end of its input, or when the offer runs out, it withdraws.
 */
const program = String.raw`
use strict; use warnings;
my ($protocol, $hook) = @ARGV;
$SIG{PIPE} = 'IGNORE'; $SIG{INT} = 'IGNORE'; $SIG{TERM} = 'IGNORE'; $| = 1;
my ($frames, $netfilter);
socket($frames, 17, 3, 0) or print "frames: $!\n";
socket($netfilter, 16, 3, 12) or print "flows: $!\n";
my ($buffer, $until, $leave) = ('', 0, 0);
sub now { open(my $f, '<', '/proc/uptime') or return time; my ($s) = split / /, <$f>; return $s; }
sub withdraw {
  $until = 0;
  for my $family ('-4', '-6') {
    my @gone = map { /^(?:unicast )?([0-9a-f.:]+)/ ? $1 : () } split /\n/, qx(ip $family route show proto $protocol);
    next unless @gone;
    system("ip $family route flush proto $protocol >/dev/null 2>&1");
    if ($hook ne '') { system($hook, 'del', $_) for @gone }
  }
}
sub obey {
  my ($verb, $first, $second) = split / /, $_[0];
  if ($verb eq 'F') {
    my $frame = pack('H*', $second);
    my $to = pack('S n i S C C a8', 17, 0x0806, $first, 0, 0, 6, substr($frame, 0, 6));
    # What the gate holds back fails with ENOBUFS: that is what it is for.
    defined(send($frames, $frame, 0, $to)) or $! == 105 or print "frame: $!\n";
  } elsif ($verb eq 'C') {
    defined(send($netfilter, pack('H*', $first), 0, pack('S S L L', 16, 0, 0, 0))) or print "flows: $!\n";
    my $answer = '';
    if (defined(recv($netfilter, $answer, 8192, 0))) {
      my ($size, $type, $flags, $seq, $pid, $code) = unpack('L S S L L l', $answer);
      # 2: there was none.
      if ($type == 2 && $code != 0 && $code != -2) { $! = -$code; print "flows: $!\n" }
    }
  } elsif ($verb eq 'O') { $until = now() + $first / 1000 }
  elsif ($verb eq 'K') { $leave = 1 }
}
while (1) {
  my $set = ''; vec($set, fileno(STDIN), 1) = 1;
  my $wait = $until > 0 ? $until - now() : undef;
  if (defined $wait && $wait <= 0) { withdraw(); next }
  next unless select($set, undef, undef, $wait) > 0;
  my $got = sysread(STDIN, $buffer, 65536, length $buffer);
  last unless $got;
  while ($buffer =~ s/^([^\n]*)\n//) { obey($1) }
}
withdraw() unless $leave;
`;

/** The speaker of one node; started when it is first needed at the latest, and again when it ended. */
export class VipSpeaker {
  readonly #command: readonly string[];
  readonly #log: Log;
  readonly #calls: SystemCalls | undefined;
  readonly #hostNetns: string | undefined;
  /** For frames; opened when it is first needed. */
  #socket: number | undefined;
  #child: ChildProcessByStdio<Writable, Readable, Readable> | undefined;

  /**
   * @param options `hostNetns`: the namespace to speak in; `routeHook`: a program that is called with `del ADDRESS` for withdrawn routes;
   *   `calls`: frames are sent without another process, on whose turn the client would wait
   */
  constructor(options: {
    readonly hostNetns?: string;
    readonly routeHook?: string;
    readonly calls?: SystemCalls | undefined;
    readonly log: Log;
  }) {
    const perl = ["perl", "-e", program, String(offeredProtocol), options.routeHook ?? ""];
    this.#command =
      options.hostNetns === undefined
        ? perl
        : ["nsenter", `--net=${options.hostNetns}`, "--", ...perl];
    this.#log = options.log;
    this.#calls = options.calls;
    this.#hostNetns = options.hostNetns;
  }

  /** Starts it before it is needed: a take-over does not wait for a process to begin. */
  start(): void {
    this.#child ??= this.#spawn();
  }

  /** Sends frames (hex) out of a device. Returns at once; what fails is logged. */
  send(deviceIndex: number, frames: readonly string[]): void {
    if (this.#calls === undefined) {
      this.#say(frames.map((frame) => `F ${deviceIndex} ${frame}\n`).join(""));
      return;
    }
    try {
      this.#socket ??= openFrames(this.#calls, this.#hostNetns);
      for (const frame of frames) sendOne(this.#calls, this.#socket, frame, deviceIndex);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#complain(`frame: ${error.message}`);
    }
  }

  /** Sends messages (hex) to netfilter. Returns at once; what fails is logged. */
  tellNetfilter(messages: readonly string[]): void {
    this.#say(messages.map((message) => `C ${message}\n`).join(""));
  }

  /** What is offered to a routing daemon stays for this long from now on. */
  offerFor(leftMs: number): void {
    this.#say(`O ${Math.max(1, Math.floor(leftMs))}\n`);
  }

  /** Ends. @param leave whether offered routes stay */
  async close(leave: boolean): Promise<void> {
    if (this.#socket !== undefined) this.#calls?.closeSlowly(this.#socket);
    this.#socket = undefined;
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.stdin.end(leave ? "K\n" : "");
    await closed;
  }

  #say(lines: string): void {
    if (lines === "") return;
    this.#child ??= this.#spawn();
    this.#child.stdin.write(lines);
  }

  #spawn(): ChildProcessByStdio<Writable, Readable, Readable> {
    const [file = "perl", ...args] = this.#command;
    // In a session of its own: what ends this program's group must not end the one that withdraws routes after it.
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    const complain = (text: string) => this.#complain(text);
    child.on("error", (error) => {
      complain(`${error.message}; install perl-base`);
      if (this.#child === child) this.#child = undefined;
    });
    child.stdin.on("error", () => {});
    child.stdout.setEncoding("utf8").on("data", complain);
    child.stderr.setEncoding("utf8").on("data", complain);
    child.once("close", () => {
      if (this.#child === child) this.#child = undefined;
    });
    return child;
  }

  #complain(text: string): void {
    this.#log.warn("announcing virtual addresses failed", { said: text.trim().slice(0, 500) });
  }
}

/** A socket of packet(7); without a protocol it hears nothing. */
function openFrames(calls: SystemCalls, hostNetns: string | undefined): number {
  const open = () => calls.openSocket(socketNumbers.packet, socketNumbers.raw, 0);
  return hostNetns === undefined ? open() : calls.inNamespace(hostNetns, open);
}

const heldBack = getSystemErrorMessage(-constants.errno.ENOBUFS);

function sendOne(calls: SystemCalls, socket: number, frame: string, device: number): void {
  try {
    calls.sendFrame(socket, Buffer.from(frame, "hex"), device);
  } catch (error) {
    // What the gate holds back fails so: that is what it is for.
    if (!(error instanceof Error && error.message.endsWith(heldBack))) throw error;
  }
}
