// Delivers events of the in-memory cluster: always after the call that caused them, always in order. It keeps nothing for late comers.

/** A stream of events with any number of listeners. While it is held back, events wait, as behind a slow watch. */
export class Feed<Event> {
  readonly #subscriptions = new Set<(event: Event) => void>();
  #held: Event[] | undefined;

  /** @returns a function after which `listener` is not called any more, not even for events already on their way */
  subscribe(listener: (event: Event) => void): () => void {
    const subscription = (event: Event) => listener(event);
    this.#subscriptions.add(subscription);
    return () => {
      this.#subscriptions.delete(subscription);
    };
  }

  emit(event: Event): void {
    if (this.#held !== undefined) {
      this.#held.push(event);
      return;
    }
    for (const subscription of this.#subscriptions) {
      queueMicrotask(() => {
        if (this.#subscriptions.has(subscription)) subscription(event);
      });
    }
  }

  /** Keeps events from now on. */
  holdBack(): void {
    this.#held ??= [];
  }

  /** Delivers what was kept, in order. */
  letGo(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const event of held) this.emit(event);
  }

  /** Forgets what was kept, as a watch does that ended meanwhile. */
  loseHeld(): void {
    if (this.#held !== undefined) this.#held = [];
  }
}
