// The address configuration (`floatingips` of the ConfigMap) -> pod subnets, with complete validation. Hand-written instead of a schema,
// because each message names entry, field, value and remedy, and all problems are reported at once. Never decides what a new
// configuration means for addresses in use.

import type { IpNumber } from "../core/ip.ts";
import { familyOfNumber, ipFromNumber, parseIpNumber } from "../core/ip.ts";
import type { Cidr, IpRange } from "../core/ip-range.ts";
import {
  compareRanges,
  findRange,
  formatCidr,
  formatIpRange,
  intersectRanges,
  mergeRanges,
  parseCidr,
  parseIpRange,
  rangeContains,
  rangeCovers,
  rangeFamily,
  totalSize,
} from "../core/ip-range.ts";
import type { PodSubnet } from "../core/subnets.ts";
import { parseJsonText } from "./json-text.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, quoteValue } from "./json-value.ts";

/**
 * The verdict on a configuration. `invalid` lists every problem, each a sentence; `valid` may carry warnings, and has no subnets when
 * the configuration is empty.
 */
export type ConfigParse =
  | {
      readonly kind: "valid";
      readonly subnets: readonly PodSubnet[];
      readonly warnings: readonly string[];
    }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

const knownFields = ["routableSubnet", "nodeSubnets", "ips", "subnet", "gateway", "vlan"] as const;
type FieldName = (typeof knownFields)[number];
type Fields = ReadonlyMap<FieldName, unknown>;

/** Highest VLAN identifier that IEEE 802.1Q leaves to users. */
const highestVlan = 4094;

/**
 * Reads and checks the whole configuration. Empty text, `null` and `[]` are valid with no subnets and a warning. Node subnets may be
 * of another family than the entry's addresses (nodes of a dual-stack cluster); an entry's own addresses are of one family.
 */
export function parseFloatingIpConfig(text: string): ConfigParse {
  if (text.trim() === "") return emptyConfig("is empty");
  const json = parseJsonText(text);
  if (json.kind === "problem") {
    return invalid([`floatingips is not valid JSON: ${json.problem}; correct it there`]);
  }
  if (json.value === null) return emptyConfig("is null");
  if (!Array.isArray(json.value)) {
    return invalid([
      `floatingips must be a JSON list of entries, but is ${quoteValue(json.value)}; write [ ... ] around the entry`,
    ]);
  }
  const problems = json.duplicates.map(
    (path) => `floatingips${path} stands twice in one entry; keep one of them`,
  );
  const warnings: string[] = [];
  const entries = json.value.map((value: unknown, index) => {
    const entry = new EntryReader(value, index);
    const subnet = entry.read();
    problems.push(...entry.problems);
    warnings.push(...entry.warnings);
    return { label: entry.label, ranges: entry.ranges, gateway: entry.gateway, subnet };
  });
  problems.push(...overlapsBetween(entries), ...foreignGatewaysInRanges(entries));
  if (problems.length > 0) return invalid(problems);
  if (entries.length === 0) return emptyConfig("is an empty list");
  const subnets = entries.flatMap((entry) => (entry.subnet === undefined ? [] : [entry.subnet]));
  return { kind: "valid", subnets, warnings };
}

/** Pod subnets as text that {@link parseFloatingIpConfig} reads back as the same; the older spelling does not come back. */
export function formatFloatingIpConfig(subnets: readonly PodSubnet[]): string {
  const entries = subnets.map(({ cidr, gateway, nodeSubnets, ranges, vlan }) => ({
    nodeSubnets: nodeSubnets.map(formatCidr),
    ips: ranges.map(formatIpRange),
    subnet: formatCidr(cidr),
    gateway,
    vlan,
  }));
  return JSON.stringify(entries);
}

function invalid(problems: readonly string[]): ConfigParse {
  return { kind: "invalid", problems };
}

function emptyConfig(how: string): ConfigParse {
  const warning = `floatingips ${how}: no pod can get a float IP; add an entry with nodeSubnets, ips, subnet and gateway`;
  return { kind: "valid", subnets: [], warnings: [warning] };
}

/** What the checks between entries need of one; parts that could not be read are empty. */
type CheckedEntry = {
  readonly label: string;
  readonly ranges: readonly IpRange[];
  readonly gateway: IpNumber | undefined;
};

/** Reads one entry, collecting everything that is wrong with it. */
class EntryReader {
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  label: string;
  ranges: readonly IpRange[] = [];
  gateway: IpNumber | undefined;
  readonly #value: unknown;

  constructor(value: unknown, index: number) {
    this.#value = value;
    this.label = `floatingips[${index}]`;
  }

