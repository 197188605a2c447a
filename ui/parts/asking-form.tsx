// A form that asks before it does what it says.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { ConfirmDialog } from "./dialog.tsx";

/** A form in one line with one button; `question` is what the dialog says, `onConfirm` does it. */
export function AskingForm(props: {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly question: ComponentChildren;
  readonly onConfirm: () => Promise<void>;
}) {
  const { title } = props;
  const [isAsking, setAsking] = useState(false);
  return (
    <form
      class="filters"
      aria-label={title}
      onSubmit={(event) => {
        event.preventDefault();
        setAsking(true);
      }}
    >
      {props.children}
      <button type="submit" class="primary">
        {title}
      </button>
      {isAsking ? (
        <ConfirmDialog title={title} onClose={() => setAsking(false)} onConfirm={props.onConfirm}>
          {props.question}
        </ConfirmDialog>
      ) : null}
    </form>
  );
}

/** A text field with its name. */
export function TextField(props: {
  readonly label: string;
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly isRequired?: boolean;
  readonly placeholder?: string;
  readonly size?: number;
}) {
  return (
    <label>
      {props.label}
      <input
        required={props.isRequired === true}
        value={props.value}
        {...(props.placeholder === undefined ? {} : { placeholder: props.placeholder })}
        {...(props.size === undefined ? {} : { size: props.size })}
        onInput={(event) => props.onValue(event.currentTarget.value)}
      />
    </label>
  );
}

/** A field for a count of zero or more, with its name. */
export function CountField(props: {
  readonly label: string;
  readonly value: string;
  readonly onValue: (value: string) => void;
}) {
  return (
    <label>
      {props.label}
      <input
        type="number"
        required
        min={0}
        value={props.value}
        onInput={(event) => props.onValue(event.currentTarget.value)}
      />
    </label>
  );
}
