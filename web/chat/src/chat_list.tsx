import type { Conversation } from "@gimlet/client";
import { useState } from "preact/hooks";
import { useChat, useClientEvents } from "./context.ts";
import { isNotice, senderName, shortTime, summaryOf, titleOf } from "./format.ts";
import { NewGroupDialog } from "./new_group_dialog.tsx";
import { Avatar, Icon } from "./parts.tsx";
import { text } from "./texts.ts";

/** Moves the focus along the rows by the arrow keys; from the field above, into them. */
function onArrow(event: KeyboardEvent): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  const side = (event.currentTarget as HTMLElement).closest(".side");
  if (step === 0 || !side) return;
  const stops = [...side.querySelectorAll<HTMLElement>("input.filter, a.row")];
  const next = stops[stops.indexOf(document.activeElement as HTMLElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/** The conversations, the one with the newest message first. */
export function ChatList({ chosen }: { chosen: string | undefined }) {
  const { client, names } = useChat();
  useClientEvents("conversations", "outgoing");
  const [filter, setFilter] = useState("");
  const [isCreating, setCreating] = useState(false);
  const all = client.conversations();
  const wanted = filter.trim().toLowerCase();
  const shown = all.filter((it) => titleOf(names, it.id).toLowerCase().includes(wanted));
  return (
    <>
      <header class="side-header">
        <h1>{text("chats")}</h1>
        <button class="plain" title={text("newGroup")} onClick={() => setCreating(true)}>
          <Icon name="add" />
          <span class="hidden">{text("newGroup")}</span>
        </button>
      </header>
      <input
        class="filter"
        type="search"
        placeholder={text("searchChats")}
        aria-label={text("searchChats")}
        value={filter}
        onInput={(event) => setFilter(event.currentTarget.value)}
        onKeyDown={onArrow}
      />
      <ul class="list" onKeyDown={onArrow}>
        {shown.map((conversation) => (
          <ChatRow conversation={conversation} isChosen={conversation.id === chosen} />
        ))}
      </ul>
      {shown.length === 0 && (
        <p class="quiet padded">{text(all.length === 0 ? "noChats" : "noMatches")}</p>
      )}
      {isCreating && <NewGroupDialog onClose={() => setCreating(false)} />}
    </>
  );
}

function ChatRow(props: { conversation: Conversation; isChosen: boolean }) {
  const { client, names } = useChat();
  const { id, last, unread, unreadMentions } = props.conversation;
  const [kind, target = ""] = id.split(":");
  const title = titleOf(names, id);
  const profile = kind === "group" ? names.group(target) : names.user(target);
  const outgoing = client.outgoing(id);
  const hasFailed = outgoing.some((it) => it.state === "failed");
  const summary = summaryOf(last.content, names, client.userId);
  const hasSender = kind === "group" && !isNotice(last.content);
  return (
    <li>
      <a
        class="row"
        href={`#/chats/${encodeURIComponent(id)}`}
        aria-current={props.isChosen ? "true" : undefined}
      >
        <Avatar id={id} name={title} picture={profile?.picture ?? ""} />
        <span class="row-body">
          <span class="row-line">
            <strong class="cut">{title}</strong>
            <time class="quiet small">{shortTime(last.sent_at_ms)}</time>
          </span>
          <span class="row-line">
            <span class="quiet cut">
              {hasFailed && (
                <span title={text("notSent")}>
                  <Icon name="warn" />
                  <span class="hidden">{text("notSent")}</span>
                </span>
              )}
              {!hasFailed && outgoing.length > 0 && <Icon name="clock" />}
              {hasSender && `${senderName(names, last, client.userId)}: `}
              {summary}
            </span>
            {unreadMentions > 0 && (
              <span class="badge is-mention" aria-label={text("mentionsYou")}>@</span>
            )}
            {unread > 0 && (
              <span class="badge" aria-label={text("unread", { count: unread })}>
                {unread > 99 ? "99+" : unread}
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  );
}
