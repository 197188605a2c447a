// What SQLite's result codes mean to us (https://www.sqlite.org/rescode.html). Decides nothing.

/** The primary result codes that lead to an answer of their own. */
export const sqliteCode = {
  generic: 1,
  busy: 5,
  readOnly: 8,
  corrupt: 11,
  full: 13,
  constraint: 19,
  mismatch: 20,
  misuse: 21,
  range: 25,
  notADatabase: 26,
} as const;

/** The primary result code of an error that node:sqlite threw; undefined for any other error. */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  const { errcode } = error;
  // The upper bytes refine the code: 1034 is "fsync failed", a kind of 10, "disk I/O error".
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}

/** Whether the error says that our statement is wrong, as opposed to the file or the disk. */
export function isProgramError(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return (
    code === undefined ||
    code === sqliteCode.generic ||
    code === sqliteCode.constraint ||
    code === sqliteCode.mismatch ||
    code === sqliteCode.misuse ||
    code === sqliteCode.range
  );
}

/** SQLite's words with its extended code, which says more: "disk I/O error (SQLite code 1034)". */
export function sqliteReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "errcode" in error
    ? `${error.message} (SQLite code ${String(error.errcode)})`
    : error.message;
}
