import type { StoredMessage } from "@gimlet/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { dayName, isSameDay } from "./format.ts";
import { MessageBubble } from "./message_bubble.tsx";

/** Distance from what is shown, in pixels, within which a page is in the document. */
const NEAR_PX = 1_500;

/**
 * A page of a conversation. Far from what is shown it is an empty box of its height, so that a long
 * conversation costs no more than a short one.
 */
export function MessagePage(props: {
  messages: StoredMessage[];
  /** The last message of the page before. */
  before: StoredMessage | undefined;
  isGroup: boolean;
}) {
  const frame = useRef<HTMLDivElement>(null);
  /** Height of the empty box; undefined if the messages are shown. */
  const [height, setHeight] = useState<number>();
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        const { isIntersecting, boundingClientRect } = entries.at(-1)!;
        setHeight(isIntersecting ? undefined : boundingClientRect.height);
      },
      { root: frame.current!.closest(".messages"), rootMargin: `${NEAR_PX}px 0px` },
    );
    observer.observe(frame.current!);
    return () => observer.disconnect();
  }, []);
  return (
    <div class="message-page" ref={frame} style={{ height: height === undefined ? "" : `${height}px` }}>
      {height === undefined &&
        props.messages.map((stored, at) => (
          <MessageLine
            key={stored.seq}
            stored={stored}
            before={props.messages[at - 1] ?? props.before}
            isGroup={props.isGroup}
          />
        ))}
    </div>
  );
}

function MessageLine(props: {
  stored: StoredMessage;
  before: StoredMessage | undefined;
  isGroup: boolean;
}) {
  const { before } = props;
  const { message } = props.stored;
  const { sent_at_ms: sentAt, sender } = message;
  const isNewDay = !before || !isSameDay(new Date(before.message.sent_at_ms), new Date(sentAt));
  const isSameSender =
    !isNewDay && before?.message.sender.user_id === sender.user_id && !!sender.user_id;
  return (
    <div class="message-line">
      {isNewDay && <h2 class="day">{dayName(sentAt)}</h2>}
      <MessageBubble message={message} hasSender={props.isGroup && !isSameSender} />
    </div>
  );
}
