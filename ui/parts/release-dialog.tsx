// Asks before addresses are released, lists each with its owner, and says which were not released and why.

import { useEffect, useState } from "preact/hooks";
import type { FloatingIp } from "../../src/wire/api/floating-ip.ts";
import { api } from "../api-client.ts";
import { useText } from "../text/text.ts";
import { ConfirmDialog } from "./dialog.tsx";
import { usePage } from "./live-context.ts";

/** What the server compares with the record before it releases. */
function entryOf(address: FloatingIp) {
  const { ip, namespace, appName, podName, poolName, appType, policy } = address;
  return {
    ip,
    policy,
    ...(namespace === undefined ? {} : { namespace }),
    ...(appName === undefined ? {} : { appName }),
    ...(podName === undefined ? {} : { podName }),
    ...(poolName === undefined ? {} : { poolName }),
    ...(appType === undefined ? {} : { appType }),
  };
}

/** Releases `addresses` when confirmed. What the server would refuse is shown before. */
export function ReleaseDialog(props: {
  readonly addresses: readonly FloatingIp[];
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const text = useText();
  const page = usePage();
  const [refused, setRefused] = useState<ReadonlyMap<string, string>>(new Map());
  const ips = props.addresses.map(entryOf);
  useEffect(() => {
    api.release({ ips, dryRun: true }).then(
      (answer) => {
        const unreleased = answer.unreleased ?? [];
        setRefused(new Map(unreleased.map((ip, index) => [ip, answer.reasons?.[index] ?? ""])));
      },
      () => {
        // The same failure shows when it is really done.
      },
    );
  }, []);
  return (
    <ConfirmDialog
      title={text("release.heading")}
      isDangerous
      onClose={props.onClose}
      onConfirm={async () => {
        const answer = await api.release({ ips });
        const kept = answer.unreleased ?? [];
        const released = ips.length - kept.length;
        if (kept.length === 0) page.say(text("release.done", { count: released }));
        else {
          const reasons = kept.map((ip, index) => `${ip}: ${answer.reasons?.[index] ?? ""}`);
          page.say(text("release.partly", { released, kept: reasons.join("; ") }), "problem");
        }
        props.onDone();
      }}
    >
      <p>{text("release.body")}</p>
      <ul class="listed">
        {props.addresses.map((address) => (
          <li key={address.ip}>
            <strong>{address.ip}</strong>{" "}
            {[address.namespace, address.podName ?? address.appName].filter(Boolean).join("/")}
            {address.poolName === undefined ? "" : ` (${address.poolName})`}
            {refused.has(address.ip) ? (
              <em class="problem-text"> – {refused.get(address.ip)}</em>
            ) : null}
          </li>
        ))}
      </ul>
    </ConfirmDialog>
  );
}
