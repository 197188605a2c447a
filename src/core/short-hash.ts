// A short, stable text for a longer one, for device names of at most 15 characters. Not for secrets: everybody can make collisions,
// which is why whoever uses the name compares the device's mark as well.

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
const bits = (1n << 64n) - 1n;

/** FNV-1a of 64 bits over the UTF-16 units of the text. */
function fnv1a(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (let index = 0; index < text.length; index += 1) {
    hash = ((hash ^ BigInt(text.charCodeAt(index))) * 0x100000001b3n) & bits;
  }
  return hash;
}

/** `length` (1 to 12) characters of base32. */
export function shortHash(text: string, length: number): string {
  let hash = fnv1a(text);
  let result = "";
  for (let index = 0; index < length; index += 1) {
    result += alphabet[Number(hash & 31n)];
    hash >>= 5n;
  }
  return result;
}

/** A locally administered unicast MAC address that is always the same for a text. */
export function macOf(text: string): string {
  const hash = fnv1a(text);
  const octets = [0x0a];
  for (let shift = 0n; shift < 40n; shift += 8n) octets.push(Number((hash >> shift) & 255n));
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
