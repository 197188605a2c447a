// The page around the views: navigation by the address bar, search, language, theme, connection, sign-in and messages.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { AddressEvent } from "../src/wire/api/events.ts";
import { ApiError, api, call, readToken, writeToken } from "./api-client.ts";
import type { Connection } from "./live.ts";
import { followEvents } from "./live.ts";
import type { Page } from "./parts/live-context.ts";
import { PageContext } from "./parts/live-context.ts";
import { Search } from "./parts/search.tsx";
import { SignIn } from "./parts/sign-in.tsx";
import type { TextKey } from "./text/en.ts";
import type { Language } from "./text/text.ts";
import { initialLanguage, keepLanguage, TextContext, translator, useText } from "./text/text.ts";
import { AddressesView } from "./views/addresses-view.tsx";
import { HistoryView } from "./views/history-view.tsx";
import { IdleView } from "./views/idle-view.tsx";
import { MapView } from "./views/map-view.tsx";
import { PoolsView } from "./views/pools-view.tsx";
import { QuotasView } from "./views/quotas-view.tsx";
import { SimulationView } from "./views/simulation-view.tsx";
import { VipsView } from "./views/vips-view.tsx";
import { WhyView } from "./views/why-view.tsx";

const views = ["map", "addresses", "pools", "idle", "quotas", "vips", "why", "history"] as const;
type View = (typeof views)[number] | "simulation";

type Place = { readonly view: View; readonly query: URLSearchParams };

/** `#why?pod=a/b` as view and query; the map when there is none of that name. */
function readPlace(): Place {
  const [name, query] = location.hash.slice(1).split("?", 2);
  const view = [...views, "simulation" as const].find((known) => known === name) ?? "map";
  return { view, query: new URLSearchParams(query ?? "") };
}

type Theme = "auto" | "light" | "dark";
const themeKey = "galaxy-theme";

function initialTheme(): Theme {
  const kept = localStorage.getItem(themeKey);
  return kept === "light" || kept === "dark" ? kept : "auto";
}

/** How long a message stays. */
const messageMs = 12_000;

