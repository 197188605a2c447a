// A case on the bed: addresses of its own, questions for them on the wire from its start to its end, and the checks that every case ends with:
// never two answers to one request, and nothing left on any node.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { podsOf, waitUntil } from "../control-plane/api.ts";
import type { Deployment, Pod } from "../control-plane/kinds.ts";
import { deployments, pods as podKind, vipPools } from "../control-plane/kinds.ts";
import { examplesOf } from "../examples.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import type { BedNode, BedPod, PodWish, VipBed } from "./bed.ts";
import { echoPort, floatingVips, vipName } from "./bed.ts";
import type { ProbeStream } from "./meters.ts";
import { doubleAnswers, monotonicMs } from "./meters.ts";

const run = promisify(execFile);

let addresses = 0;

/** What a case has. */
export class VipCase {
  readonly bed: VipBed;
  readonly ips: string[] = [];
  readonly #pods: BedPod[] = [];
  readonly #streams: ProbeStream[] = [];
  readonly #ends: (() => Promise<void>)[] = [];

  constructor(bed: VipBed) {
    this.bed = bed;
  }

  /** An address that no other case uses; asked for 20 times a second from now on. */
  address(): string {
    addresses += 1;
    return this.ask(`192.0.2.${49 + addresses}`);
  }

  /** One of the pool of mode Route: nobody may answer for it on the wire. */
  routed(): string {
    addresses += 1;
    return this.ask(`203.0.113.${49 + addresses}`);
  }

  /** The same for IPv6. */
  routed6(): string {
    addresses += 1;
    return this.ask(`2001:db8:13::${(0x50 + addresses).toString(16)}`);
  }

  /** One of a pool that holds on without the API server. */
  held(): string {
    addresses += 1;
    return this.ask(`192.0.2.${149 + addresses}`);
  }

  /** An IPv6 address that no other case uses. */
  address6(): string {
    addresses += 1;
    return this.ask(`2001:db8::${(0x50 + addresses).toString(16)}`);
  }

  /** Asks an address that the case did not choose, and looks at it in the end. */
  ask(ip: string): string {
    this.ips.push(ip);
    this.bed.frames.ask(ip);
    return ip;
  }

  /** A pod that ends with the case. */
  async pod(wish: PodWish): Promise<BedPod> {
    const pod = await this.bed.startPod(wish);
    this.#pods.push(pod);
    return pod;
  }

