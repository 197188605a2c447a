// Events that operators see with `kubectl describe`. Fire and forget: losing one never changes what happens to an address.

/** The object an event is about. */
export type ObjectRef = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
};

/** An event; `reason` is a CamelCase constant, `message` names object, value and next step. */
export type EventNote = {
  readonly about: ObjectRef;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
};

/** Records events; equal ones in a short time are one event with a count. Never throws, never blocks. */
export interface EventRecorder {
  record(note: EventNote): void;
}
