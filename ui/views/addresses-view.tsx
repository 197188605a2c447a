// Addresses with their workloads as a table; the server filters, sorts and pages.

import { useEffect, useState } from "preact/hooks";
import { cellCounts } from "../../src/wire/api/address-letters.ts";
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
import type { TextKey } from "../text/en.ts";
import { useText } from "../text/text.ts";
import { policyText } from "./address-panel.tsx";

const pageSize = 25;
const kinds = ["deployment", "statefulset", "tapp"];

/** Columns that the server sorts by, with their word in the query. */
const columns: readonly { readonly title: TextKey; readonly sort?: string }[] = [
  { title: "addresses.ip", sort: "ip" },
  { title: "addresses.state" },
  { title: "address.namespace", sort: "namespace" },
  { title: "address.workload" },
  { title: "address.pod", sort: "podname" },
  { title: "address.pool" },
  { title: "address.policy", sort: "policy" },
  { title: "address.node" },
];

const filterNames = ["keyword", "namespace", "appName", "appType", "poolName", "state"] as const;
type FilterName = (typeof filterNames)[number];

/** `query` is what stands behind the `?` of the address bar. */
export function AddressesView(props: { readonly query: URLSearchParams }) {
  const text = useText();
  const page = usePage();
  const { query } = props;
  const sort = query.get("sort") ?? "ip asc";
  const pageNumber = Number(query.get("page") ?? "0");
  const filters = Object.fromEntries(
    filterNames.map((name) => [name, query.get(name) ?? undefined]),
  ) as Partial<Record<FilterName, never>>;
  const key = query.toString();
  const reading = useReading(
    `addresses ${key}`,
    (signal) =>
      api.addresses({ ...filters, sort, page: pageNumber, size: pageSize, wide: true }, signal),
    { isLive: true },
  );
  const selection = useReleaseSelection(key);
  const goWith = (changes: Readonly<Record<string, string>>) => {
    const next = new URLSearchParams(query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === "") next.delete(name);
      else next.set(name, value);
    }
    page.go(`addresses?${next.toString()}`);
  };
  return (
    <section aria-labelledby="addresses-heading">
      <h2 id="addresses-heading">{text("addresses.heading")}</h2>
      <Filters query={query} onApply={(changes) => goWith({ ...changes, page: "" })} />
      <ReleaseFrame selection={selection} onDone={reading.again}>
        <Read
          of={reading}
          isEmpty={(value) => value.totalElements === 0}
          empty={<Note title={text("addresses.empty.title")}>{text("addresses.empty.body")}</Note>}
        >
          {(value) => (
            <>
              <TableFrame heading="addresses-heading" class="addresses">
                <thead>
                  <tr>
                    <ChooseHeader selection={selection} />
                    {columns.map((column) => (
                      <SortHeader
                        key={column.title}
                        title={text(column.title)}
                        word={column.sort}
                        sort={sort}
                        onSort={(next) => goWith({ sort: next, page: "" })}
                      />
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {value.content.map((address) => (
                    <tr key={address.ip}>
                      <ChooseCell
                        selection={selection}
                        address={address}
                        isDisabled={address.releasable !== true || address.state === "free"}
                      />
                      <td>
                        <a href={`#map?ip=${encodeURIComponent(address.ip)}`}>{address.ip}</a>
                      </td>
                      <td>
                        <span
                          class={`swatch swatch-${address.state ?? "unknown"}`}
                          aria-hidden="true"
                        />
                        {text(`state.${address.state ?? "unknown"}`)}
                      </td>
                      <td>{address.namespace ?? ""}</td>
                      <td>{[address.appType, address.appName].filter(Boolean).join(" ")}</td>
                      <td>
                        {address.podName === undefined || address.podName === "" ? (
                          ""
                        ) : (
                          <a
                            href={`#why?pod=${encodeURIComponent(`${address.namespace ?? ""}/${address.podName}`)}`}
                          >
                            {address.podName}
                          </a>
                        )}
                        {address.status === undefined ? null : (
                          <span class="faint"> {address.status}</span>
                        )}
                      </td>
                      <td>{address.poolName ?? ""}</td>
                      <td>
                        {address.state === "free" || address.state === "held"
                          ? ""
                          : policyText(address.policy, text)}
                      </td>
                      <td>{address.nodeName ?? address.lastNodeName ?? ""}</td>
                    </tr>
                  ))}
                </tbody>
              </TableFrame>
              <nav
                class="pager"
                aria-label={text("addresses.page", {
                  page: pageNumber + 1,
                  pages: value.totalPages,
                })}
              >
                <button
                  type="button"
                  disabled={value.first}
                  onClick={() => goWith({ page: String(pageNumber - 1) })}
                >
                  ← {text("action.previous")}
                </button>
                <span>
                  {text("addresses.page", {
                    page: pageNumber + 1,
                    pages: Math.max(1, value.totalPages),
                  })}{" "}
                  · {text("addresses.count", { count: value.totalElements })}
                </span>
                <button
                  type="button"
                  disabled={value.last}
                  onClick={() => goWith({ page: String(pageNumber + 1) })}
                >
                  {text("action.next")} →
                </button>
              </nav>
            </>
          )}
        </Read>
      </ReleaseFrame>
    </section>
  );
}

function SortHeader(props: {
  readonly title: string;
  readonly word: string | undefined;
  readonly sort: string;
  readonly onSort: (sort: string) => void;
}) {
  const text = useText();
  const { title, word, sort } = props;
  if (word === undefined) return <th scope="col">{title}</th>;
  const [by, direction] = sort.split(" ");
  const isSorted = by === word;
  const next = isSorted && direction !== "desc" ? "desc" : "asc";
  return (
    <th
      scope="col"
      aria-sort={isSorted ? (direction === "desc" ? "descending" : "ascending") : "none"}
    >
      <button
        type="button"
        class="quiet"
        aria-label={text("addresses.sortBy", { column: title })}
        onClick={() => props.onSort(`${word} ${next}`)}
      >
        {title} {isSorted ? (direction === "desc" ? "↓" : "↑") : ""}
      </button>
    </th>
  );
}

function Filters(props: {
  readonly query: URLSearchParams;
  readonly onApply: (changes: Readonly<Record<FilterName, string>>) => void;
}) {
  const text = useText();
  const read = () =>
    Object.fromEntries(filterNames.map((name) => [name, props.query.get(name) ?? ""])) as Record<
      FilterName,
      string
    >;
  const [values, setValues] = useState(read);
  useEffect(() => setValues(read()), [props.query.toString()]);
  const field = (name: FilterName, title: TextKey) => (
    <label>
      {text(title)}
      <input
        name={name}
        value={values[name]}
        onInput={(event) => setValues({ ...values, [name]: event.currentTarget.value })}
      />
    </label>
  );
  const choice = (
    name: FilterName,
    title: TextKey,
    options: readonly (readonly [string, string])[],
  ) => (
    <label>
      {text(title)}
      <select
        name={name}
        value={values[name]}
        onChange={(event) => setValues({ ...values, [name]: event.currentTarget.value })}
      >
        <option value="">{text("addresses.any")}</option>
        {options.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        props.onApply(values);
      }}
    >
      {field("keyword", "addresses.keyword")}
      {field("namespace", "addresses.namespace")}
      {field("appName", "addresses.app")}
      {choice(
        "appType",
        "addresses.type",
        kinds.map((kind) => [kind, kind]),
      )}
      {field("poolName", "addresses.pool")}
      {choice(
        "state",
        "addresses.state",
        cellCounts.map((state) => [state, text(`state.${state}`)]),
      )}
      <button type="submit" class="primary">
        {text("action.apply")}
      </button>
      <button
        type="button"
        onClick={() =>
          props.onApply(
            Object.fromEntries(filterNames.map((name) => [name, ""])) as Record<FilterName, string>,
          )
        }
      >
        {text("action.clear")}
      </button>
    </form>
  );
}
