// Reserved addresses that no pod uses: since when, how much time each has left, and what keeps it. The server filters.

import type { FloatingIp } from "../../src/wire/api/floating-ip.ts";
import type { IdleAddressAnswer } from "../../src/wire/api/idle.ts";
import { api } from "../api-client.ts";
import { usePage, useReading } from "../parts/live-context.ts";
import {
  ChooseCell,
  ChooseHeader,
  ReleaseFrame,
  useReleaseSelection,
} from "../parts/release-selection.tsx";
import { Note, Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { spanText } from "../text/span-text.ts";
import type { Translate } from "../text/text.ts";
import { useText } from "../text/text.ts";
import { policyText } from "./address-panel.tsx";

/** Time passes without a change of any address. */
const everyMs = 15_000;

/** As the established models say it. */
const policyNumbers = { "pod-delete": 0, immutable: 1, never: 2 } as const;

const filterNames = ["namespace", "pool", "longerThan"] as const;

/** `query` is what stands behind the `?` of the address bar. */
export function IdleView(props: { readonly query: URLSearchParams }) {
  const text = useText();
  const page = usePage();
  const { query } = props;
  const key = query.toString();
  const filters = Object.fromEntries(
    filterNames.flatMap((name) => {
      const value = query.get(name) ?? "";
      return value === "" ? [] : [[name, value]];
    }),
  );
  const reading = useReading(`idle ${key}`, (signal) => api.idle(filters, signal), {
    isLive: true,
    everyMs,
  });
  const selection = useReleaseSelection(key);
  return (
    <section aria-labelledby="idle-heading">
      <h2 id="idle-heading">{text("idle.heading")}</h2>
      <Filters
        query={query}
        onApply={(changes) => page.go(`idle?${new URLSearchParams(changes).toString()}`)}
      />
      <ReleaseFrame selection={selection} onDone={reading.again}>
        <Read
          of={reading}
          isEmpty={(value) => value.total === 0}
          empty={<Note title={text("idle.empty.title")}>{text("idle.empty.body")}</Note>}
        >
          {(value) => (
            <>
              <TableFrame heading="idle-heading" class="addresses">
                <thead>
                  <tr>
                    <ChooseHeader selection={selection} />
                    <th scope="col">{text("addresses.ip")}</th>
                    <th scope="col">{text("idle.for")}</th>
                    <th scope="col">{text("address.policy")}</th>
                    <th scope="col">{text("idle.since")}</th>
                    <th scope="col">{text("idle.limit")}</th>
                    <th scope="col">{text("idle.left")}</th>
                  </tr>
                </thead>
                <tbody>
                  {value.addresses.map((address) => (
                    <tr key={address.ip}>
                      <ChooseCell selection={selection} address={releasable(address)} />
                      <td>
                        <a href={`#map?ip=${encodeURIComponent(address.ip)}`}>{address.ip}</a>
                      </td>
                      <td>{reservedFor(address, text)}</td>
                      <td>{policyText(policyNumbers[address.policy], text)}</td>
                      <td>
                        <Since at={address.idleSince} />
                      </td>
                      <td>
                        {address.reserveTTL ?? text("idle.noLimit")}
                        {address.ttlFrom === undefined ? null : (
                          <span class="faint"> {text(`idle.from.${address.ttlFrom}`)}</span>
                        )}
                      </td>
                      <td>
                        <TimeLeft address={address} />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </TableFrame>
              <p class="faint">
                {text("idle.shown", { shown: value.addresses.length, total: value.total })}
              </p>
            </>
          )}
        </Read>
      </ReleaseFrame>
    </section>
  );
}

/** What the server compares with the record before it releases. */
function releasable(address: IdleAddressAnswer): FloatingIp {
  return { ...address, policy: policyNumbers[address.policy] };
}

function reservedFor(address: IdleAddressAnswer, text: Translate): string {
  const { appName, appType, namespace, podName, poolName } = address;
  const pool = poolName === undefined ? "" : `${text("address.pool")} ${poolName}`;
  if (podName !== undefined) {
    return `${text("address.pod")} ${namespace}/${podName}${pool === "" ? "" : ` (${pool})`}`;
  }
  return appName === undefined ? pool : `${appType} ${namespace}/${appName}`;
}

function Since(props: { readonly at: string | undefined }) {
  const text = useText();
  const { at } = props;
  if (at === undefined) return <span class="faint">{text("idle.unknown")}</span>;
  return (
    <time dateTime={at} title={new Date(at).toLocaleString()}>
      {spanText(Date.now() - Date.parse(at), text)}
    </time>
  );
}

function TimeLeft(props: { readonly address: IdleAddressAnswer }) {
  const text = useText();
  const { idleSince, keptBecause, releaseAt, warnedAt } = props.address;
  if (keptBecause !== undefined) return <span class="faint">{keptBecause}</span>;
  if (releaseAt === undefined) return <span class="faint">{text("idle.stays")}</span>;
  const endMs = Date.parse(releaseAt);
  const leftMs = Math.max(0, endMs - Date.now());
  const wholeMs = Math.max(1, endMs - Date.parse(idleSince ?? releaseAt));
  const left = leftMs === 0 ? text("idle.dueNow") : spanText(leftMs, text);
  return (
    <span class="usage">
      <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-free" x="0" y="0" width="100" height="4" />
        <rect
          class={warnedAt === undefined ? "bar-bound" : "bar-over"}
          x="0"
          y="0"
          width={Math.min(100, 100 - (leftMs / wholeMs) * 100)}
          height="4"
        />
      </svg>
      <time class="figures" dateTime={releaseAt} title={new Date(releaseAt).toLocaleString()}>
        {left}
      </time>
      {warnedAt === undefined ? null : <span class="badge nearly">{text("idle.warned")}</span>}
    </span>
  );
}

function Filters(props: {
  readonly query: URLSearchParams;
  readonly onApply: (changes: Record<string, string>) => void;
}) {
  const text = useText();
  const values = (form: HTMLFormElement) => {
    const data = new FormData(form);
    return Object.fromEntries(
      filterNames.flatMap((name) => {
        const value = data.get(name);
        return typeof value !== "string" || value.trim() === "" ? [] : [[name, value.trim()]];
      }),
    );
  };
  return (
    <form
      class="filters"
      aria-label={text("idle.filter")}
      key={props.query.toString()}
      onSubmit={(event) => {
        event.preventDefault();
        props.onApply(values(event.currentTarget));
      }}
    >
      {filterNames.map((name) => (
        <label key={name}>
          {text(`idle.${name}`)}
          <input
            name={name}
            defaultValue={props.query.get(name) ?? ""}
            placeholder={name === "longerThan" ? "24h" : ""}
          />
        </label>
      ))}
      <button type="submit" class="primary">
        {text("action.apply")}
      </button>
      <button type="button" onClick={() => props.onApply({})}>
        {text("action.clear")}
      </button>
    </form>
  );
}
