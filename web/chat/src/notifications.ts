import type { GimletClient } from "@gimlet/client";
import { senderName, summaryOf, titleOf } from "./format.ts";
import type { NameBook } from "./names.ts";
import { loadPreferences } from "./preferences.ts";

/** Shows a notification for each new message while nobody looks at the page. */
export function watchNotifications(client: GimletClient, names: NameBook): () => void {
  return client.on("messages", (messages) => {
    const isWanted = loadPreferences().notifications && document.hidden;
    if (!isWanted || !("Notification" in window) || Notification.permission !== "granted") return;
    // One notification for a page of missed messages is enough: the last one.
    const last = messages.filter(({ message }) => message.sender.user_id !== client.userId).at(-1);
    if (!last || client.connection.kind !== "live") return;
    const { message, conversation } = last;
    const sender = senderName(names, message, client.userId);
    const summary = summaryOf(message.content, names, client.userId);
    const notification = new Notification(titleOf(names, conversation), {
      body: conversation.startsWith("group:") ? `${sender}: ${summary}` : summary,
      tag: conversation,
      icon: "icon.svg",
    });
    notification.onclick = () => {
      window.focus();
      location.hash = `/chats/${conversation}`;
      notification.close();
    };
  });
}
