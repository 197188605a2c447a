// Why a pod has or does not have an address: facts, decision, and what would change it.

import { useEffect, useState } from "preact/hooks";
import type { ExplanationAnswer } from "../../src/wire/api/explain.ts";
import { api } from "../api-client.ts";
import { usePage, useReading } from "../parts/live-context.ts";
import { Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { useText } from "../text/text.ts";

/** `pod` is NAMESPACE/NAME from the address bar. */
export function WhyView(props: { readonly pod: string | undefined }) {
  const text = useText();
  const page = usePage();
  const [written, setWritten] = useState(props.pod ?? "");
  useEffect(() => setWritten(props.pod ?? ""), [props.pod]);
  const [namespace, name, ...more] = (props.pod ?? "").split("/");
  const isPod =
    namespace !== undefined &&
    namespace !== "" &&
    name !== undefined &&
    name !== "" &&
    more.length === 0;
  const reading = useReading(
    isPod ? `why ${props.pod}` : undefined,
    () => api.explain({ namespace: namespace ?? "", name: name ?? "" }),
    { isLive: true },
  );
  const pods = useReading("pods", (signal) => api.addresses({ state: "bound", size: 500 }, signal));
  const names = (pods.value?.content ?? [])
    .map((address) => `${address.namespace ?? ""}/${address.podName ?? ""}`)
    .toSorted();
  return (
    <section aria-labelledby="why-heading">
      <h2 id="why-heading">{text("why.heading")}</h2>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          page.go(`why?pod=${encodeURIComponent(written.trim())}`);
        }}
      >
        <label>
          {text("why.pod")}
          <input
            required
            list="why-pods"
            placeholder="default/web-0"
            value={written}
            onInput={(event) => setWritten(event.currentTarget.value)}
          />
        </label>
        <datalist id="why-pods">
          {[...new Set(names)].map((pod) => (
            <option key={pod} value={pod} />
          ))}
        </datalist>
        <button type="submit" class="primary">
          {text("why.ask")}
        </button>
      </form>
      {props.pod === undefined || isPod ? null : (
        <p class="problem-text" role="alert">
          {text("why.format")}
        </p>
      )}
      {isPod ? <Read of={reading}>{(value) => <Explanation of={value} />}</Read> : null}
    </section>
  );
}

function Explanation(props: { readonly of: ExplanationAnswer }) {
  const text = useText();
  const { of } = props;
  const isGood = of.decision === "has address" || of.decision === "would get address";
  return (
    <>
      <div class={isGood ? "note" : "note problem"} role="status">
        <h3>
          {of.pod}: {text(`why.decision.${of.decision}`)}
        </h3>
        <p>{of.because}</p>
      </div>
      {of.remedy.length === 0 ? null : (
        <>
          <h3>{text("why.remedy")}</h3>
          <ul>
            {of.remedy.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </>
      )}
      {of.addresses.length === 0 ? null : (
        <>
          <h3>{text("why.addresses")}</h3>
          <ul>
            {of.addresses.map((address) => (
              <li key={address.ip}>
                <a href={`#map?ip=${encodeURIComponent(address.ip)}`}>{address.ip}</a>{" "}
                {address.state}
                {address.nodeName === undefined ? "" : `, ${address.nodeName}`}.{" "}
                {text("why.ifPodGoes")}: {address.ifPodGoes}
              </li>
            ))}
          </ul>
        </>
      )}
      {of.nodes.length === 0 ? null : (
        <>
          <h3 id="why-nodes">{text("why.nodes")}</h3>
          <TableFrame heading="why-nodes">
            <thead>
              <tr>
                <th scope="col">{text("why.nodes")}</th>
                <th scope="col">{text("address.subnet")}</th>
                <th scope="col">{text("why.gets")}</th>
              </tr>
            </thead>
            <tbody>
              {of.nodes.map((group) => (
                <tr key={group.nodes.join()}>
                  <td>
                    {group.nodes.join(", ")}
                    {group.nodeCount > group.nodes.length ? ` … (${group.nodeCount})` : ""}
                  </td>
                  <td>{group.subnets.join(", ")}</td>
                  <td>
                    {group.because ??
                      group.addresses.map(({ ip, from }) => `${ip} (${from})`).join(", ")}
                  </td>
                </tr>
              ))}
            </tbody>
          </TableFrame>
        </>
      )}
      <h3>{text("why.facts")}</h3>
      <dl>
        {Object.entries(of.facts)
          .filter(([, value]) => !Array.isArray(value) || value.length > 0)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{Array.isArray(value) ? value.join(", ") : String(value)}</dd>
            </div>
          ))}
      </dl>
    </>
  );
}
