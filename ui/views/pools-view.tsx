// Pools: how large each is, what of it pods use, and how one is made, changed and deleted.

import { useState } from "preact/hooks";
import type { PoolUsage } from "../../src/wire/api/pool.ts";
import { api } from "../api-client.ts";
import { AskingForm, CountField, TextField } from "../parts/asking-form.tsx";
import { ConfirmDialog } from "../parts/dialog.tsx";
import { usePage, useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
import { TableFrame } from "../parts/table-frame.tsx";
import { useText } from "../text/text.ts";

/** The pools. */
export function PoolsView() {
  const text = useText();
  const page = usePage();
  const reading = useReading("pools", api.pools, { isLive: true });
  const [deleting, setDeleting] = useState<PoolUsage | undefined>(undefined);
  const [alsoRelease, setAlsoRelease] = useState(false);
  return (
    <section aria-labelledby="pools-heading">
      <h2 id="pools-heading">{text("pools.heading")}</h2>
      <PoolForm onDone={reading.again} />
      <Read
        of={reading}
        isEmpty={(value) => value.pools.length === 0}
        empty={<Note title={text("pools.empty.title")}>{text("pools.empty.body")}</Note>}
      >
        {(value) => (
          <TableFrame heading="pools-heading">
            <thead>
              <tr>
                <th scope="col">{text("pools.name")}</th>
                <th scope="col">{text("pools.size")}</th>
                <th scope="col">{text("pools.allocated")}</th>
                <th scope="col">{text("pools.used")}</th>
                <th scope="col">{text("pools.reserveTtl")}</th>
                <th scope="col">
                  <span class="hidden">{text("action.delete")}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {value.pools.map((pool) => (
                <tr key={pool.name}>
                  <td>
                    <a href={`#addresses?poolName=${encodeURIComponent(pool.name)}`}>{pool.name}</a>
                    {pool.problem === undefined ? null : (
                      <em class="problem-text"> {pool.problem}</em>
                    )}
                  </td>
                  <td>{pool.size ?? text("pools.noSize")}</td>
                  <td>
                    <meter
                      aria-label={text("pools.allocated")}
                      min={0}
                      max={Math.max(1, pool.size ?? pool.allocated)}
                      value={pool.allocated}
                    />{" "}
                    {pool.allocated}
                    {pool.missing === 0 ? null : (
                      <em class="problem-text">
                        {" "}
                        {text("pools.missing", { count: pool.missing })}
                      </em>
                    )}
                  </td>
                  <td>{pool.used}</td>
                  <td>
                    {pool.reserveTTL === undefined ? null : (
                      <a href={`#idle?pool=${encodeURIComponent(pool.name)}`}>{pool.reserveTTL}</a>
                    )}
                  </td>
                  <td>
                    <button
                      type="button"
                      disabled={pool.namespace === undefined}
                      onClick={() => {
                        setAlsoRelease(false);
                        setDeleting(pool);
                      }}
                    >
                      {text("action.delete")}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </TableFrame>
        )}
      </Read>
      {deleting === undefined ? null : (
        <ConfirmDialog
          title={text("pools.delete", { name: deleting.name })}
          isDangerous
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await api.deletePool({ name: deleting.name }, alsoRelease ? { release: true } : {});
            page.say(text("pools.deleted", { name: deleting.name }));
            reading.again();
          }}
        >
          <p>{text("pools.deleteBody", { count: deleting.allocated })}</p>
          <label class="check">
            <input
              type="checkbox"
              checked={alsoRelease}
              onChange={(event) => setAlsoRelease(event.currentTarget.checked)}
            />
            {text("pools.deleteRelease")}
          </label>
        </ConfirmDialog>
      )}
    </section>
  );
}

function PoolForm(props: { readonly onDone: () => void }) {
  const text = useText();
  const page = usePage();
  const [name, setName] = useState("");
  const [size, setSize] = useState("2");
  const [preAllocateIP, setPreAllocate] = useState(false);
  const [reserveTTL, setReserveTtl] = useState("");
  const count = Number(size);
  return (
    <AskingForm
      title={text("pools.create")}
      question={
        <>
          <p>{text("pools.createBody", { name, size: count })}</p>
          {preAllocateIP ? <p>{text("pools.preAllocateBody")}</p> : null}
          {reserveTTL === "" ? null : <p>{text("pools.reserveTtlBody", { ttl: reserveTTL })}</p>}
        </>
      }
      onConfirm={async () => {
        const answer = await api.putPool({
          name,
          size: count,
          preAllocateIP,
          // An empty field leaves it as it is.
          ...(reserveTTL === "" ? {} : { reserveTTL }),
        });
        const isShort = preAllocateIP && answer.realPoolSize < count;
        page.say(
          isShort
            ? text("pools.short", { name, count: answer.realPoolSize, size: count })
            : text("pools.created", { name, count: answer.realPoolSize }),
          isShort ? "problem" : "done",
        );
        props.onDone();
      }}
    >
      <TextField label={text("pools.name")} value={name} onValue={setName} isRequired />
      <CountField label={text("pools.size")} value={size} onValue={setSize} />
      <TextField
        label={text("pools.reserveTtl")}
        value={reserveTTL}
        onValue={setReserveTtl}
        placeholder="168h"
      />
      <label class="check">
        <input
          type="checkbox"
          checked={preAllocateIP}
          onChange={(event) => setPreAllocate(event.currentTarget.checked)}
        />
        {text("pools.preAllocate")}
      </label>
    </AskingForm>
  );
}
