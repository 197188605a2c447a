// Allocations in an order that is kept while they change, in chunks of a bounded size: entering and leaving cost little, and walking
// through a million is a walk through arrays. What the numbers beside them mean is allocation-listing.ts' affair.

import type { Allocation } from "./allocation.ts";
import type { IpNumber } from "./ip.ts";
import { compareIpNumbers } from "./ip.ts";
import { compareTexts } from "./owner-groups.ts";

/** Neighbours in the order, column by column. */
export type Chunk = {
  readonly allocations: Allocation[];
  readonly values: IpNumber[];
  /** A number that the keeper gave each. */
  readonly marks: number[];
  /** A text beside each; the first part of the key, unless the order is by address alone. */
  readonly names: string[];
};

/** A place: which chunk, and where in it. */
export type Place = { readonly chunk: number; readonly at: number };

/** Entries in a chunk: larger ones make changes dearer, smaller ones make walks dearer. */
const usualChunkSize = 1024;

/** Order by name, then by address, or by address alone. */
export class AllocationOrder {
  readonly #chunks: Chunk[] = [];
  readonly #withNames: boolean;
  readonly #chunkSize: number;

  /** @param withNames false: names are kept beside the entries, and the order is by address alone */
  constructor(withNames: boolean, chunkSize = usualChunkSize) {
    this.#withNames = withNames;
    this.#chunkSize = chunkSize;
  }

  /** The chunks in order; for reading in the same tick. */
  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  /** The first place whose key is not before the given one; past the last chunk when there is none. */
  placeOf(name: string, value: IpNumber): Place {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle] as Chunk;
      if (this.#compare(chunk, chunk.values.length - 1, name, value) < 0) low = middle + 1;
      else high = middle;
    }
    const chunk = this.#chunks[low];
    if (chunk === undefined) return { chunk: low, at: 0 };
    let first = 0;
    let last = chunk.values.length;
    while (first < last) {
      const middle = (first + last) >>> 1;
      if (this.#compare(chunk, middle, name, value) < 0) first = middle + 1;
      else last = middle;
    }
    return { chunk: low, at: first };
  }

  /** The entry with exactly this key. */
  find(name: string, value: IpNumber): { readonly chunk: Chunk; readonly at: number } | undefined {
    const place = this.placeOf(name, value);
    const chunk = this.#chunks[place.chunk];
    if (chunk === undefined || this.#compare(chunk, place.at, name, value) !== 0) return undefined;
    return { chunk, at: place.at };
  }

  /** Enters what is not there yet. */
  insert(name: string, value: IpNumber, allocation: Allocation, mark: number): void {
    const place = this.placeOf(name, value);
    // What comes after everything goes to the end of the last chunk.
    const index = Math.min(place.chunk, Math.max(0, this.#chunks.length - 1));
    const chunk = this.#chunks[index];
    if (chunk === undefined) {
      this.#chunks.push({
        allocations: [allocation],
        values: [value],
        marks: [mark],
        names: [name],
      });
      return;
    }
    const at = place.chunk === index ? place.at : chunk.values.length;
    chunk.allocations.splice(at, 0, allocation);
    chunk.values.splice(at, 0, value);
    chunk.marks.splice(at, 0, mark);
    chunk.names.splice(at, 0, name);
    if (chunk.values.length > this.#chunkSize) this.#split(index, chunk);
  }

  /** Takes an entry out; nothing happens when it is not there. */
  remove(name: string, value: IpNumber): void {
    const place = this.placeOf(name, value);
    const chunk = this.#chunks[place.chunk];
    if (chunk === undefined || this.#compare(chunk, place.at, name, value) !== 0) return;
    chunk.allocations.splice(place.at, 1);
    chunk.values.splice(place.at, 1);
    chunk.marks.splice(place.at, 1);
    chunk.names.splice(place.at, 1);
    if (chunk.values.length === 0) this.#chunks.splice(place.chunk, 1);
  }

  /** Forgets everything. */
  clear(): void {
    this.#chunks.length = 0;
  }

  /** Addresses often come in order: the full half stays behind nearly full. */
  #split(index: number, chunk: Chunk): void {
    const share = index === this.#chunks.length - 1 ? 15 / 16 : 1 / 2;
    const from = Math.floor(this.#chunkSize * share);
    this.#chunks.splice(index + 1, 0, {
      allocations: chunk.allocations.splice(from),
      values: chunk.values.splice(from),
      marks: chunk.marks.splice(from),
      names: chunk.names.splice(from),
    });
  }

  #compare(chunk: Chunk, at: number, name: string, value: IpNumber): number {
    if (this.#withNames) {
      const byName = compareTexts(chunk.names[at] as string, name);
      if (byName !== 0) return byName;
    }
    return compareIpNumbers(chunk.values[at] as IpNumber, value);
  }
}
