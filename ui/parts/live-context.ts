// What all views share: changes as they happen, the view that the address bar names, and messages at the bottom of the page.

import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { AddressEvent } from "../../src/wire/api/events.ts";
import { ApiError } from "../api-client.ts";
import type { Connection } from "../live.ts";

/** What a view can do with the rest of the page. */
export type Page = {
  readonly connection: Connection;
  /** Calls back for each change; returns how to end it. */
  readonly subscribe: (listener: (event: AddressEvent) => void) => () => void;
  /** Says something at the bottom of the page. */
  readonly say: (message: string, kind?: "done" | "problem") => void;
  /** Goes to a view. */
  readonly go: (hash: string) => void;
  /** Asks for a token. */
  readonly signIn: () => void;
  /** False when the token may not release addresses. */
  readonly mayRelease: boolean;
};

/** The page around a view. */
export const PageContext = createContext<Page>({
  connection: "connecting",
  subscribe: () => () => {},
  say: () => {},
  go: () => {},
  signIn: () => {},
  mayRelease: true,
});

/** The page around a view. */
export function usePage(): Page {
  return useContext(PageContext);
}

/** What became of reading something. The last value stays while it is read again. */
export type Reading<T> = {
  readonly value: T | undefined;
  readonly error: ApiError | undefined;
  readonly isLoading: boolean;
  readonly again: () => void;
};

/** Changes come in bursts; views read again at most this often. */
const calmMs = 700;

/**
 * Reads when `key` changes, when asked to, and after changes of addresses, but not more often than is good for the server.
 * An undefined key reads nothing. `everyMs` reads again without a cause, for what the stream of changes does not tell of.
 */
export function useReading<T>(
  key: string | undefined,
  read: (signal: AbortSignal) => Promise<T>,
  options: { readonly isLive?: boolean; readonly everyMs?: number } = {},
): Reading<T> {
  const page = usePage();
  const [state, setState] = useState<{ key?: string | undefined; value?: T; error?: ApiError }>({});
  const [turn, setTurn] = useState(0);
  const [isLoading, setLoading] = useState(false);
  const latest = useRef(read);
  latest.current = read;
  useEffect(() => {
    if (key === undefined) return;
    const gone = new AbortController();
    setLoading(true);
    latest
      .current(gone.signal)
      .then(
        (value) => {
          if (!gone.signal.aborted) setState({ key, value });
        },
        (error: unknown) => {
          if (gone.signal.aborted) return;
          const problem = error instanceof ApiError ? error : new ApiError(0, String(error));
          if (problem.status === 401) page.signIn();
          setState((old) => ({
            key,
            error: problem,
            ...(old.key === key && old.value !== undefined ? { value: old.value } : {}),
          }));
        },
      )
      .finally(() => {
        if (!gone.signal.aborted) setLoading(false);
      });
    return () => gone.abort();
  }, [key, turn]);
  useEffect(() => {
    if (options.isLive !== true) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = page.subscribe(({ kind }) => {
      // Figures of use come on their own, and tell of no change that another event does not tell of.
      if (kind === "usage") return;
      timer ??= setTimeout(() => {
        timer = undefined;
        setTurn((old) => old + 1);
      }, calmMs);
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [options.isLive, page.subscribe]);
  useEffect(() => {
    const { everyMs } = options;
    if (everyMs === undefined) return;
    const timer = setInterval(() => {
      // Nobody looks at a page in the background.
      if (!document.hidden) setTurn((old) => old + 1);
    }, everyMs);
    return () => clearInterval(timer);
  }, [options.everyMs]);
  const isOld = state.key !== key;
  return {
    value: isOld ? undefined : state.value,
    error: isOld ? undefined : state.error,
    isLoading,
    again: () => setTurn((old) => old + 1),
  };
}
