// What every command is given: the terminal, the options that all commands share, and the way to the server. Opens nothing until asked.

import type { ApiClient } from "./api-client.ts";
import { createApiClient } from "./api-client.ts";
import type { ConnectionOptions } from "./connection.ts";
import { openConnection } from "./find-server.ts";
import type { OutputFormat } from "./output.ts";
import type { Terminal } from "./terminal.ts";

/** Options that stand before or after any command. */
export type SharedOptions = ConnectionOptions & {
  readonly output: OutputFormat;
  readonly namespace?: string;
  readonly color: boolean;
};

/** The surroundings of one run of a command. */
export class CommandContext {
  readonly terminal: Terminal;
  readonly options: SharedOptions;
  readonly #clients: ApiClient[] = [];

  constructor(terminal: Terminal, options: SharedOptions) {
    this.terminal = terminal;
    this.options = options;
  }

  /** Whether the results are for people. */
  get isForPeople(): boolean {
    return this.options.output === "table" || this.options.output === "wide";
  }

  async connect(): Promise<ApiClient> {
    const connection = await openConnection(this.options, this.terminal.env);
    const client = await createApiClient(connection);
    this.#clients.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}
