import type { LiveMessageInfo, RoomMessageInfo } from "../api/types.ts";
import { TypedEmitter } from "../emitter.ts";
import { compareIds, type Id } from "../ids.ts";
import type {
  ConnectionState,
  Conversation,
  ConversationId,
  ConversationRow,
  FriendRequest,
  InboxCursor,
  OutgoingMessage,
  ReadMark,
  StoredMessage,
} from "../model.ts";
import type { LocalStore, StoreChange } from "../store/local_store.ts";
import { shownConversation } from "./fold.ts";

/** Events of a client. */
export interface ClientEvents {
  /** The connection changed. */
  connection: ConnectionState;
  /** Conversations changed: new messages, read marks. */
  conversations: ConversationId[];
  /** Messages were received and stored, each once and in order. */
  messages: StoredMessage[];
  /** Messages on their way changed. */
  outgoing: OutgoingMessage[];
  /** Friend requests arrived or were answered. */
  friendRequests: FriendRequest[];
  /** A broadcast, or a message that is not stored. */
  live: LiveMessageInfo;
  /** A message of the room that is followed. */
  room: RoomMessageInfo;
  /** The server lost entries (another epoch): everything is read again. */
  reset: undefined;
}

/**
 * What a client knows, in memory and in its store. Each change is written to the store first, then
 * made here, then reported; so an application never sees what a reload would take back.
 */
export class ClientState {
  readonly events = new TypedEmitter<ClientEvents>();
  readonly #store: LocalStore;
  readonly #rows = new Map<ConversationId, ConversationRow>();
  readonly #marks = new Map<ConversationId, ReadMark>();
  readonly #requests = new Map<Id, FriendRequest>();
  readonly #outgoing = new Map<string, OutgoingMessage>();
  #cursor: InboxCursor | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  /** Passes a change on to the other tabs. */
  onCommit: (change: StoreChange) => void = () => undefined;

  constructor(store: LocalStore) {
    this.#store = store;
  }

  /** Position up to which the inbox is stored. */
  get cursor(): InboxCursor | undefined {
    return this.#cursor;
  }

  /** The conversations, computed from the inbox alone. */
  get rows(): ReadonlyMap<ConversationId, ConversationRow> {
    return this.#rows;
  }

  /** Messages on their way, oldest first. */
  get outgoing(): OutgoingMessage[] {
    return [...this.#outgoing.values()];
  }

  /** Friend requests that were not answered, the newest first. */
  get friendRequests(): FriendRequest[] {
    return [...this.#requests.values()].sort((a, b) => compareIds(b.seq, a.seq));
  }

  /** Returns one message on its way. */
  outgoingOf(clientId: string): OutgoingMessage | undefined {
    return this.#outgoing.get(clientId);
  }

  /** Returns a conversation as it is shown. */
  conversation(id: ConversationId): Conversation | undefined {
    const row = this.#rows.get(id);
    return row && shownConversation(row, this.#marks.get(id));
  }

  /** Returns all conversations, the one with the newest message first. */
  conversations(): Conversation[] {
    const rows = [...this.#rows.values()].sort((a, b) => compareIds(b.lastSeq, a.lastSeq));
    return rows.map((row) => shownConversation(row, this.#marks.get(row.id)));
  }

  /** Reads everything from the store, which another tab may have changed. */
  async load(): Promise<void> {
    const snapshot = await this.#store.load();
    this.#cursor = snapshot.cursor;
    for (const map of [this.#rows, this.#marks, this.#requests, this.#outgoing]) map.clear();
    for (const row of snapshot.conversations) this.#rows.set(row.id, row);
    for (const mark of snapshot.marks) this.#marks.set(mark.id, mark);
    for (const request of snapshot.friendRequests) this.#requests.set(request.userId, request);
    for (const message of snapshot.outgoing) this.#outgoing.set(message.clientId, message);
    this.events.emit("conversations", [...this.#rows.keys()]);
    this.events.emit("outgoing", this.outgoing);
    this.events.emit("friendRequests", this.friendRequests);
  }

  /**
   * Writes a change and makes it visible. Changes are made one after the other; `make` sees the state
   * after the change before it.
   */
  commit(make: () => StoreChange | undefined): Promise<void> {
    const work = this.#writing.then(async () => {
      const change = make();
      if (!change) return;
      await this.#store.write(change);
      this.apply(change);
      this.onCommit(change);
    });
    this.#writing = work.catch(() => undefined);
    return work;
  }

  /** Makes a change visible that is in the store already. */
  apply(change: StoreChange): void {
    const touched = new Set<ConversationId>();
    if (change.reset) {
      for (const id of this.#rows.keys()) touched.add(id);
      this.#rows.clear();
      this.#requests.clear();
      this.#cursor = undefined;
    }
    for (const row of change.conversations ?? []) {
      this.#rows.set(row.id, row);
      touched.add(row.id);
    }
    for (const mark of change.marks ?? []) {
      const known = this.#marks.get(mark.id);
      if (known && compareIds(known.seq, mark.seq) >= 0) continue;
      this.#marks.set(mark.id, mark);
      touched.add(mark.id);
    }
    for (const request of change.friendRequests ?? []) this.#requests.set(request.userId, request);
    for (const userId of change.answeredRequests ?? []) this.#requests.delete(userId);
    for (const message of change.outgoing ?? []) this.#outgoing.set(message.clientId, message);
    for (const clientId of change.removedOutgoing ?? []) this.#outgoing.delete(clientId);
    if (change.cursor) this.#cursor = change.cursor;
    if (change.reset) this.events.emit("reset", undefined);
    if (change.messages?.length) this.events.emit("messages", change.messages);
    if (touched.size > 0) this.events.emit("conversations", [...touched]);
    if (change.outgoing?.length || change.removedOutgoing?.length) {
      this.events.emit("outgoing", this.outgoing);
    }
    if (change.reset || change.friendRequests?.length || change.answeredRequests?.length) {
      this.events.emit("friendRequests", this.friendRequests);
    }
  }
}
