// All changes of the simulated API server in their order, which watches read at their own pace. Only for the simulator: it grows for ever.

import type { Change, SimApi } from "../src/adapters/simulated/api.ts";

/** The changes since the log was made; watches keep their place in it. */
export class ChangeLog {
  readonly changes: Change[] = [];

  constructor(api: SimApi) {
    api.listeners.add((change) => this.changes.push(change));
  }
}
