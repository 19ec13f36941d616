import type { ConnectionState } from "../model.ts";
import type { RoomRequest } from "../stream/transport.ts";
import type { StoreChange } from "../store/local_store.ts";
import type { LiveMessageInfo, RoomMessageInfo } from "../api/types.ts";

/** A note between the tabs of one user on one device. */
export type TabNote =
  | { kind: "change"; change: StoreChange }
  | { kind: "connection"; state: ConnectionState }
  | { kind: "live"; live: LiveMessageInfo }
  | { kind: "room"; room: RoomMessageInfo }
  | { kind: "follow"; room: RoomRequest | undefined }
  | { kind: "hello" }
  | { kind: "signed-out" };

/** The leader among the tabs holds the connection; the others see what it stores. */
export interface TabGroup {
  /** Waits until this tab is the leader. It stays so until `signal` is aborted or the tab closes. */
  lead(signal: AbortSignal): Promise<void>;
  /** Tells the other tabs. */
  post(note: TabNote): void;
  /** Called with what other tabs tell. */
  onNote: (note: TabNote) => void;
  /** Leaves the group. */
  close(): void;
}

/** A single tab, or a program that is no browser: it leads at once. */
export class SingleTab implements TabGroup {
  onNote: (note: TabNote) => void = () => undefined;

  async lead(): Promise<void> {}

  post(): void {}

  close(): void {}
}

/** The tabs of a browser, by Web Locks and a BroadcastChannel. */
export class BrowserTabs implements TabGroup {
  readonly #name: string;
  readonly #channel: BroadcastChannel;
  onNote: (note: TabNote) => void = () => undefined;

  constructor(owner: string) {
    this.#name = `gimlet:${owner}`;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = (event) => this.onNote(event.data as TabNote);
  }

  /** Returns whether this runtime has what a group needs. */
  static isSupported(): boolean {
    return typeof navigator !== "undefined" && "locks" in navigator && "BroadcastChannel" in globalThis;
  }

  lead(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const held = navigator.locks.request(this.#name, { signal }, () => {
        resolve();
        // The lock is kept until the client is closed; a closed tab loses it by itself.
        return new Promise<void>((release) => {
          signal.addEventListener("abort", () => release(), { once: true });
        });
      });
      held.catch(reject);
    });
  }

  post(note: TabNote): void {
    this.#channel.postMessage(note);
  }

  close(): void {
    this.#channel.close();
  }
}
