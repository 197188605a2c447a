// The system programs that tests of virtual addresses need, from PATH or from Debian's packages. It starts none of them.

import { locateProgramWithLibraries } from "../control-plane/binaries.ts";

/** A program as a file, or why there is none. */
type Located = Awaited<ReturnType<typeof locateProgramWithLibraries>>;

/** nft, which sets and shows the kernel's rules. */
export function locateNft(): Promise<Located> {
  return locateProgramWithLibraries(
    "nft",
    [
      "nftables",
      "libnftables1",
      "libnftnl11",
      "libmnl0",
      "libjansson4",
      "libgmp10",
      "libxtables12",
      "libedit2",
      "libbsd0",
      "libmd0",
    ],
    "usr/sbin/nft",
  );
}

/** conntrack, which shows and ends flows that the kernel follows. */
export function locateConntrack(): Promise<Located> {
  return locateProgramWithLibraries(
    "conntrack",
    ["conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libmnl0"],
    "usr/sbin/conntrack",
  );
}

/** keepalived, which virtual addresses are compared with. */
export function locateKeepalived(): Promise<Located> {
  return locateProgramWithLibraries(
    "keepalived",
    [
      "keepalived",
      "libmnl0",
      "libnftnl11",
      "libnl-3-200",
      "libnl-genl-3-200",
      "libsnmp40",
      "libglib2.0-0",
      "libpcre2-8-0",
      "libpcre3",
      "libsensors5",
      "libpci3",
      "libwrap0",
    ],
    "usr/sbin/keepalived",
  );
}

/** bird, a routing daemon that is offered routes of addresses. */
export function locateBird(): Promise<Located> {
  return locateProgramWithLibraries(
    "bird",
    [
      "bird2",
      "libreadline8",
      "libssh-gcrypt-4",
      "libgssapi-krb5-2",
      "libkrb5-3",
      "libkrb5support0",
      "libk5crypto3",
      "libkeyutils1",
    ],
    "usr/sbin/bird",
  );
}
