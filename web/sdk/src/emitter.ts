/** A function that ends a subscription. */
export type Unsubscribe = () => void;

/** Typed events: `Events` maps each name to its payload. */
export class TypedEmitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(payload: never) => void>>();

  /** Calls `listener` for each event of this name until the returned function is called. */
  on<Name extends keyof Events>(
    name: Name,
    listener: (payload: Events[Name]) => void,
  ): Unsubscribe {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener as (payload: never) => void);
    return () => listeners.delete(listener as (payload: never) => void);
  }

  /** Calls the listeners of an event. One that throws does not keep the others from being called. */
  emit<Name extends keyof Events>(name: Name, payload: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(payload as never);
      } catch (error) {
        // Reported as an uncaught error would be, outside of our own work.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