  /** A Deployment that ends with the case, with a claim in its template. */
  async deployment(wish: {
    readonly name: string;
    readonly replicas: number;
    readonly vips?: string;
    /** Of the Deployment itself. */
    readonly annotations?: Readonly<Record<string, string>>;
    readonly spec?: Readonly<Record<string, unknown>>;
  }): Promise<Deployment> {
    const { name, replicas, vips } = wish;
    const labels = { app: name };
    const created = await this.bed.api.create<Deployment>({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, namespace: "default", annotations: wish.annotations ?? {} },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: {
          metadata: {
            labels,
            annotations: vips === undefined ? {} : { "vip.galaxy.k8s.io/addresses": vips },
          },
          spec: { containers: [{ name: "main", image: "echo" }], terminationGracePeriodSeconds: 1 },
        },
        ...wish.spec,
      },
    });
    await this.#untilReady(name, "default");
    return created;
  }

  /** Waits for all pods of a Deployment, which ends with the case. */
  async #untilReady(name: string, namespace: string): Promise<Deployment> {
    this.#ends.push(async () => {
      await this.bed.api.delete(deployments, { name, namespace });
      await this.bed.api.waitFor(
        `no pod of ${name}`,
        podsOf(namespace, name),
        (seen) => seen.length === 0,
      );
    });
    return await this.bed.api.waitForOne(
      `all pods of ${name} to be ready`,
      deployments,
      { name, namespace },
      ({ spec, status }) => status.readyReplicas === spec.replicas,
    );
  }

  /** Applies a VIPPool and a Deployment that claims of it, and ends with them. @returns the Deployment, with all its pods ready */
  async example(file: string): Promise<Deployment> {
    const manifests = examplesOf(file);
    const pool = manifests.find(({ kind }) => kind === "VIPPool");
    const wish = manifests.find(({ kind }) => kind === "Deployment");
    assert.ok(manifests.length === 2 && pool !== undefined && wish !== undefined, file);
    const { name = "", namespace = "" } = wish.metadata;
    await this.bed.api.apply(pool);
    await this.bed.api.apply(wish);
    const deployment = await this.#untilReady(name, namespace);
    this.#ends.push(async () => {
      await this.bed.api.delete(vipPools, { name: pool.metadata.name ?? "" });
    });
    return deployment;
  }

  /** A VIPPool that ends with the case. */
  async pool(name: string, spec: Readonly<Record<string, unknown>>): Promise<void> {
    await this.bed.addPool(name, spec);
    this.#ends.push(async () => {
      await this.bed.api.delete(vipPools, { name });
    });
  }

  /** A client that asks the address from C. */
  udp(
    ip: string,
    options: { readonly everyMs?: number; readonly isFresh?: boolean } = {},
  ): ProbeStream {
    const { everyMs = 20, isFresh = true } = options;
    const stream = this.bed.probes.begin({ do: "udp", ip, port: echoPort, everyMs, isFresh });
    this.#streams.push(stream);
    return stream;
  }

  /** The checks at the end of every case. */
  async end(): Promise<void> {
    const { api, frames, nodes } = this.bed;
    for (const stream of this.#streams) await stream.stop();
    for (const pod of this.#pods) await pod.delete();
    for (const end of this.#ends) await end();
    for (const pod of this.#pods) {
      await api.waitForGone(podKind, { name: pod.name, namespace: pod.apiNamespace, uid: pod.uid });
    }
    for (const ip of this.ips) {
      await frames.whenSilent(ip);
      await frames.quiet(ip);
      await api.waitForGone(floatingVips, { name: vipName(ip) });
      for (const node of nodes.values()) await this.#nothingLeft(ip, node);
    }
    const own = frames.lines.filter((line) => "ip" in line && this.ips.includes(line.ip));
    assert.deepEqual(doubleAnswers(own), [], "no request was answered by two");
  }

  /** Takes its pods away after a failure; how that ends is not looked at. */
  async abandon(): Promise<void> {
    for (const stream of this.#streams) await stream.stop().catch(() => undefined);
    for (const ip of this.ips) await this.bed.frames.quiet(ip).catch(() => undefined);
    for (const end of this.#ends) await end().catch(() => undefined);
    for (const pod of this.#pods) {
      const at = { name: pod.name, namespace: pod.apiNamespace };
      await pod.delete().catch(() => undefined);
      await this.bed.api.waitForGone(podKind, at).catch(() => undefined);
    }
  }

  async #nothingLeft(ip: string, node: BedNode): Promise<void> {
    const pattern = mentions(ip);
    await waitUntil(
      `nothing of ${ip} on node ${node.name}`,
      async () => (await node.dump()).split("\n").filter((line) => pattern.test(line)),
      (left) => left.length === 0,
    );
  }
}

/** Text of rules and routes that names an address. */
export function mentions(ip: string): RegExp {
  return new RegExp(`(?<![0-9a-f.:])${ip.replaceAll(".", "\\.")}(?![0-9a-f.:])`);
}

/** Runs a case with the checks at its end; what the programs logged last is shown when it fails, and the next case finds nothing of it. */
export async function runCase(bed: VipBed, body: (own: VipCase) => Promise<void>): Promise<void> {
  const own = new VipCase(bed);
  try {
    await body(own);
    await own.end();
  } catch (error) {
    const logs = [...bed.nodes.values()].map(
      (node) => `--- galaxy of ${node.name}\n${node.log(15)}`,
    );
    process.stderr.write(`${logs.join("\n")}\n--- galaxy-ipam\n${bed.ipamLog(25)}\n`);
    await own.abandon();
    throw error;
  }
}

/** Connects to a pod's program by TCP: the pod's name and the client that it saw; undefined when nobody answers in time. */
export async function greet(
  from: LabNamespace,
  ip: string,
  options: { readonly port?: number; readonly waitS?: number } = {},
): Promise<{ readonly pod: string; readonly source: string } | undefined> {
  const { port = echoPort, waitS = 10 } = options;
  const script = `exec 3<>"/dev/tcp/$0/$1" && head -n 1 <&3`;
  const args = [`--net=${from.path}`, "--", "timeout", String(waitS), "bash", "-c", script];
  const text = await run("nsenter", [...args, ip, String(port)]).then(
    ({ stdout }) => stdout.trim(),
    () => "",
  );
  const [pod = "", source = ""] = text.split(" ");
  return text === "" ? undefined : { pod, source };
}

/** The pods that a stream was answered by since a moment, each once. */
export function answeredBy(stream: ProbeStream, sinceMs = 0): readonly string[] {
  const recent = stream.answers().filter(({ askedMs }) => askedMs >= sinceMs);
  return [...new Set(recent.map(({ pod }) => pod))].toSorted();
}

/** Waits for a few answers to questions that are asked from now on. */
export async function whenAnsweringOnly(stream: ProbeStream, pod: string): Promise<void> {
  const sinceMs = monotonicMs();
  await waitUntil(
    `ten answers of ${pod} alone`,
    () => stream.answers().filter(({ askedMs }) => askedMs >= sinceMs),
    (answers) =>
      answers.slice(-10).length === 10 && answers.slice(-10).every((each) => each.pod === pod),
  );
}

/** The pods of a workload that the bed runs. */
export async function podsOfApp(bed: VipBed, app: string): Promise<readonly BedPod[]> {
  const listed = await bed.api.list<Pod>({
    kind: podKind,
    namespace: "default",
    labelSelector: `app=${app}`,
  });
  const living = listed.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  return Promise.all(living.map((pod) => bed.podOf(pod)));
}
