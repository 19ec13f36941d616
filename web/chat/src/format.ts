import type { Content, ConversationId, Id, MessageInfo } from "@gimlet/client";
import type { NameBook } from "./names.ts";
import { locale, text, type TextKey } from "./texts.ts";

/** Returns the time of a message in a list: the time today, else the day. */
export function shortTime(ms: number): string {
  const date = new Date(ms);
  if (isSameDay(date, new Date())) return clockTime(ms);
  const options: Intl.DateTimeFormatOptions =
    date.getFullYear() === new Date().getFullYear()
      ? { month: "short", day: "numeric" }
      : { year: "numeric", month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), options).format(date);
}

/** Returns hours and minutes. */
export function clockTime(ms: number): string {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit" }).format(ms);
}

/** Returns a day as a heading. */
export function dayName(ms: number): string {
  const date = new Date(ms);
  const today = new Date();
  if (isSameDay(date, today)) return text("today");
  today.setDate(today.getDate() - 1);
  if (isSameDay(date, today)) return text("yesterday");
  return new Intl.DateTimeFormat(locale(), { dateStyle: "full" }).format(date);
}

/** Returns whether two times are on one day here. */
export function isSameDay(left: Date, right: Date): boolean {
  return left.toDateString() === right.toDateString();
}

/** Returns the size of a file in words. */
export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [value, unit] = bytes < 1 << 20 ? [bytes / 1024, "KB"] : [bytes / (1 << 20), "MB"];
  return `${new Intl.NumberFormat(locale(), { maximumFractionDigits: 1 }).format(value)} ${unit}`;
}

/** Returns a user's name. */
export function userName(names: NameBook, id: Id): string {
  return names.user(id)?.name || text("unknownUser", { id });
}

/** Returns the title of a conversation. */
export function titleOf(names: NameBook, conversation: ConversationId): string {
  const [kind, id = ""] = conversation.split(":");
  if (kind === "user") return userName(names, id);
  if (kind === "group") return names.group(id)?.name || text("unknownGroup", { id });
  return kind === "business" ? text("business") : text("system");
}

/** Returns the name of a message's sender. */
export function senderName(names: NameBook, message: MessageInfo, me: Id): string {
  const { sender } = message;
  if (sender.type !== "user" || !sender.user_id) {
    return sender.type === "business" ? text("business") : text("system");
  }
  return sender.user_id === me ? text("you") : sender.nickname || userName(names, sender.user_id);
}

/** Returns a content in one line. */
export function summaryOf(content: Content, names: NameBook, me: Id): string {
  const operator = (id: Id, name: string) => (id === me ? text("you") : name || userName(names, id));
  switch (content.type) {
    case "text":
      return content.text;
    case "image":
      return text("image");
    case "file":
      return content.name || text("file");
    case "voice":
      return text("voice", { seconds: content.duration ?? 0 });
    case "location":
      return content.desc || text("location");
    case "group_updated":
      return text("noticeCreated", { name: operator(content.operator_id, content.operator_name) });
    case "group_members_added":
      return text("noticeAdded", {
        name: operator(content.operator_id, content.operator_name),
        count: content.user_ids.length,
      });
    case "group_member_removed":
      return text(removalText(content.operator_id, content.user_id, me), {
        name: operator(content.operator_id, content.operator_name),
      });
    case "friend_accepted":
      return text("noticeFriends");
    default:
      return text("custom");
  }
}

function removalText(operatorId: Id, userId: Id, me: Id): TextKey {
  if (operatorId === userId) return "noticeLeft";
  return userId === me ? "noticeRemovedYou" : "noticeRemoved";
}

/** Returns whether a content is a notice about the conversation and not a message of somebody. */
export function isNotice(content: Content): boolean {
  return /^(group_|friend_)/.test(content.type);
}

/** A part of a text: plain, or a link. */
export interface TextPart {
  text: string;
  href?: string;
}

/** Splits a text at the links in it. Only http and https are links: nothing else is opened by a click. */
export function partsOf(message: string): TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const match of message.matchAll(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g)) {
    if (match.index > end) parts.push({ text: message.slice(end, match.index) });
    parts.push({ text: match[0], href: match[0] });
    end = match.index + match[0].length;
  }
  if (end < message.length) parts.push({ text: message.slice(end) });
  return parts;
}
