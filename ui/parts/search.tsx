// Finds an address, pod or workload from anywhere on the page: an address is jumped to, anything else is asked of the server.

import { useEffect, useId, useRef, useState } from "preact/hooks";
import { parseIp } from "../../src/core/ip.ts";
import type { FloatingIp } from "../../src/wire/api/floating-ip.ts";
import { api } from "../api-client.ts";
import { useText } from "../text/text.ts";
import { usePage } from "./live-context.ts";

const typingPauseMs = 150;
const mostResults = 8;

/** The search field with its results. */
export function Search() {
  const text = useText();
  const page = usePage();
  const list = useId();
  const [written, setWritten] = useState("");
  const [found, setFound] = useState<{
    readonly for: string;
    readonly addresses: readonly FloatingIp[];
  }>();
  const [active, setActive] = useState(0);
  const [isOpen, setOpen] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const keyword = written.trim();
  useEffect(() => {
    if (keyword === "") {
      setFound(undefined);
      return;
    }
    const gone = new AbortController();
    const timer = setTimeout(() => {
      const ip = parseIp(keyword);
      const asked =
        ip === undefined
          ? api
              .addresses({ keyword, size: mostResults, wide: true }, gone.signal)
              .then(({ content }) => content)
          : api.address(ip, gone.signal).then((address) => [address as FloatingIp]);
      asked.then(
        (addresses) => {
          setFound({ for: keyword, addresses });
          setActive(0);
        },
        () => {
          if (!gone.signal.aborted) setFound({ for: keyword, addresses: [] });
        },
      );
    }, typingPauseMs);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [keyword]);
  const go = (address: FloatingIp | undefined) => {
    if (address === undefined) {
      page.go(`addresses?keyword=${encodeURIComponent(keyword)}`);
    } else {
      page.go(`map?ip=${encodeURIComponent(address.ip)}`);
    }
    setOpen(false);
    field.current?.blur();
  };
  const addresses = found?.addresses ?? [];
  const isShown = isOpen && found !== undefined && keyword !== "";
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        go(found?.for === keyword ? addresses[active] : undefined);
      }}
    >
      <input
        ref={field}
        type="search"
        role="combobox"
        list={undefined}
        aria-label={text("search.label")}
        aria-expanded={isShown}
        aria-controls={list}
        aria-autocomplete="list"
        {...(isShown && addresses.length > 0
          ? { "aria-activedescendant": `${list}-${active}` }
          : {})}
        placeholder={text("search.placeholder")}
        value={written}
        onInput={(event) => {
          setWritten(event.currentTarget.value);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={(event) => {
          if (event.key === "Escape") setOpen(false);
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          const step = event.key === "ArrowDown" ? 1 : addresses.length - 1;
          setActive(addresses.length === 0 ? 0 : (active + step) % addresses.length);
        }}
      />
      <ul
        id={list}
        role="listbox"
        aria-label={text("search.label")}
        hidden={!isShown || addresses.length === 0}
      >
        {addresses.map((address, index) => (
          <li
            key={address.ip}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === active}
            // Before the field loses the focus and the list goes.
            onMouseDown={(event) => {
              event.preventDefault();
              go(address);
            }}
          >
            <strong>{address.ip}</strong>{" "}
            {[address.namespace, address.podName ?? address.appName].filter(Boolean).join("/")}
          </li>
        ))}
      </ul>
      {isShown && addresses.length === 0 ? (
        <p class="search-none" role="status">
          {parseIp(keyword) === undefined
            ? text("search.none", { text: keyword })
            : text("search.outside", { ip: keyword })}
        </p>
      ) : null}
    </form>
  );
}
