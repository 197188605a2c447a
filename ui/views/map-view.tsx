// The address map: every subnet with its use, and what each address is.

import { addressLetters } from "../../src/wire/api/address-letters.ts";
import type { SubnetAnswer } from "../../src/wire/api/subnet.ts";
import { api } from "../api-client.ts";
import { AddressMap } from "../map/address-map.tsx";
import type { CellState } from "../map/cell-looks.ts";
import { usePage, useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { fullness, UsageBar } from "../parts/usage-bar.tsx";
import { useText } from "../text/text.ts";
import { AddressPanel } from "./address-panel.tsx";

/** `selected` is the address that is looked at. */
export function MapView(props: { readonly selected: string | undefined; readonly theme: string }) {
  const text = useText();
  const page = usePage();
  const subnets = useReading("subnets", api.subnets, { isLive: true });
  return (
    <div class={props.selected === undefined ? "with-panel" : "with-panel open"}>
      <section aria-labelledby="map-heading">
        <h2 id="map-heading">{text("map.heading")}</h2>
        <Legend />
        <Read
          of={subnets}
          isEmpty={(value) => value.subnets.length === 0}
          empty={<Note title={text("map.empty.title")}>{text("map.empty.body")}</Note>}
        >
          {(value) =>
            value.subnets.map((subnet) => (
              <Subnet
                key={`${subnet.subnet} ${subnet.ranges.join()}`}
                subnet={subnet}
                selected={props.selected}
                theme={props.theme}
                onSelect={(ip) => page.go(`map?ip=${encodeURIComponent(ip)}`)}
              />
            ))
          }
        </Read>
      </section>
      {props.selected === undefined ? null : (
        <AddressPanel ip={props.selected} onClose={() => page.go("map")} />
      )}
    </div>
  );
}

function Subnet(props: {
  readonly subnet: SubnetAnswer;
  readonly selected: string | undefined;
  readonly theme: string;
  readonly onSelect: (ip: string) => void;
}) {
  const text = useText();
  const { subnet } = props;
  const full = fullness(subnet);
  return (
    <article class="subnet">
      <header>
        <h3>{subnet.subnet}</h3>
        <UsageBar subnet={subnet} />
        {full === undefined ? null : (
          <strong class={`badge ${full}`}>
            {text(full === "full" ? "subnet.full" : "subnet.nearlyFull")}
          </strong>
        )}
        {subnet.draining === 0 ? null : (
          <strong class="badge">{text("subnet.draining", { count: subnet.draining })}</strong>
        )}
      </header>
      <p class="faint">
        {[
          subnet.ranges.slice(0, 3).join(", ") + (subnet.ranges.length > 3 ? " …" : ""),
          text("subnet.nodes", {
            nodes:
              subnet.nodeSubnets.slice(0, 4).join(", ") +
              (subnet.nodeSubnets.length > 4 ? " …" : ""),
          }),
          text("subnet.gateway", { gateway: subnet.gateway }),
          ...(subnet.vlan === 0 ? [] : [text("subnet.vlan", { vlan: String(subnet.vlan) })]),
        ].join(" · ")}
      </p>
      <AddressMap
        subnet={subnet}
        selected={props.selected}
        theme={props.theme}
        onSelect={props.onSelect}
      />
    </article>
  );
}

function Legend() {
  const text = useText();
  const states = Object.keys(addressLetters) as CellState[];
  return (
    <ul class="legend" aria-label={text("map.legend")}>
      {states.map((state) => (
        <li key={state} title={text(`stateHelp.${state}`)}>
          <span class={`swatch swatch-${state}`} aria-hidden="true" />
          {text(`state.${state}`)}
        </li>
      ))}
    </ul>
  );
}
