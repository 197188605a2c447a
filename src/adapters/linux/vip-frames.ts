// Frames that claim or ask for a virtual address, and messages that end its flows: bytes only, nothing is sent here.

import type { Ip } from "../../core/ip.ts";
import { familyOf, ipToNumber } from "../../core/ip.ts";

const everybody = "ffffffffffff";
const nobody = "000000000000";

/** A device that frames leave by. */
export type FrameSource = {
  readonly mac: string;
  /** Its own addresses, one of each family if it has them; for IPv6 the link-local one. */
  readonly ip4: Ip | undefined;
  readonly ip6: Ip | undefined;
};

/**
 * Frames, in hex, that tell neighbours that an address is at this MAC now: for IPv4 a gratuitous ARP request and a reply, because machines
 * differ in which of them they learn from; for IPv6 an unsolicited advertisement with Override, without which they keep the old MAC
 * (RFC 4861, 7.2.5).
 */
export function claimFrames(ip: Ip, source: FrameSource): readonly string[] {
  const mac = hexOfMac(source.mac);
  if (familyOf(ip) === "IPv4") {
    const address = hexOfIp(ip);
    return [
      arp({ mac, to: everybody, op: 1, senderIp: address, targetMac: nobody, targetIp: address }),
      arp({
        mac,
        to: everybody,
        op: 2,
        senderIp: address,
        targetMac: everybody,
        targetIp: address,
      }),
    ];
  }
  const target = hexOfIp(ip);
  const from = source.ip6 === undefined ? target : hexOfIp(source.ip6);
  const allNodes = "ff020000000000000000000000000001";
  // Type 136, Override, target, option "target link-layer address".
  const message = `8800000020000000${target}0201${mac}`;
  return [ipv6({ mac, toMac: "333300000001", from, to: allNodes, message })];
}

/**
 * Frames, in hex, that ask whether anybody has an address: one as a machine asks before it takes one (RFC 5227, RFC 4862), and one with
 * this node's own address as sender, because proxies do not answer the first.
 */
export function questionFrames(ip: Ip, source: FrameSource): readonly string[] {
  const mac = hexOfMac(source.mac);
  const target = hexOfIp(ip);
  if (familyOf(ip) === "IPv4") {
    const senders = ["00000000", ...(source.ip4 === undefined ? [] : [hexOfIp(source.ip4)])];
    return senders.map((senderIp) =>
      arp({ mac, to: everybody, op: 1, senderIp, targetMac: nobody, targetIp: target }),
    );
  }
  const group = `ff0200000000000000000001ff${target.slice(-6)}`;
  const toMac = `3333${group.slice(-8)}`;
  const plain = `8700000000000000${target}`;
  return [
    ipv6({ mac, toMac, from: "0".repeat(32), to: group, message: plain }),
    ...(source.ip6 === undefined
      ? []
      : [
          ipv6({
            mac,
            toMac,
            from: hexOfIp(source.ip6),
            to: group,
            message: `${plain}0101${mac}`,
          }),
        ]),
  ];
}

function arp(parts: {
  readonly mac: string;
  readonly to: string;
  readonly op: 1 | 2;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}): string {
  const { mac, to, op, senderIp, targetMac, targetIp } = parts;
  return `${to}${mac}0806000108000604000${op}${mac}${senderIp}${targetMac}${targetIp}`;
}

/** An ICMPv6 message, whose checksum is filled in, in a frame. */
function ipv6(parts: {
  readonly mac: string;
  readonly toMac: string;
  readonly from: string;
  readonly to: string;
  readonly message: string;
}): string {
  const { mac, toMac, from, to, message } = parts;
  const size = (message.length / 2).toString(16).padStart(4, "0");
  const sum = checksum(`${from}${to}0000${size}0000003a${message}`);
  const filled = message.slice(0, 4) + sum.toString(16).padStart(4, "0") + message.slice(8);
  return `${toMac}${mac}86dd60000000${size}3aff${from}${to}${filled}`;
}

/** RFC 1071 over an even number of bytes in hex. */
function checksum(hex: string): number {
  let sum = 0;
  for (let at = 0; at < hex.length; at += 4) sum += Number.parseInt(hex.slice(at, at + 4), 16);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function hexOfMac(mac: string): string {
  return mac.replaceAll(":", "");
}

function hexOfIp(ip: Ip): string {
  return ipToNumber(ip)
    .toString(16)
    .padStart(familyOf(ip) === "IPv4" ? 8 : 32, "0");
}

/**
 * A netlink message, in hex, that makes the kernel forget all flows that were sent to an address, also those that were turned to a pod
 * (ctnetlink, CTA_FILTER on the original destination; Linux 5.8 and later).
 */
export function forgetFlowsMessage(ip: Ip): string {
  const isIpv4 = familyOf(ip) === "IPv4";
  const nested = 0x8000;
  const destination = attribute(isIpv4 ? 2 : 4, hexOfIp(ip));
  const tuple = attribute(1 | nested, attribute(1 | nested, destination));
  const hasDestination = 1 << 1;
  const filter = attribute(
    25 | nested,
    attribute(1, hexOfNative(hasDestination, 4)) + attribute(2, hexOfNative(0, 4)),
  );
  // nfgenmsg: family, version 1 (0 would mean both families), resource 0.
  const body = `${isIpv4 ? "02" : "0a"}010000${tuple}${filter}`;
  const deleteFlows = (1 << 8) | 2;
  const requestAndAck = 5;
  return (
    hexOfNative(16 + body.length / 2, 4) +
    hexOfNative(deleteFlows, 2) +
    hexOfNative(requestAndAck, 2) +
    hexOfNative(1, 4) +
    hexOfNative(0, 4) +
    body
  );
}

/** A netlink attribute: native lengths, padded to four bytes. */
function attribute(type: number, hex: string): string {
  const size = 4 + hex.length / 2;
  const padding = "00".repeat((4 - (size % 4)) % 4);
  return hexOfNative(size, 2) + hexOfNative(type, 2) + hex + padding;
}

/** An integer in the order of bytes of the machine, which is little on every machine that Node runs on but s390x. */
function hexOfNative(value: number, bytes: number): string {
  const big = value.toString(16).padStart(bytes * 2, "0");
  const isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  return isLittle ? (big.match(/../g) ?? []).toReversed().join("") : big;
}
