import type { ConversationId, OutgoingMessage } from "@gimlet/client";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Composer } from "./composer.tsx";
import { useChat, useClientEvents } from "./context.ts";
import { titleOf } from "./format.ts";
import { GroupDialog } from "./group_dialog.tsx";
import { type LoadedHistory, useHistory } from "./history.ts";
import { PendingBubble } from "./message_bubble.tsx";
import { MessagePage } from "./message_page.tsx";
import { Avatar, Icon } from "./parts.tsx";
import { text } from "./texts.ts";

/** Distance from the end, in pixels, within which new messages scroll the thread. */
const NEAR_END_PX = 120;

/** A conversation: its messages, those on their way, and the field to write in. */
export function Thread({ conversation }: { conversation: ConversationId }) {
  const { client, names } = useChat();
  useClientEvents("outgoing");
  const history = useHistory(conversation);
  const [isGroupShown, setGroupShown] = useState(false);
  const [kind, target = ""] = conversation.split(":");
  const title = titleOf(names, conversation);
  const profile = kind === "group" ? names.group(target) : names.user(target);
  // An answered message stays until its entry arrives; then both must not be shown.
  const ids = new Set(history.pages.flat().map((it) => it.message.id));
  const pending = client
    .outgoing(conversation)
    .filter((it) => !it.messageId || !ids.has(it.messageId));
  return (
    <article class="thread" aria-label={title}>
      <header class="thread-header">
        <a class="plain back" href="#/chats" aria-label={text("back")}>
          <Icon name="back" />
        </a>
        <Avatar id={conversation} name={title} picture={profile?.picture ?? ""} />
        <h1 class="cut">{title}</h1>
        {kind === "group" && (
          <button class="plain" onClick={() => setGroupShown(true)}>
            <Icon name="info" />
            <span class="hidden">{text("groupInfo")}</span>
          </button>
        )}
      </header>
      <MessageList history={history} pending={pending} isGroup={kind === "group"} />
      {(kind === "user" || kind === "group") && <Composer conversation={conversation} />}
      {isGroupShown && <GroupDialog groupId={target} onClose={() => setGroupShown(false)} />}
    </article>
  );
}

function MessageList(props: {
  history: LoadedHistory;
  pending: OutgoingMessage[];
  isGroup: boolean;
}) {
  const { client } = useChat();
  const { pages, hasEarlier, isLoading, loadEarlier } = props.history;
  const list = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const isNearEnd = useRef(true);
  const heightBefore = useRef(0);
  const [hasNews, setNews] = useState(false);
  const first = pages[0]?.[0]?.seq;
  const last = pages.at(-1)?.at(-1);
  const conversation = last?.conversation;

  // Earlier messages must not move what is being read: keep the distance to the end.
  useLayoutEffect(() => {
    const element = list.current!;
    if (heightBefore.current > 0 && !isNearEnd.current) {
      element.scrollTop += element.scrollHeight - heightBefore.current;
    }
    heightBefore.current = 0;
  }, [first]);

  useLayoutEffect(() => {
    const element = list.current!;
    const isOwn = last?.message.sender.user_id === client.userId;
    if (isNearEnd.current || isOwn) {
      element.scrollTop = element.scrollHeight;
      isNearEnd.current = true;
      setNews(false);
    } else {
      setNews(true);
    }
  }, [last?.seq, props.pending.length]);

  // Pictures and lines that come into sight change their height after they are laid out.
  useEffect(() => {
    const observer = new ResizeObserver(() => {
      if (isNearEnd.current) list.current!.scrollTop = list.current!.scrollHeight;
    });
    observer.observe(inner.current!);
    return () => observer.disconnect();
  }, []);

  // What is looked at is read.
  useEffect(() => {
    const mark = () => {
      if (conversation && !document.hidden && isNearEnd.current) void client.markRead(conversation);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    addEventListener("focus", mark);
    return () => {
      document.removeEventListener("visibilitychange", mark);
      removeEventListener("focus", mark);
    };
  }, [last?.seq, hasNews]);

  const onScroll = () => {
    const element = list.current!;
    isNearEnd.current =
      element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
    if (isNearEnd.current) setNews(false);
    if (element.scrollTop < element.clientHeight && hasEarlier && !isLoading) {
      heightBefore.current = element.scrollHeight;
      loadEarlier();
    }
  };
  const toEnd = () => {
    list.current!.scrollTop = list.current!.scrollHeight;
  };

  return (
    <div class="messages-frame">
      <div class="messages" ref={list} onScroll={onScroll} tabIndex={0} role="log">
        <div class="messages-inner" ref={inner}>
          <p class="quiet small centered-line">
            {text(hasEarlier ? "loadingHistory" : "historyStart")}
          </p>
          {pages.map((messages, at) => (
            <MessagePage
              key={messages[0]?.seq}
              messages={messages}
              before={pages[at - 1]?.at(-1)}
              isGroup={props.isGroup}
            />
          ))}
          {props.pending.map((message) => (
            <PendingBubble key={message.clientId} message={message} />
          ))}
        </div>
      </div>
      {hasNews && (
        <button class="to-end" onClick={toEnd} aria-label={text("jumpToEnd")}>
          {text("newMessages")} <Icon name="down" />
        </button>
      )}
    </div>
  );
}
