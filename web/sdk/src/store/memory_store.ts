import { compareIds, type Id } from "../ids.ts";
import type {
  ConversationId,
  ConversationRow,
  FriendRequest,
  InboxCursor,
  OutgoingMessage,
  ReadMark,
  StoredMessage,
} from "../model.ts";
import type { LocalStore, StoreChange, StoreSnapshot } from "./local_store.ts";

/** A store in memory: for tests, servers and workers. A reload loses it, and the inbox is read again. */
export class MemoryStore implements LocalStore {
  readonly isShared = false;
  #cursor: InboxCursor | undefined;
  readonly #messages = new Map<ConversationId, StoredMessage[]>();
  readonly #conversations = new Map<ConversationId, ConversationRow>();
  readonly #marks = new Map<ConversationId, ReadMark>();
  readonly #friendRequests = new Map<Id, FriendRequest>();
  readonly #outgoing = new Map<string, OutgoingMessage>();

  async open(): Promise<void> {}

  async load(): Promise<StoreSnapshot> {
    return structuredClone({
      cursor: this.#cursor,
      conversations: [...this.#conversations.values()],
      marks: [...this.#marks.values()],
      friendRequests: [...this.#friendRequests.values()],
      outgoing: [...this.#outgoing.values()].sort((a, b) => a.createdAt - b.createdAt),
    });
  }

  async write(change: StoreChange): Promise<void> {
    const copy = structuredClone(change);
    if (copy.reset) {
      this.#messages.clear();
      this.#conversations.clear();
      this.#friendRequests.clear();
      this.#cursor = undefined;
    }
    for (const stored of copy.messages ?? []) {
      const list = this.#messages.get(stored.conversation) ?? [];
      this.#messages.set(stored.conversation, list);
      list.push(stored);
    }
    for (const row of copy.conversations ?? []) this.#conversations.set(row.id, row);
    for (const mark of copy.marks ?? []) {
      const known = this.#marks.get(mark.id);
      if (!known || compareIds(known.seq, mark.seq) < 0) this.#marks.set(mark.id, mark);
    }
    for (const request of copy.friendRequests ?? []) {
      this.#friendRequests.set(request.userId, request);
    }
    for (const userId of copy.answeredRequests ?? []) this.#friendRequests.delete(userId);
    for (const message of copy.outgoing ?? []) this.#outgoing.set(message.clientId, message);
    for (const clientId of copy.removedOutgoing ?? []) this.#outgoing.delete(clientId);
    if (copy.cursor) this.#cursor = copy.cursor;
  }

  async history(
    conversation: ConversationId,
    before: Id | undefined,
    limit: number,
  ): Promise<StoredMessage[]> {
    const all = this.#messages.get(conversation) ?? [];
    const end = before === undefined ? all.length : firstFrom(all, before);
    return structuredClone(all.slice(Math.max(0, end - limit), end));
  }

  async clear(): Promise<void> {
    this.#cursor = undefined;
    for (const map of [
      this.#messages,
      this.#conversations,
      this.#marks,
      this.#friendRequests,
      this.#outgoing,
    ]) {
      map.clear();
    }
  }

  async close(): Promise<void> {}
}

/** Returns the index of the first message with at least this seq. */
function firstFrom(messages: StoredMessage[], seq: Id): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds(messages[middle]!.seq, seq) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
