// The address configuration in a ConfigMap, watched. Hands over text; what it means is wire/floatingip-config.ts's business.

import type { ObjectRef } from "../../ports/event-recorder.ts";
import type { Log } from "../../ports/log.ts";
import { asObject, textAt, valueAt } from "../../wire/json-value.ts";
import type { ApiClient } from "./api-client.ts";
import { segment } from "./api-client.ts";
import { ListWatch, type ListWatchTimes } from "./list-watch.ts";
import { nameKeyOf } from "./watch-cache.ts";

/** The configuration as it stands; `about` is the ConfigMap, for events. */
export type ConfigText =
  | { readonly kind: "text"; readonly text: string; readonly about: ObjectRef }
  | { readonly kind: "missing-object" }
  | { readonly kind: "missing-key"; readonly about: ObjectRef };

/** What the source needs. */
export type ConfigMapSourceOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly namespace: string;
  readonly name: string;
  /** Key in `data`. */
  readonly key: string;
  /** Told once when the ConfigMap (or its absence) is first seen, then whenever what it says changes. */
  readonly changed: (config: ConfigText) => void;
  readonly times?: ListWatchTimes;
};

/** One key of one ConfigMap. */
export class ConfigMapSource {
  readonly watchState: ListWatch;
  readonly #options: ConfigMapSourceOptions;
  /** What was told last, so that a change of labels or a list after a disconnect is not told. */
  #told: string | undefined;
  /** What the list that is being read holds; undefined between lists. */
  #listed: ConfigText | undefined;

  constructor(options: ConfigMapSourceOptions) {
    this.#options = options;
    this.watchState = new ListWatch({
      client: options.client,
      log: options.log,
      collection: {
        path: `/api/v1/namespaces/${segment(options.namespace)}/configmaps`,
        fieldSelector: `metadata.name=${options.name}`,
        what: `ConfigMap ${options.namespace}/${options.name}`,
      },
      ...(options.times === undefined ? {} : { times: options.times }),
      listener: {
        listBegins: () => {
          this.#listed = { kind: "missing-object" };
        },
        seen: (object) => {
          if (nameKeyOf(object) !== options.name) return;
          const config = this.#read(object);
          if (this.#listed === undefined) this.#tell(config);
          else this.#listed = config;
        },
        deleted: (object) => {
          if (nameKeyOf(object) === options.name) this.#tell({ kind: "missing-object" });
        },
        listEnds: () => {
          const config = this.#listed;
          this.#listed = undefined;
          if (config !== undefined) this.#tell(config);
        },
      },
    });
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.watchState.start();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.watchState.stop();
  }

  #read(object: unknown): ConfigText {
    const about: ObjectRef = {
      apiVersion: "v1",
      kind: "ConfigMap",
      namespace: this.#options.namespace,
      name: this.#options.name,
      uid: textAt(object, "metadata", "uid") ?? "",
    };
    const data = asObject(valueAt(object, "data"));
    const text = textAt(data, this.#options.key);
    return text === undefined ? { kind: "missing-key", about } : { kind: "text", text, about };
  }

  #tell(config: ConfigText): void {
    const text = JSON.stringify(config);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.changed(config);
  }
}
