// Finds out whether pods of this node that asked for a probe serve, and says so in a condition of the pod, from which the controller selects
// holders instead of from Ready. A probe here is faster than a kubelet's, and no more than that.

import type { Ip } from "../core/ip.ts";
import { familyOf } from "../core/ip.ts";
import { podIdText } from "../core/owner.ts";
import type { VipProbe } from "../core/vip.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { PortProbe } from "../ports/port-probe.ts";
import type { PodConditions, VipClaim, VipClaims } from "../ports/vip-claims.ts";
import { WorldError } from "../ports/world-error.ts";

/** What it needs. */
export type VipProberPorts = {
  readonly nodeName: string;
  readonly claims: VipClaims;
  readonly conditions: PodConditions;
  readonly probe: PortProbe;
  readonly clock: Clock;
  readonly log: Log;
};

/** A pod that is probed. `serves`: what was found last; undefined: nothing yet. */
type Subject = {
  readonly probe: VipProbe;
  readonly podIp: Ip;
  readonly failures: number;
  readonly serves: boolean | undefined;
  readonly isTold: boolean;
};

/** A condition that could not be written is tried again after this. */
const retryMs = 500;

/** One node's prober. */
export class VipProber {
  readonly #ports: VipProberPorts;
  /** By pod uid. */
  readonly #subjects = new Map<string, Subject>();
  #stopWatch: () => void = () => {};
  #isRunning = false;

  constructor(ports: VipProberPorts) {
    this.#ports = ports;
  }

  /** Begins with what is claimed now, and follows what changes. */
  start(): void {
    const { claims } = this.#ports;
    this.#isRunning = true;
    this.#stopWatch = claims.watch((ip) => this.#see(ip));
    for (const ip of claims.claimedIps()) this.#see(ip);
  }

  /** Ends; conditions stay as they are. */
  stop(): void {
    this.#isRunning = false;
    this.#stopWatch();
    this.#subjects.clear();
  }

  #see(ip: Ip): void {
    for (const claim of this.#ports.claims.claimsOf(ip)) {
      const probe = probeOf(claim);
      const podIp = claim.podIps.find((each) => familyOf(each) === "IPv4") ?? claim.podIps[0];
      if (claim.nodeName !== this.#ports.nodeName || probe === undefined || podIp === undefined) {
        continue;
      }
      if (this.#subjects.has(claim.podUid)) continue;
      // What the condition says already was found by an earlier process, or is the same as none.
      const serves = claim.isReady ? true : undefined;
      this.#subjects.set(claim.podUid, { probe, podIp, failures: 0, serves, isTold: true });
      this.#round(ip, claim.podUid);
    }
  }

  /** One attempt, and the next one after it. */
  #round(ip: Ip, podUid: string): void {
    const { clock } = this.#ports;
    const startedMs = clock.nowMs();
    void this.#attempt(ip, podUid).then((nextMs) => {
      if (nextMs === undefined) {
        this.#subjects.delete(podUid);
        return;
      }
      const passedMs = clock.nowMs() - startedMs;
      clock.after(Math.max(0, nextMs - passedMs), () => {
        if (this.#isRunning) this.#round(ip, podUid);
      });
    });
  }

  /** @returns after how long the next attempt begins, counted from this one's; undefined: the pod is not probed any more */
  async #attempt(ip: Ip, podUid: string): Promise<number | undefined> {
    const { claims, log } = this.#ports;
    const claim = claims.claimsOf(ip).find((each) => each.podUid === podUid);
    const subject = this.#subjects.get(podUid);
    const probe = probeOf(claim);
    if (claim === undefined || subject === undefined || probe === undefined) return undefined;
    const accepts = await this.#ports.probe.accepts(subject.podIp, probe.port, probe.everyMs);
    const failures = accepts ? 0 : subject.failures + 1;
    const found = accepts ? true : failures >= probe.failures ? false : subject.serves;
    const isNew = found !== subject.serves;
    if (isNew) {
      log.info("a pod's probe found a change", {
        pod: podIdText(claim.pod),
        port: probe.port,
        serves: found === true,
      });
    }
    let isTold = subject.isTold && !isNew;
    if (!isTold && found !== undefined) isTold = await this.#tell(claim, probe, found);
    this.#subjects.set(podUid, { ...subject, probe, failures, serves: found, isTold });
    return isTold ? probe.everyMs : Math.min(probe.everyMs, retryMs);
  }

  async #tell(claim: VipClaim, probe: VipProbe, serves: boolean): Promise<boolean> {
    const { conditions, log, nodeName } = this.#ports;
    try {
      await conditions.tell(
        { id: claim.pod, uid: claim.podUid },
        {
          isHolder: serves,
          reason: serves ? "ProbeSucceeded" : "ProbeFailed",
          message: serves
            ? `port ${probe.port} accepts connections from node ${nodeName}`
            : `port ${probe.port} accepted no connection in ${probe.failures} attempts of ${probe.everyMs} ms from node ${nodeName}; look at the pod`,
        },
      );
      return true;
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("the result of a probe was not written, it is tried again", {
        pod: podIdText(claim.pod),
        reason: error.message,
      });
      return false;
    }
  }
}

/** The probe of a pod that runs and is to go on. */
function probeOf(claim: VipClaim | undefined): VipProbe | undefined {
  return claim?.phase === "Running" ? claim.wishes.probe : undefined;
}