/** The whole page. */
export function App() {
  const [place, setPlace] = useState(readPlace);
  const [language, setLanguage] = useState<Language>(initialLanguage);
  const [theme, setTheme] = useState<Theme>(initialTheme);
  const [connection, setConnection] = useState<Connection>("connecting");
  const [message, setMessage] = useState<{ text: string; kind: "done" | "problem" } | undefined>();
  const [asksToken, setAsksToken] = useState<"no" | "first" | "refused">("no");
  const [session, setSession] = useState(0);
  const [mayRelease, setMayRelease] = useState(true);
  const [mode, setMode] = useState("");
  const listeners = useRef(new Set<(event: AddressEvent) => void>());
  const text = useMemo(() => translator(language), [language]);

  useEffect(() => {
    const changed = () => setPlace(readPlace());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    keepLanguage(language);
  }, [language]);
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem(themeKey, theme);
  }, [theme]);
  useEffect(() => {
    if (message === undefined) return;
    const timer = setTimeout(() => setMessage(undefined), messageMs);
    return () => clearTimeout(timer);
  }, [message]);
  useEffect(
    () =>
      followEvents({
        event: (event) => {
          for (const listener of listeners.current) listener(event);
        },
        connection: setConnection,
      }),
    [session],
  );
  // What was missed while the connection was away is not told later: read everything again.
  const wasLost = useRef(false);
  useEffect(() => {
    if (connection === "lost") wasLost.current = true;
    if (connection !== "live" || !wasLost.current) return;
    wasLost.current = false;
    setMessage({ text: text("connection.again"), kind: "done" });
    for (const listener of listeners.current) listener({ kind: "reset", message: "" });
  }, [connection]);
  useEffect(() => {
    api.status().then(
      (status) => {
        setMode(status.mode);
        // Who starts the program without a cluster sees first what to play with.
        if (status.mode === "embedded" && location.hash === "") location.replace("#simulation");
      },
      (error: unknown) => {
        if (error instanceof ApiError && error.status === 401) {
          setAsksToken(readToken() === "" ? "first" : "refused");
        }
      },
    );
    // Nothing to release: it only asks whether the token might.
    call("POST", "/v1/ip", { body: { ips: [], dryRun: true } }).then(
      () => setMayRelease(true),
      (error: unknown) => setMayRelease(!(error instanceof ApiError && error.status === 403)),
    );
  }, [session]);

  const page = useMemo<Page>(
    () => ({
      connection,
      subscribe: (listener) => {
        listeners.current.add(listener);
        return () => listeners.current.delete(listener);
      },
      say: (words, kind = "done") => setMessage({ text: words, kind }),
      go: (hash) => {
        location.hash = hash;
      },
      signIn: () =>
        setAsksToken((old) => (old === "no" ? (readToken() === "" ? "first" : "refused") : old)),
      mayRelease,
    }),
    [connection, mayRelease],
  );
  // Subscriptions outlive changes of the connection.
  const subscribe = useRef(page.subscribe).current;
  const stablePage = useMemo(() => ({ ...page, subscribe }), [page]);

  const shown: readonly View[] = mode === "embedded" ? ["simulation", ...views] : views;
  const isSignedIn = readToken() !== "";
  return (
    <TextContext.Provider value={text}>
      <PageContext.Provider value={stablePage}>
        <a
          class="skip"
          href="#content"
          onClick={(event) => {
            event.preventDefault();
            document.querySelector("main")?.focus();
          }}
        >
          {text("skip")}
        </a>
        <header class="top">
          <h1>{text("title")}</h1>
          <Search />
          <Status connection={connection} />
          <label>
            <span class="hidden">{text("language.label")}</span>
            <select
              aria-label={text("language.label")}
              value={language}
              onChange={(event) => setLanguage(event.currentTarget.value as Language)}
            >
              <option value="en">English</option>
              <option value="zh">中文</option>
            </select>
          </label>
          <select
            aria-label={text("theme.label")}
            value={theme}
            onChange={(event) => setTheme(event.currentTarget.value as Theme)}
          >
            {(["auto", "light", "dark"] as const).map((each) => (
              <option key={each} value={each}>
                {text(`theme.${each}`)}
              </option>
            ))}
          </select>
          {isSignedIn ? (
            <button
              type="button"
              onClick={() => {
                writeToken("");
                setSession((old) => old + 1);
              }}
            >
              {text("signOut.button")}
            </button>
          ) : null}
        </header>
        <nav class="views" aria-label={text("nav.label")}>
          {shown.map((view) => (
            <a
              key={view}
              href={`#${view}`}
              {...(view === place.view ? { "aria-current": "page" as const } : {})}
            >
              {text(`nav.${view}` as TextKey)}
            </a>
          ))}
        </nav>
        {connection === "lost" && asksToken === "no" ? (
          <p class="banner" role="alert">
            {text("connection.lost")}
          </p>
        ) : null}
        <main tabIndex={-1} key={session}>
          {asksToken === "no" ? (
            <Shown place={place} theme={theme} />
          ) : (
            <SignIn
              isRefused={asksToken === "refused"}
              onToken={(token) => {
                writeToken(token);
                setAsksToken("no");
                setSession((old) => old + 1);
              }}
            />
          )}
        </main>
        <div class="messages" role="status" aria-live="polite">
          {message === undefined ? null : (
            <p class={message.kind === "problem" ? "message problem" : "message"}>
              {message.text}{" "}
              <button
                type="button"
                class="quiet"
                aria-label={text("address.close")}
                onClick={() => setMessage(undefined)}
              >
                ✕
              </button>
            </p>
          )}
        </div>
      </PageContext.Provider>
    </TextContext.Provider>
  );
}

function Status(props: { readonly connection: Connection }) {
  const text = useText();
  return (
    <span class={`connection ${props.connection}`} role="status">
      {text(props.connection === "live" ? "connection.live" : "connection.connecting")}
    </span>
  );
}

function Shown(props: { readonly place: Place; readonly theme: string }) {
  const { view, query } = props.place;
  const param = (name: string) => query.get(name) ?? undefined;
  switch (view) {
    case "map":
      return <MapView selected={param("ip")} theme={props.theme} />;
    case "addresses":
      return <AddressesView query={query} />;
    case "pools":
      return <PoolsView />;
    case "idle":
      return <IdleView query={query} />;
    case "quotas":
      return <QuotasView />;
    case "vips":
      return <VipsView />;
    case "why":
      return <WhyView pod={param("pod")} />;
    case "history":
      return <HistoryView ip={param("ip")} podName={param("podName")} />;
    case "simulation":
      return <SimulationView />;
    default:
      return view satisfies never;
  }
}
