// Virtual IPs: who holds each, why the other claimants do not, and how it came there.

import { api } from "../api-client.ts";
import { useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import type { TextKey } from "../text/en.ts";
import { en } from "../text/en.ts";
import type { Translate } from "../text/text.ts";
import { useText } from "../text/text.ts";

/** The stream of changes tells of float IPs only. */
const everyMs = 2_000;

type Vip = Awaited<ReturnType<typeof api.vips>>["vips"][number];

/** How each state looks; the colours and signs of the map. */
const looks: Readonly<Record<Vip["state"], string>> = {
  Held: "bound",
  Moving: "held",
  Unheld: "none",
  Conflict: "conflict",
  Rejected: "unknown",
};

/** The virtual IPs. */
export function VipsView() {
  const text = useText();
  const reading = useReading("vips", api.vips, { isLive: true, everyMs });
  return (
    <section aria-labelledby="vips-heading">
      <h2 id="vips-heading">{text("vips.heading")}</h2>
      <Read
        of={reading}
        isEmpty={(value) => value.vips.length === 0}
        empty={<Note title={text("vips.empty.title")}>{text("vips.empty.body")}</Note>}
      >
        {(value) => (
          <TableFrame heading="vips-heading">
            <thead>
              <tr>
                <th scope="col">{text("addresses.ip")}</th>
                <th scope="col">{text("vips.state")}</th>
                <th scope="col">{text("vips.holder")}</th>
                <th scope="col">{text("address.node")}</th>
                <th scope="col">{text("vips.epoch")}</th>
                <th scope="col">{text("vips.claimants")}</th>
                <th scope="col">{text("vips.lastMove")}</th>
              </tr>
            </thead>
            <tbody>
              {value.vips.map((vip) => (
                <tr key={vip.ip}>
                  <td>{vip.ip}</td>
                  <td title={vip.message}>
                    <span class={`swatch swatch-${looks[vip.state]}`} aria-hidden="true" />
                    {text(`vips.state.${vip.state}`)}
                    {vip.foreignOwner === undefined ? null : (
                      <em class="problem-text"> {vip.foreignOwner}</em>
                    )}
                  </td>
                  <td>{vip.holder ?? text("address.nobody")}</td>
                  <td>{vip.nodeName ?? ""}</td>
                  <td>{vip.epoch}</td>
                  <td>
                    <Claimants vip={vip} />
                  </td>
                  <td>{moveText(vip, text)}</td>
                </tr>
              ))}
            </tbody>
          </TableFrame>
        )}
      </Read>
    </section>
  );
}

function Claimants({ vip }: { readonly vip: Vip }) {
  const text = useText();
  return (
    <ul class="plain">
      {vip.candidates.map(({ message, nodeName, pod, reason }) => (
        <li key={pod} title={message}>
          {pod} {nodeName === "" ? null : <span class="faint">{nodeName}</span>}{" "}
          {reason === undefined ? (
            text(pod === vip.holder ? "vips.holds" : "vips.standsBy")
          ) : (
            <em class="problem-text">{reasonText(reason, text)}</em>
          )}
        </li>
      ))}
    </ul>
  );
}

function moveText({ lastTransition: move }: Vip, text: Translate): string {
  if (move === undefined) return "";
  const time = new Date(move.at).toLocaleString();
  const tookMs = (move.detectMs ?? 0) + move.decideMs + (move.programMs ?? 0);
  return text("vips.move", {
    time,
    from: move.from ?? text("address.nobody"),
    to: move.to ?? text("address.nobody"),
    reason: reasonText(move.reason, text),
    tookMs,
  });
}

/** A word of another version is shown as it is. */
function reasonText(reason: string, text: Translate): string {
  const key = `vips.reason.${reason}`;
  return isTextKey(key) ? text(key) : reason;
}

function isTextKey(key: string): key is TextKey {
  return Object.hasOwn(en, key);
}
