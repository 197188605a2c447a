// Pools: how large each is, what of it pods use, and how one is made, changed and deleted.

import { useState } from "preact/hooks";
import type { PoolUsage } from "../../src/wire/api/pool.ts";
import { api } from "../api-client.ts";
import { ConfirmDialog } from "../parts/dialog.tsx";
import { usePage, useReading } from "../parts/live-context.ts";
import { Note, Read } from "../parts/states.tsx";
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
          <div class="table-frame" tabIndex={0} role="region" aria-labelledby="pools-heading">
            <table>
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
                      <a href={`#addresses?poolName=${encodeURIComponent(pool.name)}`}>
                        {pool.name}
                      </a>
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
                        <a href={`#idle?pool=${encodeURIComponent(pool.name)}`}>
                          {pool.reserveTTL}
                        </a>
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
            </table>
          </div>
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
  const [isAsking, setAsking] = useState(false);
  const count = Number(size);
  return (
    <form
      class="filters"
      aria-label={text("pools.create")}
      onSubmit={(event) => {
        event.preventDefault();
        setAsking(true);
      }}
    >
      <label>
        {text("pools.name")}
        <input required value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        {text("pools.size")}
        <input
          type="number"
          required
          min={0}
          value={size}
          onInput={(event) => setSize(event.currentTarget.value)}
        />
      </label>
      <label>
        {text("pools.reserveTtl")}
        <input
          value={reserveTTL}
          placeholder="168h"
          onInput={(event) => setReserveTtl(event.currentTarget.value)}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={preAllocateIP}
          onChange={(event) => setPreAllocate(event.currentTarget.checked)}
        />
        {text("pools.preAllocate")}
      </label>
      <button type="submit" class="primary">
        {text("pools.create")}
      </button>
      {isAsking ? (
        <ConfirmDialog
          title={text("pools.create")}
          onClose={() => setAsking(false)}
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
          <p>{text("pools.createBody", { name, size: count })}</p>
          {preAllocateIP ? <p>{text("pools.preAllocateBody")}</p> : null}
          {reserveTTL === "" ? null : <p>{text("pools.reserveTtlBody", { ttl: reserveTTL })}</p>}
        </ConfirmDialog>
      ) : null}
    </form>
  );
}
