// Choosing addresses of a table and releasing those that were chosen. Which may be chosen is the table's matter.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FloatingIp } from "../../src/wire/api/floating-ip.ts";
import { useText } from "../text/text.ts";
import { usePage } from "./live-context.ts";
import { ReleaseDialog } from "./release-dialog.tsx";

/** The chosen addresses of a table, by address. */
export type ReleaseSelection = {
  readonly chosen: ReadonlyMap<string, FloatingIp>;
  readonly choose: (address: FloatingIp, isChosen: boolean) => void;
  readonly clear: () => void;
};

/** Nothing is chosen at first, and again when `key`, which names what the table shows, changes. */
export function useReleaseSelection(key: string): ReleaseSelection {
  const [chosen, setChosen] = useState<ReadonlyMap<string, FloatingIp>>(new Map());
  const clear = () => setChosen(new Map());
  useEffect(clear, [key]);
  const choose = (address: FloatingIp, isChosen: boolean) => {
    const next = new Map(chosen);
    if (isChosen) next.set(address.ip, address);
    else next.delete(address.ip);
    setChosen(next);
  };
  return { chosen, choose, clear };
}

/** The button that releases what is chosen in the table below it; `onDone` when something was released. */
export function ReleaseFrame(props: {
  readonly selection: ReleaseSelection;
  readonly onDone: () => void;
  readonly children: ComponentChildren;
}) {
  const text = useText();
  const page = usePage();
  const [isReleasing, setReleasing] = useState(false);
  const { chosen, clear } = props.selection;
  return (
    <>
      <div class="toolbar">
        <button
          type="button"
          disabled={chosen.size === 0 || !page.mayRelease}
          title={page.mayRelease ? undefined : text("release.notAllowed")}
          onClick={() => setReleasing(true)}
        >
          {text("action.release")}
        </button>
        <span class="faint">{text("addresses.selected", { count: chosen.size })}</span>
      </div>
      {props.children}
      {isReleasing ? (
        <ReleaseDialog
          addresses={[...chosen.values()]}
          onClose={() => setReleasing(false)}
          onDone={() => {
            clear();
            props.onDone();
          }}
        />
      ) : null}
    </>
  );
}

/** The heading of the column with the boxes. */
export function ChooseHeader(props: { readonly selection: ReleaseSelection }) {
  const text = useText();
  return (
    <th scope="col">
      <span class="hidden">
        {text("addresses.selected", { count: props.selection.chosen.size })}
      </span>
    </th>
  );
}

/** The cell with the box of an address. */
export function ChooseCell(props: {
  readonly selection: ReleaseSelection;
  readonly address: FloatingIp;
  readonly isDisabled?: boolean;
}) {
  const text = useText();
  const { address, selection } = props;
  return (
    <td>
      <input
        type="checkbox"
        aria-label={text("addresses.select", { ip: address.ip })}
        checked={selection.chosen.has(address.ip)}
        disabled={props.isDisabled === true}
        onChange={(event) => selection.choose(address, event.currentTarget.checked)}
      />
    </td>
  );
}
