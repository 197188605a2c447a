// What the host and the guest of user-mode-linux.ts say to each other: lines of JSON among the guest's other output.

/** A test to run; an empty name asks the guest to end. */
export type GuestRequest = { readonly id: number; readonly file: string; readonly name: string };

/** How it ended: "" or what went wrong. Request 0 was never asked: it says that the guest is ready. */
export type GuestAnswer = { readonly id: number; readonly problem: string };

/** What no other output begins with. */
const mark = "@galaxy-guest ";

/** Undefined for a line that is no request. */
export function parseGuestRequest(line: string): GuestRequest | undefined {
  const text = line.trim();
  return text.startsWith(mark) ? (JSON.parse(text.slice(mark.length)) as GuestRequest) : undefined;
}

/** A line for the guest. */
export function formatGuestRequest(request: GuestRequest): string {
  return `${mark}${JSON.stringify(request)}\n`;
}

/** Undefined for a line that is no answer. */
export function parseGuestAnswer(line: string): GuestAnswer | undefined {
  const text = line.trim();
  return text.startsWith(mark) ? (JSON.parse(text.slice(mark.length)) as GuestAnswer) : undefined;
}

/** Answers the host. */
export function writeGuestAnswer(answer: GuestAnswer): void {
  // On a line of its own, whatever a test printed before.
  process.stdout.write(`\n${mark}${JSON.stringify(answer)}\n`);
}