  /** The pod subnet; undefined when there are problems. */
  read(): PodSubnet | undefined {
    const object = asObject(this.#value);
    if (object === undefined) {
      this.#problem(
        `the entry is ${quoteValue(this.#value)}; write an object with nodeSubnets, ips, subnet and gateway`,
      );
      return undefined;
    }
    const fields = this.#collectFields(object);
    const cidr = this.#readSubnet(fields.get("subnet"));
    const nodeSubnets = this.#readNodeSubnets(fields);
    this.#readRanges(fields.get("ips"), cidr);
    this.#readGateway(fields.get("gateway"), cidr);
    const vlan = this.#readVlan(fields.get("vlan"));
    if (this.problems.length > 0 || cidr === undefined || this.gateway === undefined) {
      return undefined;
    }
    return {
      cidr,
      ranges: this.ranges,
      gateway: ipFromNumber(this.gateway),
      vlan,
      nodeSubnets,
      family: rangeFamily(cidr.range),
    };
  }

  #problem(text: string): void {
    this.problems.push(`${this.label}: ${text}`);
  }

  /** Known fields by name. Go reads names in any case, so that a working configuration may have them so. `null` is as absent. */
  #collectFields(object: JsonObject): Fields {
    const fields = new Map<FieldName, unknown>();
    const subnet = object["subnet"];
    if (typeof subnet === "string" && subnet !== "") this.label += ` (subnet ${subnet})`;
    for (const [name, value] of Object.entries(object)) {
      const known = knownFields.find((field) => field.toLowerCase() === name.toLowerCase());
      if (known === undefined) {
        this.warnings.push(
          `${this.label}: unknown field "${name}" is ignored; known are ${knownFields.join(", ")}`,
        );
        continue;
      }
      if (known !== name) {
        this.warnings.push(`${this.label}: field "${name}" is read as "${known}"; write it so`);
        if (Object.hasOwn(object, known)) {
          this.#problem(`"${name}" and "${known}" are the same field; keep one of them`);
          continue;
        }
      }
      if (value !== null) fields.set(known, value);
    }
    return fields;
  }

  #readSubnet(value: unknown): Cidr | undefined {
    if (value === undefined || value === "") {
      this.#problem(
        'subnet is empty; write the block of the addresses, for example "10.0.70.0/24"',
      );
      return undefined;
    }
    return this.#readCidr("subnet", value, "10.0.70.0/24");
  }

  #readCidr(field: string, value: unknown, example: string): Cidr | undefined {
    const cidr = typeof value === "string" ? parseCidr(value) : undefined;
    if (cidr === undefined) {
      this.#problem(
        `${field} ${quoteValue(value)} is no block ADDRESS/PREFIX; write it like "${example}"`,
      );
    }
    return cidr;
  }

  #readNodeSubnets(fields: Fields): readonly Cidr[] {
    const cidrs = new Map<string, Cidr>();
    const add = (field: string, value: unknown) => {
      const cidr = this.#readCidr(field, value, "10.0.0.0/16");
      if (cidr !== undefined) cidrs.set(formatCidr(cidr), cidr);
    };
    const routable = fields.get("routableSubnet") ?? "";
    if (routable !== "") add("routableSubnet", routable);
    const list = fields.get("nodeSubnets") ?? [];
    if (Array.isArray(list)) {
      for (const [index, value] of list.entries()) add(`nodeSubnets[${index}]`, value);
      if (list.length === 0 && routable === "") {
        this.#problem(
          'nodeSubnets is empty; list the networks of the nodes that use these addresses, for example ["10.0.0.0/16"]',
        );
      }
    } else {
      this.#problem(
        `nodeSubnets is ${quoteValue(list)}; write a list of blocks, for example ["10.0.0.0/16"]`,
      );
    }
    return [...cidrs.values()];
  }

  #readRanges(value: unknown, cidr: Cidr | undefined): void {
    const list = value ?? [];
    const example = '["10.0.70.2~10.0.70.241"]';
    if (!Array.isArray(list)) {
      this.#problem(
        `ips is ${quoteValue(list)}; write a list of addresses and ranges like ${example}`,
      );
      return;
    }
    if (list.length === 0) {
      this.#problem(`ips is empty; list the addresses for pods, for example ${example}`);
      return;
    }
    const ranges: IpRange[] = [];
    for (const [index, item] of list.entries()) {
      const parse = typeof item === "string" ? parseIpRange(item) : undefined;
      if (parse?.kind === "range") {
        ranges.push(parse.range);
        if (cidr !== undefined) this.#checkRange(`ips[${index}]`, parse.range, cidr);
      } else {
        const what = parse?.problem ?? `${quoteValue(item)} is no text`;
        this.#problem(`ips[${index}] ${what}; write "A" or "A~B" without blanks and prefix`);
      }
    }
    const merged = mergeRanges(ranges);
    const twiceCount = totalSize(ranges) - totalSize(merged);
    if (twiceCount > 0) {
      this.warnings.push(
        `${this.label}: ips lists ${twiceCount} addresses more than once; they count once`,
      );
    }
    this.ranges = merged;
  }

  #checkRange(field: string, range: IpRange, cidr: Cidr): void {
    const what = `${field} ${formatIpRange(range)}`;
    const block = formatCidr(cidr);
    if (rangeFamily(range) !== rangeFamily(cidr.range)) {
      this.#problem(
        `${what} is ${rangeFamily(range)}, but subnet ${block} is ${rangeFamily(cidr.range)}; make an entry for each family`,
      );
    } else if (!rangeCovers(cidr.range, range)) {
      this.#problem(
        `${what} is not inside subnet ${block}; correct the range, or the subnet, or move the range to an entry of its own`,
      );
    } else {
      for (const { address, name } of unusableAddresses(cidr)) {
        if (rangeContains(range, address)) {
          this.#problem(
            `${what} includes ${ipFromNumber(address)}, the ${name} of subnet ${block}; leave it out`,
          );
        }
      }
    }
  }

  #readGateway(value: unknown, cidr: Cidr | undefined): void {
    if (value === undefined || value === "") {
      this.#problem('gateway is empty; write the router of the subnet, for example "10.0.70.1"');
      return;
    }
    const gateway = typeof value === "string" ? parseIpNumber(value) : undefined;
    if (gateway === undefined) {
      const remedy =
        typeof value === "string" && parseCidr(value) !== undefined
          ? `write it without the prefix: "${value.split("/")[0]}"`
          : 'write one address, for example "10.0.70.1"';
      this.#problem(`gateway ${quoteValue(value)} is no address; ${remedy}`);
      return;
    }
    const text = ipFromNumber(gateway);
    if (typeof gateway === "number" && gateway % 256 === 0) {
      // The user's own document: an address that ends in .0 cannot be made a default route.
      this.#problem(`gateway ${text} ends in .0, which cannot be a default route; use another one`);
      return;
    }
    if (cidr !== undefined) {
      if (!rangeContains(cidr.range, gateway)) {
        this.#problem(
          `gateway ${text} is not inside subnet ${formatCidr(cidr)}; correct the gateway or the subnet`,
        );
        return;
      }
      const unusable = unusableAddresses(cidr).find(({ address }) => address === gateway);
      if (unusable !== undefined) {
        this.#problem(
          `gateway ${text} is the ${unusable.name} of subnet ${formatCidr(cidr)}; write the router's own address`,
        );
        return;
      }
    }
    const index = findRange(this.ranges, gateway);
    if (index >= 0) {
      this.#problem(
        `gateway ${text} is one of the ips (${formatIpRange(this.ranges[index] as IpRange)}); leave it out there`,
      );
    }
    this.gateway = gateway;
  }

  #readVlan(value: unknown): number {
    if (value === undefined) return 0;
    if (
      typeof value === "number" &&
      Number.isInteger(value) &&
      value >= 0 &&
      value <= highestVlan
    ) {
      return value;
    }
    this.#problem(
      `vlan ${quoteValue(value)} is no integer from 0 (untagged) to ${highestVlan}; write one without quotes`,
    );
    return 0;
  }
}

