// What stands where data would stand: reading, nothing there, not allowed, not reachable.

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api-client.ts";
import { useText } from "../text/text.ts";
import type { Reading } from "./live-context.ts";

/** A short text with a heading, in the place of a table or map. */
export function Note(props: {
  readonly title: string;
  readonly children?: ComponentChildren;
  readonly kind?: "problem";
}) {
  return (
    <div class={props.kind === "problem" ? "note problem" : "note"} role="status">
      <h3>{props.title}</h3>
      {props.children === undefined ? null : <p>{props.children}</p>}
    </div>
  );
}

/** A failed call in a sentence. */
export function Problem(props: { readonly error: ApiError; readonly again?: () => void }) {
  const text = useText();
  const { status, message, requestId } = props.error;
  const title =
    status === 0
      ? text("error.unreachable")
      : status === 403
        ? text("error.forbidden")
        : text("error.heading");
  return (
    <div class="note problem" role="alert">
      <h3>{title}</h3>
      <p>{message}</p>
      {requestId === undefined ? null : (
        <p class="faint">{text("error.request", { id: requestId })}</p>
      )}
      {props.again === undefined ? null : (
        <button type="button" onClick={props.again}>
          {text("action.refresh")}
        </button>
      )}
    </div>
  );
}

/** Shows what was read, or why there is nothing to show. */
export function Read<T>(props: {
  readonly of: Reading<T>;
  readonly isEmpty?: (value: T) => boolean;
  readonly empty?: ComponentChildren;
  readonly children: (value: T) => ComponentChildren;
}) {
  const text = useText();
  const { value, error, again } = props.of;
  if (value === undefined) {
    if (error === undefined) {
      return (
        <p class="loading" role="status">
          {text("loading")}
        </p>
      );
    }
    return <Problem error={error} again={again} />;
  }
  return (
    <>
      {error === undefined ? null : <Problem error={error} again={again} />}
      {props.isEmpty?.(value) === true ? props.empty : props.children(value)}
    </>
  );
}
