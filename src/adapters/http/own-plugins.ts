// The door of the plugins that are ours, for the daemon and for their executables alike: CNI's words in, use cases of the node, CNI's words
// out. Knows no socket and no process.

import type { AttachmentId } from "../../core/cni-plan.ts";
import type { AddressGrant, CniRefusal, CniResult } from "../../core/cni-result.ts";
import { cniCode } from "../../core/cni-result.ts";
import { addAttachment, announceAttachment } from "../../node/cni-add.ts";
import { checkAttachment } from "../../node/cni-check.ts";
import { delAttachment } from "../../node/cni-del.ts";
import { collectGarbage } from "../../node/garbage.ts";
import type { NodePorts } from "../../node/network-facts.ts";
import type { PluginExec } from "../../ports/plugin-exec.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { CniRequest } from "../../wire/cni.ts";
import { validAttachments } from "../../wire/cni.ts";
import { asObject, textAt } from "../../wire/json-value.ts";
import type { OwnPlugin } from "../../wire/network-config.ts";
import {
  addressSource,
  grantsOfResult,
  ownPlugins,
  parseNetworkConfig,
} from "../../wire/network-config.ts";

/** Pauses before each time that neighbours are told: at once, and again for those who missed it. */
const announcementPausesMs = [0, 500, 2_000];

/** The answer to a request; DEL, CHECK, GC and STATUS have no result. */
export type PluginAnswer =
  | { readonly kind: "done"; readonly result: CniResult | undefined }
  | CniRefusal;

/** The plugins galaxy-k8s-vlan and galaxy-underlay-veth. */
export class OwnPlugins {
  readonly #ports: NodePorts;
  readonly #exec: PluginExec;

  constructor(ports: NodePorts, exec: PluginExec) {
    this.#ports = ports;
    this.#exec = exec;
  }

  /**
   * Answers a request for one of our plugins.
   * @param plugin whose configuration it is; undefined: as its `type` says
   */
  async answer(request: CniRequest, plugin: OwnPlugin | undefined): Promise<PluginAnswer> {
    const own = plugin ?? ownPlugins.find((name) => name === request.type);
    if (own === undefined) {
      return {
        kind: "refused",
        code: cniCode.invalidConfig,
        message: `type "${request.type}" is none of ${ownPlugins.join(", ")}`,
      };
    }
    try {
      return await this.#dispatch(request, own);
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      const code = error.code === "NODE_BUSY" ? cniCode.tryAgainLater : cniCode.ioFailure;
      return { kind: "refused", code, message: `${error.code}: ${error.message}` };
    }
  }