/**
 * Addresses that no pod and no gateway can have. Blocks of /31 and /32 have none (RFC 3021); of IPv6 it is the subnet-router anycast
 * address (RFC 4291 section 2.6.1), which /127 and /128 do not have (RFC 6164).
 */
function unusableAddresses(
  cidr: Cidr,
): readonly { readonly address: IpNumber; readonly name: string }[] {
  if (familyOfNumber(cidr.range.first) === "IPv6") {
    return cidr.prefix < 127
      ? [{ address: cidr.range.first, name: "subnet-router anycast address" }]
      : [];
  }
  if (cidr.prefix >= 31) return [];
  return [
    { address: cidr.range.first, name: "network address" },
    { address: cidr.range.last, name: "broadcast address" },
  ];
}

/** Addresses that two entries list; entries may share subnet and gateway, but an address belongs to one. */
function overlapsBetween(entries: readonly CheckedEntry[]): string[] {
  const all = entries.flatMap(({ label, ranges }, index) =>
    ranges.map((range) => ({ range, label, index })),
  );
  all.sort((a, b) => compareRanges(a.range, b.range));
  const problems: string[] = [];
  let reaching = all[0];
  for (const current of all.slice(1)) {
    const common = reaching && intersectRanges(reaching.range, current.range);
    if (reaching !== undefined && common !== undefined && reaching.index !== current.index) {
      const [earlier, later] =
        reaching.index < current.index ? [reaching, current] : [current, reaching];
      problems.push(
        `${later.label}: ips ${formatIpRange(common)} are listed by ${earlier.label} too; leave them to one entry`,
      );
    }
    if (
      common === undefined ||
      reaching === undefined ||
      current.range.last > reaching.range.last
    ) {
      reaching = current;
    }
  }
  return problems;
}

/** Gateways that another entry hands out to pods. */
function foreignGatewaysInRanges(entries: readonly CheckedEntry[]): string[] {
  const problems: string[] = [];
  for (const entry of entries) {
    if (entry.gateway === undefined) continue;
    for (const other of entries) {
      if (other === entry) continue;
      const index = findRange(other.ranges, entry.gateway);
      if (index < 0) continue;
      problems.push(
        `${other.label}: ips ${formatIpRange(other.ranges[index] as IpRange)} include ${ipFromNumber(entry.gateway)}, the gateway of ${entry.label}; leave it out`,
      );
    }
  }
  return problems;
}
