// The frame of a table that may be wider than the window: it scrolls, also by keyboard, and has the name of its heading.

import type { ComponentChildren } from "preact";

/** A table; `heading` is the id of the heading that names it. */
export function TableFrame(props: {
  readonly heading: string;
  readonly class?: string;
  readonly children: ComponentChildren;
}) {
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-labelledby={props.heading}>
      <table {...(props.class === undefined ? {} : { class: props.class })}>{props.children}</table>
    </div>
  );
}
