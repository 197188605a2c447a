// Quotas: how many addresses each namespace has of those it may have, and how a quota is made, changed and deleted.

import { useState } from "preact/hooks";
import type { QuotaUseAnswer } from "../../src/wire/api/quota.ts";
import { api } from "../api-client.ts";
import { AskingForm, CountField, TextField } from "../parts/asking-form.tsx";
import { ConfirmDialog } from "../parts/dialog.tsx";
import { usePage, useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { useText } from "../text/text.ts";

/** The stream of changes tells nothing of quotas. */
const everyMs = 5_000;

type Quota = Awaited<ReturnType<typeof api.quotas>>["quotas"][number];

/** The quotas. */
export function QuotasView() {
  const text = useText();
  const page = usePage();
  const reading = useReading("quotas", api.quotas, { isLive: true, everyMs });
  const [changing, setChanging] = useState<Quota | undefined>(undefined);
  const [deleting, setDeleting] = useState<Quota | undefined>(undefined);
  return (
    <section aria-labelledby="quotas-heading">
      <h2 id="quotas-heading">{text("quotas.heading")}</h2>
      <QuotaForm
        key={changing === undefined ? "" : JSON.stringify(changing)}
        quota={changing}
        onDone={() => {
          setChanging(undefined);
          reading.again();
        }}
      />
      <Read
        of={reading}
        isEmpty={(value) => value.quotas.length === 0}
        empty={<Note title={text("quotas.empty.title")}>{text("quotas.empty.body")}</Note>}
      >
        {(value) => (
          <>
            <h3 id="quotas-use">{text("quotas.use")}</h3>
            <TableFrame heading="quotas-use">
              <thead>
                <tr>
                  <th scope="col">{text("address.namespace")}</th>
                  <th scope="col">{text("quotas.quota")}</th>
                  <th scope="col">{text("pools.allocated")}</th>
                </tr>
              </thead>
              <tbody>
                {value.namespaces.map((use) => (
                  <tr key={use.namespace}>
                    <td>
                      <a href={`#addresses?namespace=${encodeURIComponent(use.namespace)}`}>
                        {use.namespace}
                      </a>
                    </td>
                    <td>{use.quota}</td>
                    <td>
                      <UseBar use={use} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </TableFrame>
            <h3 id="quotas-all">{text("quotas.all")}</h3>
            <TableFrame heading="quotas-all">
              <thead>
                <tr>
                  <th scope="col">{text("pools.name")}</th>
                  <th scope="col">{text("quotas.limit")}</th>
                  <th scope="col">{text("quotas.namespaces")}</th>
                  <th scope="col">
                    <span class="hidden">{text("action.delete")}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {value.quotas.map((quota) => (
                  <tr key={quota.name}>
                    <td>{quota.name}</td>
                    <td>{quota.limit}</td>
                    <td>{quota.namespaces.join(", ") || text("quotas.everybody")}</td>
                    <td class="row-actions">
                      <button type="button" onClick={() => setChanging(quota)}>
                        {text("quotas.change", { name: quota.name })}
                      </button>
                      <button type="button" onClick={() => setDeleting(quota)}>
                        {text("action.delete")}
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </TableFrame>
          </>
        )}
      </Read>
      {deleting === undefined ? null : (
        <ConfirmDialog
          title={text("quotas.delete", { name: deleting.name })}
          isDangerous
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await api.deleteQuota({ name: deleting.name });
            page.say(text("quotas.deleted", { name: deleting.name }));
            reading.again();
          }}
        >
          <p>{text("quotas.deleteBody")}</p>
        </ConfirmDialog>
      )}
    </section>
  );
}

/** What a namespace has of what it may have. */
function UseBar(props: { readonly use: QuotaUseAnswer }) {
  const text = useText();
  const { limit, promised, used } = props.use;
  const whole = Math.max(1, limit, used + promised);
  const isReached = used + promised >= limit;
  const share = (count: number) => (count / whole) * 100;
  return (
    <span class="usage">
      <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-free" x="0" y="0" width="100" height="4" />
        <rect
          class={used > limit ? "bar-over" : "bar-bound"}
          x="0"
          y="0"
          width={share(used)}
          height="4"
        />
        <rect class="bar-held" x={share(used)} y="0" width={share(promised)} height="4" />
      </svg>
      <span class="figures">
        {text("subnet.use", { used, total: limit })}
        {promised === 0 ? "" : ` · ${text("quotas.promised", { count: promised })}`}
      </span>
      {isReached ? <span class="badge full">{text("quotas.reached")}</span> : null}
    </span>
  );
}

function QuotaForm(props: { readonly quota: Quota | undefined; readonly onDone: () => void }) {
  const text = useText();
  const page = usePage();
  const { quota } = props;
  const [name, setName] = useState(quota?.name ?? "");
  const [limit, setLimit] = useState(String(quota?.limit ?? 10));
  const [written, setWritten] = useState(quota?.namespaces.join(", ") ?? "");
  const namespaces = [...new Set(written.split(/[\s,]+/).filter((word) => word !== ""))];
  const count = Number(limit);
  return (
    <AskingForm
      title={text("quotas.create")}
      question={
        <p>
          {text("quotas.createBody", {
            name,
            limit: count,
            who: namespaces.join(", ") || text("quotas.everybody"),
          })}
        </p>
      }
      onConfirm={async () => {
        await api.putQuota({ name }, { limit: count, namespaces });
        page.say(text("quotas.created", { name, limit: count }));
        props.onDone();
      }}
    >
      <TextField label={text("pools.name")} value={name} onValue={setName} isRequired />
      <CountField label={text("quotas.limit")} value={limit} onValue={setLimit} />
      <TextField
        label={text("quotas.namespaces")}
        value={written}
        onValue={setWritten}
        size={28}
        placeholder={text("quotas.everybody")}
      />
    </AskingForm>
  );
}
