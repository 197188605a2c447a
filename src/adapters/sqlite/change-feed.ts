// Tells listeners of changes of the state file that are durable: after the call that made them, in their order.

/** A stream of events with any number of listeners; it keeps nothing for late comers. */
export class ChangeFeed<Event> {
  readonly #subscriptions = new Set<(event: Event) => void>();

  /** @returns a function after which `listener` is not called any more, not even for events already on their way */
  subscribe(listener: (event: Event) => void): () => void {
    const subscription = (event: Event) => listener(event);
    this.#subscriptions.add(subscription);
    return () => {
      this.#subscriptions.delete(subscription);
    };
  }

  /** Calls the listeners before the next turn of the event loop. */
  emit(event: Event): void {
    for (const subscription of this.#subscriptions) {
      queueMicrotask(() => {
        if (this.#subscriptions.has(subscription)) subscription(event);
      });
    }
  }
}
