// One address beside the map: who has it, why, and what can be done about it.

import { useState } from "preact/hooks";
import type { SuccessOf } from "../../src/wire/api/endpoint.ts";
import type { getIp } from "../../src/wire/api/floating-ip.ts";
import { api } from "../api-client.ts";
import { ConfirmDialog } from "../parts/dialog.tsx";
import { usePage, useReading } from "../parts/live-context.ts";
import { ReleaseDialog } from "../parts/release-dialog.tsx";
import { Read } from "../parts/states.tsx";
import type { TextKey } from "../text/en.ts";
import type { Translate } from "../text/text.ts";
import { useText } from "../text/text.ts";

type Address = SuccessOf<typeof getIp>;

/** The panel of one address. */
export function AddressPanel(props: { readonly ip: string; readonly onClose: () => void }) {
  const text = useText();
  const reading = useReading(props.ip, (signal) => api.address(props.ip, signal), { isLive: true });
  return (
    <aside class="panel" aria-labelledby="address-heading">
      <header>
        <h2 id="address-heading">{text("address.heading", { ip: props.ip })}</h2>
        <button
          type="button"
          class="quiet"
          aria-label={text("address.close")}
          onClick={props.onClose}
        >
          ✕
        </button>
      </header>
      <Read of={reading}>
        {(address) => <AddressFacts address={address} changed={reading.again} />}
      </Read>
    </aside>
  );
}

function AddressFacts(props: { readonly address: Address; readonly changed: () => void }) {
  const text = useText();
  const { address } = props;
  const pod = address.podName === undefined ? undefined : podPath(address);
  return (
    <>
      <p class={`state state-${address.state}`}>
        <span class={`swatch swatch-${address.state}`} aria-hidden="true" />
        <strong>{text(`state.${address.state}`)}</strong>
        <span> – {text(`stateHelp.${address.state}`)}</span>
      </p>
      <dl>
        {factsOf(address, text).map(([key, value]) => (
          <div key={key}>
            <dt>{text(key)}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {address.reasons.length === 0 ? null : (
        <>
          <h3>{text("address.reasons")}</h3>
          <ul class="reasons">
            {address.reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        </>
      )}
      <Actions address={address} changed={props.changed} />
      <p class="links">
        <a href={`#history?ip=${encodeURIComponent(address.ip)}`}>{text("address.history")}</a>
        {pod === undefined ? null : (
          <a href={`#why?pod=${encodeURIComponent(pod)}`}>{text("address.why")}</a>
        )}
      </p>
    </>
  );
}

/** NAMESPACE/NAME of the pod that an address belongs to. */
function podPath({ namespace, podName }: Address): string {
  return `${namespace ?? ""}/${podName ?? ""}`;
}

function factsOf(address: Address, text: Translate): readonly (readonly [TextKey, string])[] {
  const workload = [address.appType, address.appName].filter(Boolean).join(" ");
  const isOwned = address.state !== "free" && address.state !== "held";
  const facts: readonly (readonly [TextKey, string | undefined])[] = [
    ["address.pod", address.podName],
    ["address.namespace", address.namespace],
    ["address.workload", workload],
    ["address.pool", address.poolName],
    ["address.status", address.status],
    ["address.node", address.nodeName],
    ["address.lastNode", address.lastNodeName],
    ["address.policy", isOwned ? policyText(address.policy, text) : undefined],
    [
      "address.updated",
      address.updateTime === undefined ? undefined : new Date(address.updateTime).toLocaleString(),
    ],
    ["address.subnet", address.subnet],
    ["address.key", address.key],
  ];
  return facts.flatMap(([key, value]) =>
    value === undefined || value === "" ? [] : [[key, value] as const],
  );
}

/** The policy in words. */
export function policyText(policy: number, text: Translate): string {
  return policy === 1 || policy === 2 ? text(`policy.${policy}`) : text("policy.0");
}

/** Why an address cannot be released; undefined when it can. */
function releaseProblem(address: Address, mayRelease: boolean): TextKey | undefined {
  if (!mayRelease) return "release.notAllowed";
  if (address.state === "free" || address.state === "held") return "release.free";
  if (address.state === "admin") return "release.admin";
  return address.releasable === true ? undefined : "release.running";
}

function Actions(props: { readonly address: Address; readonly changed: () => void }) {
  const text = useText();
  const page = usePage();
  const { address } = props;
  const [asks, setAsks] = useState<"release" | "reserve" | "unreserve" | undefined>(undefined);
  const [reason, setReason] = useState("");
  const close = () => setAsks(undefined);
  const notReleasable = releaseProblem(address, page.mayRelease);
  const notReservable =
    address.state === "free" && address.isConfigured ? undefined : text("reserve.notFree");
  return (
    <div class="actions">
      <button
        type="button"
        disabled={notReleasable !== undefined}
        aria-describedby="release-problem"
        onClick={() => setAsks("release")}
      >
        {text("action.release")}
      </button>
      {address.state === "admin" ? (
        <button type="button" disabled={!page.mayRelease} onClick={() => setAsks("unreserve")}>
          {text("action.unreserve")}
        </button>
      ) : (
        <button
          type="button"
          disabled={notReservable !== undefined || !page.mayRelease}
          title={notReservable}
          onClick={() => setAsks("reserve")}
        >
          {text("action.reserve")}
        </button>
      )}
      <p id="release-problem" class="faint">
        {notReleasable === undefined ? "" : text(notReleasable)}
      </p>
      {asks === "release" ? (
        <ReleaseDialog addresses={[address]} onClose={close} onDone={props.changed} />
      ) : null}
      {asks === "reserve" ? (
        <ConfirmDialog
          title={text("reserve.heading", { ip: address.ip })}
          onClose={close}
          onConfirm={async () => {
            await api.reserve({ ip: address.ip }, reason === "" ? {} : { reason });
            page.say(text("reserve.done", { ip: address.ip }));
            props.changed();
          }}
        >
          <p>{text("reserve.body")}</p>
          <label>
            {text("reserve.reason")}
            <input
              value={reason}
              maxLength={253}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
        </ConfirmDialog>
      ) : null}
      {asks === "unreserve" ? (
        <ConfirmDialog
          title={text("unreserve.heading", { ip: address.ip })}
          onClose={close}
          onConfirm={async () => {
            await api.unreserve({ ip: address.ip });
            page.say(text("unreserve.done", { ip: address.ip }));
            props.changed();
          }}
        >
          <p>{text("unreserve.body")}</p>
        </ConfirmDialog>
      ) : null}
    </div>
  );
}
