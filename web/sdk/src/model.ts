import type { Content, MessageInfo } from "./api/types.ts";
import type { Id } from "./ids.ts";

/** A conversation in the user's eyes: with a user, of a group, or messages of the service itself. */
export type ConversationId = `user:${Id}` | `group:${Id}` | "business" | "system";

/** A position in the inbox. */
export interface InboxCursor {
  /** The entries up to this seq are stored. */
  seq: Id;
  /** Epoch of the inbox; another one means that the server lost entries, for example by a restore. */
  epoch: Id;
}

/** A message of the inbox. */
export interface StoredMessage {
  /** Its seq in the user's inbox. */
  seq: Id;
  /** The conversation that it belongs to. */
  conversation: ConversationId;
  /** The message. */
  message: MessageInfo;
}

/** A conversation, computed from the inbox alone. */
export interface ConversationRow {
  /** The conversation. */
  id: ConversationId;
  /** Seq of its last message. */
  lastSeq: Id;
  /** Its last message. */
  last: MessageInfo;
  /** Number of messages from others. */
  others: number;
  /** That number when the user last wrote in it: who answers has read. */
  answered: number;
  /** Seqs of messages that mention the user, the newest ones first; at most 20. */
  mentions: Id[];
}

/** The position up to which the user has read a conversation. It only moves forward. */
export interface ReadMark {
  /** The conversation. */
  id: ConversationId;
  /** Seq of the last message that was read. */
  seq: Id;
  /** Number of messages from others up to it. */
  others: number;
}

/** A friend request that was received. */
export interface FriendRequest {
  /** The user who asks. */
  userId: Id;
  /** That user's name at the time. */
  nickname: string;
  /** That user's picture at the time. */
  avatarUrl: string;
  /** Text of the request. */
  description: string;
  /** Seq of the request. */
  seq: Id;
}

/** State of a message that was not answered yet. */
export type OutgoingState = "waiting" | "sending" | "failed";

/** A message that is on its way, from the call that sends it until it is in the inbox. */
export interface OutgoingMessage {
  /** Client message id: a repeat with it is stored once. */
  clientId: string;
  /** The conversation. */
  conversation: ConversationId;
  /** The content. */
  content: Content;
  /** The mentioned users. */
  mentions: Id[];
  /** Time of the call, in milliseconds since 1970. */
  createdAt: number;
  /** Its state. */
  state: OutgoingState;
  /** The reason, if it failed. */
  reason?: string | undefined;
  /** gimlet's code of the refusal, if it failed. */
  code?: number | undefined;
  /** Id of the message once the server answered; its entry has not arrived yet then. */
  messageId?: Id | undefined;
}

/** A conversation as it is shown. */
export interface Conversation extends ConversationRow {
  /** Number of unread messages. */
  unread: number;
  /** Number of unread messages that mention the user. */
  unreadMentions: number;
}

/** State of the connection. */
export type ConnectionState =
  | { kind: "offline" }
  | { kind: "connecting"; attempt: number }
  | { kind: "waiting"; attempt: number; until: number; reason: string }
  | { kind: "syncing"; remaining: number }
  | { kind: "live"; transport: string }
  | { kind: "replaced"; reason: string }
  | { kind: "signed-out"; reason: string };