  /** Tells the neighbours about an attachment that was made, in this process's time. */
  async announce(id: AttachmentId): Promise<void> {
    const record = await this.#ports.store.get(id);
    if (typeof record === "string") return;
    await announceAttachment(this.#ports, record, announcementPausesMs);
  }

  /** Undoes every attachment of a container. */
  async removeContainer(containerId: string): Promise<void> {
    for (const { id } of await this.#ports.store.all()) {
      if (id.containerId === containerId) await delAttachment(this.#ports, id);
    }
  }

  async #dispatch(request: CniRequest, plugin: OwnPlugin): Promise<PluginAnswer> {
    const done: PluginAnswer = { kind: "done", result: undefined };
    const id = attachmentOf(request);
    switch (request.command) {
      case "ADD":
        return this.#add(request, plugin);
      case "DEL": {
        await delAttachment(this.#ports, id);
        return (await this.#releaseIpam(request)) ?? done;
      }
      case "CHECK": {
        const outcome = await checkAttachment(this.#ports, id);
        return outcome.kind === "whole" ? done : outcome;
      }
      case "GC": {
        const valid = validAttachments(request.config);
        if (valid === undefined) return done;
        const isWanted = (other: AttachmentId) =>
          other.network !== request.network ||
          valid.some(
            ({ containerId, ifName }) =>
              containerId === other.containerId && ifName === other.ifName,
          );
        await collectGarbage(this.#ports, ({ id: other }) => isWanted(other), 0);
        return done;
      }
      case "STATUS":
        return (await this.#status(request, plugin)) ?? done;
      case "VERSION":
        return done;
    }
  }

  async #status(request: CniRequest, plugin: OwnPlugin): Promise<CniRefusal | undefined> {
    const parsed = parseNetworkConfig(request.config, plugin);
    if (parsed.kind === "refused") return parsed;
    const { devices } = parsed.config;
    const { links } = await this.#ports.network.readHost({ routesOf: [], routesTo: [] });
    if (links.some(({ name }) => devices.includes(name))) return undefined;
    return {
      kind: "refused",
      code: cniCode.notAvailable,
      message: `the node has no device ${devices.join(" or ")}; correct \`device\` or \`devices\` of network ${request.network}`,
    };
  }

  async #add(request: CniRequest, plugin: OwnPlugin): Promise<PluginAnswer> {
    const parsed = parseNetworkConfig(request.config, plugin);
    if (parsed.kind === "refused") return parsed;
    const found = await this.#grants(request);
    if ("kind" in found) return found;
    let outcome: Awaited<ReturnType<typeof addAttachment>> | undefined;
    try {
      outcome = await addAttachment(this.#ports, {
        id: attachmentOf(request),
        netns: request.netns,
        config: parsed.config,
        addresses: found.grants,
      });
    } finally {
      // What the IPAM plugin gave for an attachment that did not come about is given back.
      if (outcome?.kind !== "added") await this.#releaseIpam(request);
    }
    if (outcome.kind === "refused") return outcome;
    const dns = asObject(request.config["dns"]) ?? found.dns;
    return {
      kind: "done",
      result: chained(request.prevResult, { ...outcome.result, dns }),
    };
  }

  async #grants(
    request: CniRequest,
  ): Promise<
    { readonly grants: readonly AddressGrant[]; readonly dns: CniResult["dns"] } | CniRefusal
  > {
    const source = addressSource(request.config, request.args);
    if (source.kind === "refused") return source;
    if (source.kind === "grants") return { grants: source.grants, dns: {} };
    // An IPAM plugin may refuse to be asked twice, or give a second address; a repeated ADD keeps the first.
    const record = await this.#ports.store.get(attachmentOf(request));
    const isMade = typeof record !== "string" && record.isComplete;
    const result = isMade ? record.result : await this.#runIpam(request, source.type, "ADD");
    if (result === undefined) {
      return {
        kind: "refused",
        code: cniCode.undecodable,
        message: `IPAM plugin ${source.type} gave no result`,
      };
    }
    if ("kind" in result) return result;
    const grants = grantsOfResult(result);
    if (grants.kind === "grants") return { grants: grants.grants, dns: result.dns };
    await this.#releaseIpam(request);
    return grants.kind === "refused"
      ? grants
      : { kind: "refused", code: cniCode.noAddress, message: "IPAM plugins do not nest" };
  }

  async #releaseIpam(request: CniRequest): Promise<CniRefusal | undefined> {
    const type = textAt(request.config, "ipam", "type") ?? "";
    if (type === "") return undefined;
    const answer = await this.#runIpam(request, type, "DEL");
    return answer !== undefined && "kind" in answer ? answer : undefined;
  }

  #runIpam(request: CniRequest, type: string, command: "ADD" | "DEL") {
    const { config, version, containerId, netns, ifName, args, path } = request;
    return this.#exec.run({
      command,
      type,
      config,
      cniVersion: version,
      prevResult: undefined,
      containerId,
      netns,
      ifName,
      args,
      path,
    });
  }
}

/** The attachment that a request is about. */
function attachmentOf(request: CniRequest): AttachmentId {
  const { containerId, network, ifName } = request;
  return { containerId, network, ifName };
}

/** Behind another plugin of a list, its result with ours added. */
function chained(previous: CniResult | undefined, own: CniResult): CniResult {
  if (previous === undefined || previous.ips.length === 0) return own;
  const offset = previous.interfaces.length;
  return {
    interfaces: [...previous.interfaces, ...own.interfaces],
    ips: [
      ...previous.ips,
      ...own.ips.map((ip) =>
        ip.interface === undefined ? ip : { ...ip, interface: ip.interface + offset },
      ),
    ],
    routes: [...previous.routes, ...own.routes],
    dns: { ...previous.dns, ...own.dns },
  };
}
