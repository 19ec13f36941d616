import type { GimletClient, MessageInfo } from "@gimlet/client";
import type { NameBook } from "./names.ts";

/** Notes the names that messages and lists bring. Returns a function that ends it. */
export function noteNames(client: GimletClient, names: NameBook): () => void {
  for (const conversation of client.conversations()) noteSender(names, conversation.last);
  const off = client.on("messages", (messages) => {
    for (const { message } of messages) {
      noteSender(names, message);
      const { content, receiver } = message;
      if (content.type === "friend_accepted" || content.type === "friend_requested") {
        names.noteUser(content.user_id, content.nickname, content.avatar_url);
      }
      if (content.type === "group_updated" && receiver.group_id) {
        names.noteGroup(receiver.group_id, content.name, content.avatar_url);
      }
    }
  });
  // Without the server the names that are kept are shown.
  names.readLists().catch(() => undefined);
  return off;
}

function noteSender(names: NameBook, { sender }: MessageInfo): void {
  if (sender.user_id && sender.nickname) {
    names.noteUser(sender.user_id, sender.nickname, sender.avatar_url ?? "");
  }
}
