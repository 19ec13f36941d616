import type { Id } from "../ids.ts";
import type {
  ConversationId,
  ConversationRow,
  FriendRequest,
  InboxCursor,
  OutgoingMessage,
  ReadMark,
  StoredMessage,
} from "../model.ts";

/** Everything that a store holds, without the messages. */
export interface StoreSnapshot {
  /** Position up to which the inbox is stored; undefined at first. */
  cursor: InboxCursor | undefined;
  /** All conversations. */
  conversations: ConversationRow[];
  /** All read marks. */
  marks: ReadMark[];
  /** Friend requests that were not answered. */
  friendRequests: FriendRequest[];
  /** Messages on their way, oldest first. */
  outgoing: OutgoingMessage[];
}

/** A change of a store, which is made completely or not at all. */
export interface StoreChange {
  /** Removes everything but marks and outgoing messages first: the inbox is read again. */
  reset?: boolean;
  /** The new cursor. */
  cursor?: InboxCursor;
  /** Further messages. */
  messages?: StoredMessage[];
  /** Changed conversations. */
  conversations?: ConversationRow[];
  /** Read marks; an older one than the stored one is ignored. */
  marks?: ReadMark[];
  /** New friend requests. */
  friendRequests?: FriendRequest[];
  /** Users whose friend requests were answered. */
  answeredRequests?: Id[];
  /** New or changed outgoing messages. */
  outgoing?: OutgoingMessage[];
  /** Client ids of outgoing messages that are in the inbox, or that were given up. */
  removedOutgoing?: string[];
}

/**
 * A place for what a device received and has still to send. What was received survives a reload
 * exactly once, because the messages and the cursor behind them are written in one change.
 */
export interface LocalStore {
  /** True if other tabs of the same browser see the same store. */
  readonly isShared: boolean;
  /** Opens the store of this user and device. */
  open(owner: string): Promise<void>;
  /** Reads everything but the messages. */
  load(): Promise<StoreSnapshot>;
  /** Makes a change, completely or not at all. */
  write(change: StoreChange): Promise<void>;
  /** Returns up to `limit` messages of a conversation before a seq (the newest without one), ascending. */
  history(conversation: ConversationId, before: Id | undefined, limit: number): Promise<StoredMessage[]>;
  /** Removes everything of this user and device. */
  clear(): Promise<void>;
  /** Closes the store. */
  close(): Promise<void>;
}
