// How the address map writes states. Apart from its schema, so that the page does not carry a schema library.

/** Most cells that one answer of the address map has. */
export const mostMapCells = 4096;

/** Counts in a cell, in this order; addresses of the cell that no range lists are what is missing to its size. */
export const cellCounts = [
  "free",
  "held",
  "bound",
  "reserved",
  "admin",
  "draining",
  "conflict",
  "unknown",
] as const;

/** Letters of single addresses; `-` is one that no range lists and no record names. */
export const addressLetters = {
  free: "f",
  held: "h",
  bound: "b",
  reserved: "r",
  admin: "a",
  draining: "d",
  conflict: "c",
  unknown: "u",
  none: "-",
} as const;
