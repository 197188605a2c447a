// How long something lasts, in the page's language: its two largest units.

import type { Translate } from "./text.ts";

/** `3 d 4 h`, `4 h 5 min`, `5 min`, `7 s`. A negative time is 0 s. */
export function spanText(ms: number, text: Translate): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const parts = [
    ["span.days", Math.floor(seconds / 86_400)],
    ["span.hours", Math.floor(seconds / 3_600) % 24],
    ["span.minutes", Math.floor(seconds / 60) % 60],
    ["span.seconds", seconds % 60],
  ] as const;
  const first = parts.findIndex(([, count]) => count > 0);
  if (first === -1) return text("span.seconds", { count: 0 });
  return parts
    .slice(first, first + 2)
    .filter(([key, count]) => count > 0 && (key !== "span.seconds" || first === 3))
    .map(([key, count]) => text(key, { count }))
    .join(" ");
}
