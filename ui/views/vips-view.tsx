// Virtual IPs: who holds each.

import { api } from "../api-client.ts";
import { useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { useText } from "../text/text.ts";

/** The virtual IPs. */
export function VipsView() {
  const text = useText();
  const reading = useReading("vips", api.vips, { isLive: true });
  return (
    <section aria-labelledby="vips-heading">
      <h2 id="vips-heading">{text("vips.heading")}</h2>
      <Read
        of={reading}
        isEmpty={(value) => value.vips.length === 0}
        empty={<Note title={text("vips.empty.title")}>{text("vips.empty.body")}</Note>}
      >
        {(value) => (
          <div class="table-frame" tabIndex={0} role="region" aria-labelledby="vips-heading">
            <table>
              <thead>
                <tr>
                  <th scope="col">{text("addresses.ip")}</th>
                  <th scope="col">{text("vips.name")}</th>
                  <th scope="col">{text("vips.state")}</th>
                  <th scope="col">{text("vips.holder")}</th>
                  <th scope="col">{text("address.node")}</th>
                </tr>
              </thead>
              <tbody>
                {value.vips.map((vip) => (
                  <tr key={`${vip.namespace}/${vip.name}/${vip.ip}`}>
                    <td>{vip.ip}</td>
                    <td>
                      {vip.namespace}/{vip.name}
                    </td>
                    <td>{vip.state}</td>
                    <td>{vip.holder ?? text("address.nobody")}</td>
                    <td>{vip.nodeName ?? ""}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Read>
    </section>
  );
}
