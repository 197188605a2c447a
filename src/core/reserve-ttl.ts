// How long a reserved address may be without a pod, as owners and pools ask for it. What follows is decided in decide-idle.ts.

/** Milliseconds, or for ever, whatever the pool says. */
export type ReserveTtl = number | "never";

/** The shortest time that may be asked for: a pod that is replaced must find its address again. */
export const shortestReserveTtlMs = 1_000;
