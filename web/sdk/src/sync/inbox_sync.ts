import type { EntryInfo, StreamStart } from "../api/types.ts";
import { compareIds, type Id } from "../ids.ts";
import type { StoreChange } from "../store/local_store.ts";
import type { ClientState } from "./client_state.ts";
import { foldEntries } from "./fold.ts";

/** Entries that may wait for the store before the stream is read on. */
const MAX_WAITING = 1_000;

/** Stores the entries of the inbox, each exactly once and in order. */
export class InboxSync {
  readonly #state: ClientState;
  readonly #me: Id;
  #epoch: Id = "0";
  #waiting: EntryInfo[] = [];
  #writing: Promise<void> | undefined;
  #failure: unknown;

  constructor(state: ClientState, me: Id) {
    this.#state = state;
    this.#me = me;
  }

  /** Seq after which the next connection begins. */
  get after(): Id {
    return this.#state.cursor?.seq ?? "0";
  }

  /**
   * Takes the first event of a connection. Returns false if the server has another inbox than the one
   * that is stored: the store was emptied, and the connection must begin again.
   */
  async begin(start: StreamStart): Promise<boolean> {
    const cursor = this.#state.cursor;
    this.#epoch = start.epoch;
    const isOther = cursor && (cursor.epoch !== start.epoch || isAhead(cursor.seq, start.head));
    if (!isOther) return true;
    await this.#state.commit(() => ({ reset: true, cursor: { seq: "0", epoch: start.epoch } }));
    return false;
  }

  /** Takes an entry. It waits only if the store is far behind. */
  async take(entry: EntryInfo): Promise<void> {
    this.#waiting.push(entry);
    this.#writing ??= this.#write();
    if (this.#waiting.length >= MAX_WAITING) await this.settled();
  }

  /** Waits until all entries taken are stored. */
  async settled(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      throw failure;
    }
  }

  async #write(): Promise<void> {
    try {
      // Entries that arrive in one piece of the stream are taken in one task: they share a write.
      await new Promise((resolve) => setTimeout(resolve, 0));
      while (this.#waiting.length > 0) {
        const entries = this.#waiting;
        this.#waiting = [];
        await this.#state.commit(() => this.#change(entries));
      }
    } catch (error) {
      this.#failure = error;
      this.#waiting = [];
    } finally {
      this.#writing = undefined;
    }
  }

  #change(entries: EntryInfo[]): StoreChange | undefined {
    const after = this.after;
    const fresh = entries.filter((entry) => compareIds(entry.seq, after) > 0);
    const last = fresh.at(-1);
    if (!last) return undefined;
    const ids = new Set(fresh.map((entry) => entry.message.id));
    const arrived = this.#state.outgoing.filter((it) => it.messageId && ids.has(it.messageId));
    return {
      ...foldEntries(fresh, this.#me, this.#state.rows),
      removedOutgoing: arrived.map((it) => it.clientId),
      cursor: { seq: last.seq, epoch: this.#epoch },
    };
  }
}

/** An inbox that ends before our cursor is not the one that we read. */
function isAhead(seq: Id, head: Id): boolean {
  return compareIds(seq, head) > 0;
}
