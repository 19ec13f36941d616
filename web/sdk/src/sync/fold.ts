import type { EntryInfo, MessageInfo } from "../api/types.ts";
import { compareIds, type Id } from "../ids.ts";
import type {
  Conversation,
  ConversationId,
  ConversationRow,
  FriendRequest,
  ReadMark,
  StoredMessage,
} from "../model.ts";

/** Number of mentions that a conversation remembers. */
const MAX_MENTIONS = 20;

/** Returns the conversation of a message in this user's inbox; undefined if it belongs to none. */
export function conversationOf(message: MessageInfo, me: Id): ConversationId | undefined {
  const { sender, receiver, content } = message;
  if (receiver.type === "group" && receiver.group_id) return `group:${receiver.group_id}`;
  if (content.type === "friend_requested") return undefined;
  if (content.type === "friend_accepted") return `user:${content.user_id}`;
  if (sender.type === "user" && sender.user_id) {
    const peer = sender.user_id === me ? (receiver.user_id ?? me) : sender.user_id;
    return `user:${peer}`;
  }
  return sender.type === "business" ? "business" : "system";
}

/** Result of a fold: what must be stored. */
export interface FoldResult {
  /** The messages that belong to a conversation. */
  messages: StoredMessage[];
  /** The changed conversations. */
  conversations: ConversationRow[];
  /** New friend requests. */
  friendRequests: FriendRequest[];
  /** Users whose friend requests are answered. */
  answeredRequests: Id[];
}

/**
 * Folds entries into conversations. A conversation is a function of the entries: folding the inbox
 * from its beginning gives the same rows, however the entries were divided into calls.
 */
export function foldEntries(
  entries: EntryInfo[],
  me: Id,
  rows: ReadonlyMap<ConversationId, ConversationRow>,
): FoldResult {
  const changed = new Map<ConversationId, ConversationRow>();
  const messages: StoredMessage[] = [];
  const friendRequests = new Map<Id, FriendRequest>();
  const answered = new Set<Id>();
  for (const { seq, message } of entries) {
    const { content } = message;
    if (content.type === "friend_requested") {
      answered.delete(content.user_id);
      friendRequests.set(content.user_id, {
        userId: content.user_id,
        nickname: content.nickname,
        avatarUrl: content.avatar_url,
        description: content.description,
        seq,
      });
    }
    if (content.type === "friend_accepted") {
      friendRequests.delete(content.user_id);
      answered.add(content.user_id);
    }
    const id = conversationOf(message, me);
    if (id === undefined) continue;
    messages.push({ seq, conversation: id, message });
    const before = changed.get(id) ?? rows.get(id);
    const isOwn = message.sender.type === "user" && message.sender.user_id === me;
    const isCounted = !isOwn && isCountable(message);
    const others = (before?.others ?? 0) + (isCounted ? 1 : 0);
    const isMention = !isOwn && (message.mentions ?? []).includes(me);
    changed.set(id, {
      id,
      lastSeq: seq,
      last: message,
      others,
      answered: isOwn ? others : (before?.answered ?? 0),
      mentions: isMention
        ? [seq, ...(before?.mentions ?? [])].slice(0, MAX_MENTIONS)
        : (before?.mentions ?? []),
    });
  }
  return {
    messages,
    conversations: [...changed.values()],
    friendRequests: [...friendRequests.values()],
    answeredRequests: [...answered],
  };
}

/** Returns whether a message counts as unread: notices of a group and commands do not. */
function isCountable(message: MessageInfo): boolean {
  return !NOT_COUNTED.has(message.content.type);
}

const NOT_COUNTED: ReadonlySet<string> = new Set([
  "command",
  "group_updated",
  "group_members_added",
  "group_member_removed",
]);

/** Joins a row and its mark to what is shown. */
export function shownConversation(row: ConversationRow, mark: ReadMark | undefined): Conversation {
  const read = Math.max(row.answered, mark?.others ?? 0);
  const unread = Math.max(0, row.others - read);
  const isUnread = (seq: Id): boolean => !mark || compareIds(seq, mark.seq) > 0;
  const unreadMentions = unread === 0 ? 0 : row.mentions.filter(isUnread).length;
  return { ...row, unread, unreadMentions };
}

/** Returns the mark of a conversation that is read to its end. */
export function markOf(row: ConversationRow): ReadMark {
  return { id: row.id, seq: row.lastSeq, others: row.others };
}
