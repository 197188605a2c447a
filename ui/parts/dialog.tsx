// A question before something is changed: it lists exactly what will happen.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "../api-client.ts";
import { useText } from "../text/text.ts";
import { Problem } from "./states.tsx";

/** Asks; `onConfirm` runs while the dialog stays open, and its failure is shown inside. */
export function ConfirmDialog(props: {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly confirm?: string;
  readonly isDangerous?: boolean;
  readonly onConfirm: () => Promise<void>;
  readonly onClose: () => void;
}) {
  const text = useText();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | undefined>(undefined);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const confirm = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await props.onConfirm();
      props.onClose();
    } catch (failure) {
      setError(failure instanceof ApiError ? failure : new ApiError(0, String(failure)));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void confirm();
        }}
      >
        <h2 id={heading}>{props.title}</h2>
        {props.children}
        {error === undefined ? null : <Problem error={error} />}
        <p class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            {text("action.cancel")}
          </button>
          <button
            type="submit"
            class={props.isDangerous === true ? "danger" : "primary"}
            disabled={isBusy}
          >
            {props.confirm ?? text("action.confirm")}
          </button>
        </p>
      </form>
    </dialog>
  );
}
