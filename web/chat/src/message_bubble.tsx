import type { Content, MessageInfo, OutgoingMessage } from "@gimlet/client";
import { useChat } from "./context.ts";
import { clockTime, fileSize, isNotice, partsOf, senderName, summaryOf } from "./format.ts";
import { Avatar, Icon } from "./parts.tsx";
import { reasonOfCode, text } from "./texts.ts";

/** A message of the inbox. */
export function MessageBubble(props: { message: MessageInfo; hasSender: boolean }) {
  const { client, names } = useChat();
  const { message } = props;
  if (isNotice(message.content)) {
    return <p class="event">{summaryOf(message.content, names, client.userId)}</p>;
  }
  const isOwn = message.sender.user_id === client.userId;
  const isMention = (message.mentions ?? []).includes(client.userId);
  const name = senderName(names, message, client.userId);
  return (
    <div class={`bubble-row${isOwn ? " is-own" : ""}`}>
      {!isOwn && props.hasSender && (
        <Avatar
          id={`user:${message.sender.user_id}`}
          name={name}
          picture={message.sender.avatar_url ?? ""}
        />
      )}
      <div class={`bubble${isMention ? " is-mention" : ""}`}>
        {!isOwn && props.hasSender && <strong class="sender small">{name}</strong>}
        <ContentView content={message.content} />
        <span class="stamp">
          <time dateTime={message.sent_at}>{clockTime(message.sent_at_ms)}</time>
          {isOwn && (
            <span title={text("sent")}>
              <Icon name="check" />
              <span class="hidden">{text("sent")}</span>
            </span>
          )}
        </span>
      </div>
    </div>
  );
}

/** A message on its way, with its state. */
export function PendingBubble({ message }: { message: OutgoingMessage }) {
  const { client } = useChat();
  const hasFailed = message.state === "failed";
  const state = hasFailed
    ? text("failed", { reason: reasonOfCode(message.code, message.reason ?? "") })
    : text(message.state === "sending" ? "sending" : "waiting");
  return (
    <div class="bubble-row is-own">
      <div class={`bubble is-pending${hasFailed ? " has-failed" : ""}`}>
        <ContentView content={message.content} />
        <span class="stamp" role="status">
          <Icon name={hasFailed ? "warn" : "clock"} />
          <span class={hasFailed ? "" : "hidden"}>{state}</span>
        </span>
        {hasFailed && (
          <span class="actions">
            <button onClick={() => client.retry(message.clientId)}>{text("retry")}</button>
            <button onClick={() => client.discard(message.clientId)}>{text("discard")}</button>
          </span>
        )}
      </div>
    </div>
  );
}

/** A content. Text is text: nothing in it is read as markup. */
export function ContentView({ content }: { content: Content }) {
  const { client, names } = useChat();
  switch (content.type) {
    case "text":
      return (
        <p class="text" dir="auto">
          {partsOf(content.text).map((part) =>
            part.href ? (
              <a href={part.href} target="_blank" rel="noopener noreferrer nofollow">
                {part.text}
              </a>
            ) : (
              part.text
            ),
          )}
        </p>
      );
    case "image":
      return <ImageView content={content} />;
    case "file":
      return (
        <a class="file" {...linkOf(content.url)} download={content.name}>
          <Icon name="file" />
          <span class="row-body">
            <span class="cut">{content.name || text("file")}</span>
            <span class="quiet small">{fileSize(Number(content.size ?? 0))}</span>
          </span>
        </a>
      );
    default:
      return <p class="text quiet">{summaryOf(content, names, client.userId)}</p>;
  }
}

function ImageView({ content }: { content: Extract<Content, { type: "image" }> }) {
  const source = content.thumbnail_url || content.url;
  // Pictures of other servers are not loaded: that would tell them who reads this.
  if (!source || !isOwnAddress(source)) {
    return (
      <a class="file" {...linkOf(content.url)}>
        <Icon name="file" />
        {text("image")}
      </a>
    );
  }
  return (
    <a class="image" {...linkOf(content.url)}>
      <img
        src={source}
        alt={text("image")}
        loading="lazy"
        width={content.width || undefined}
        height={content.height || undefined}
      />
    </a>
  );
}

function isOwnAddress(url: string): boolean {
  return url.startsWith(`${location.origin}/`);
}

function linkOf(url: string | undefined): { href?: string; target?: string; rel?: string } {
  if (!url || !/^https?:\/\//.test(url)) return {};
  return { href: url, target: "_blank", rel: "noopener noreferrer nofollow" };
}
