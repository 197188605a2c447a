// `--watch` of lists that are small: the list again whenever something changed. Addresses have a line for each change instead (ip-watch.ts).

import type { AddressEvent } from "../wire/api/events.ts";
import type { ApiClient } from "./api-client.ts";
import type { CommandContext } from "./command-context.ts";
import { followEvents, untilInterrupted } from "./event-stream.ts";

/** Changes come in bursts; a person reads no faster than this. */
const settleMs = 300;

/** Shows at the start, and again after events of the kinds; ends when interrupted. */
export async function redrawOnEvents(
  context: CommandContext,
  client: ApiClient,
  options: {
    readonly kinds: readonly AddressEvent["kind"][];
    readonly show: () => Promise<void>;
  },
): Promise<void> {
  const { terminal } = context;
  const controller = untilInterrupted();
  let timer: NodeJS.Timeout | undefined;
  let drawing = Promise.resolve();
  let failure: unknown;
  const draw = (): void => {
    timer = undefined;
    drawing = drawing
      .then(async () => {
        if (context.isForPeople) await terminal.write("\n");
        await options.show();
      })
      .catch((error: unknown) => {
        failure = error;
        controller.abort();
      });
  };
  await followEvents(client, {
    signal: controller.signal,
    note: (line) => terminal.note(`note: ${line}`),
    opened: options.show,
    event: async ({ kind }) => {
      if (kind === "reset" || options.kinds.includes(kind)) timer ??= setTimeout(draw, settleMs);
    },
  });
  clearTimeout(timer);
  await drawing;
  if (failure !== undefined) throw failure as Error;
}
