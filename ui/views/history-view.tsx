// Who held an address, or which addresses a pod held, and when.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api-client.ts";
import { usePage, useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { useText } from "../text/text.ts";

const mostEntries = 500;

/** `ip` and `podName` from the address bar. */
export function HistoryView(props: {
  readonly ip: string | undefined;
  readonly podName: string | undefined;
}) {
  const text = useText();
  const page = usePage();
  const [ip, setIp] = useState(props.ip ?? "");
  const [podName, setPodName] = useState(props.podName ?? "");
  useEffect(() => {
    setIp(props.ip ?? "");
    setPodName(props.podName ?? "");
  }, [props.ip, props.podName]);
  const reading = useReading(
    `history ${props.ip ?? ""} ${props.podName ?? ""}`,
    () =>
      api.history({
        limit: mostEntries,
        ...(props.ip === undefined ? {} : { ip: props.ip }),
        ...(props.podName === undefined ? {} : { podName: props.podName }),
      }),
    { isLive: true },
  );
  return (
    <section aria-labelledby="history-heading">
      <h2 id="history-heading">{text("history.heading")}</h2>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          const query = new URLSearchParams();
          if (ip.trim() !== "") query.set("ip", ip.trim());
          if (podName.trim() !== "") query.set("podName", podName.trim());
          page.go(`history?${query.toString()}`);
        }}
      >
        <label>
          {text("history.ip")}
          <input value={ip} onInput={(event) => setIp(event.currentTarget.value)} />
        </label>
        <label>
          {text("history.podName")}
          <input value={podName} onInput={(event) => setPodName(event.currentTarget.value)} />
        </label>
        <button type="submit" class="primary">
          {text("history.ask")}
        </button>
      </form>
      <Read
        of={reading}
        isEmpty={(value) => value.entries.length === 0}
        empty={<Note title={text("history.empty.title")}>{text("history.empty.body")}</Note>}
      >
        {(value) => (
          <>
            <TableFrame heading="history-heading">
              <thead>
                <tr>
                  <th scope="col">{text("history.ip")}</th>
                  <th scope="col">{text("history.from")}</th>
                  <th scope="col">{text("history.until")}</th>
                  <th scope="col">{text("history.state")}</th>
                  <th scope="col">{text("history.who")}</th>
                  <th scope="col">{text("history.node")}</th>
                </tr>
              </thead>
              <tbody>
                {value.entries.map((entry) => (
                  <tr key={`${entry.ip} ${entry.from} ${entry.state}`}>
                    <td>
                      <a href={`#map?ip=${encodeURIComponent(entry.ip)}`}>{entry.ip}</a>
                    </td>
                    <td>{timeText(entry.from, entry.fromIsAbout)}</td>
                    <td>
                      {entry.until === undefined
                        ? text("history.now")
                        : timeText(entry.until, entry.untilIsAbout)}
                    </td>
                    <td>
                      <span class={`swatch swatch-${entry.state}`} aria-hidden="true" />
                      {text(`state.${entry.state}`)}
                    </td>
                    <td>{whoHeld(entry)}</td>
                    <td>{entry.nodeName ?? ""}</td>
                  </tr>
                ))}
              </tbody>
            </TableFrame>
            {value.isComplete ? null : <p class="faint">{text("history.incomplete")}</p>}
          </>
        )}
      </Read>
    </section>
  );
}

/** A time that was not seen itself, because the program was down, is said to be about. */
function timeText(time: string, isAbout: boolean | undefined): string {
  return `${isAbout === true ? "≈ " : ""}${new Date(time).toLocaleString()}`;
}

function whoHeld(entry: {
  readonly key: string;
  readonly namespace?: string;
  readonly podName?: string;
  readonly appName?: string;
  readonly poolName?: string;
}): string {
  const name = entry.podName ?? entry.appName;
  if (name === undefined || name === "") return entry.poolName ?? entry.key;
  return `${entry.namespace ?? ""}/${name}`;
}
