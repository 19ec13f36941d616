import type { RoomMessageInfo } from "@gimlet/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { useChat } from "./context.ts";
import { MessageBubble } from "./message_bubble.tsx";
import { Icon } from "./parts.tsx";
import { reasonOf, text } from "./texts.ts";

/** Messages of a room that are kept on the page. */
const MAX_SHOWN = 500;

/** The choice of a room. */
export function RoomsPage({ chosen }: { chosen: string | undefined }) {
  const { go } = useChat();
  const [number, setNumber] = useState(chosen ?? "");
  useEffect(() => {
    if (chosen) setNumber(chosen);
  }, [chosen]);
  const join = (event: Event) => {
    event.preventDefault();
    go(`rooms/${number}`);
  };
  return (
    <>
      <header class="side-header">
        <h1>{text("rooms")}</h1>
      </header>
      <p class="quiet padded">{text("roomLead")}</p>
      <form class="line padded" onSubmit={join}>
        <label>
          {text("roomNumber")}
          <input
            inputMode="numeric"
            pattern="[1-9][0-9]{0,17}"
            required
            value={number}
            onInput={(event) => setNumber(event.currentTarget.value)}
          />
        </label>
        <button class="primary">{text("joinRoom")}</button>
      </form>
    </>
  );
}

/** A room: the kept messages and what is written while it is open. */
export function RoomPage({ roomId }: { roomId: string }) {
  const { client, tell } = useChat();
  const [messages, setMessages] = useState<RoomMessageInfo[]>([]);
  const [draft, setDraft] = useState("");
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const off = client.on("room", (room) => {
      if (room.room_id !== roomId) return;
      setMessages((known) =>
        known.some((it) => it.seq === room.seq) ? known : [...known, room].slice(-MAX_SHOWN),
      );
    });
    client.follow({ roomId, from: "1" });
    return () => {
      off();
      client.follow(undefined);
    };
  }, [client, roomId]);
  useEffect(() => {
    list.current!.scrollTop = list.current!.scrollHeight;
  }, [messages.length]);
  const send = async (event: Event) => {
    event.preventDefault();
    const message = draft.trim();
    if (message === "") return;
    setDraft("");
    try {
      await client.users.publish(roomId, { type: "text", text: message });
    } catch (error) {
      setDraft(message);
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  return (
    <article class="thread" aria-label={text("room", { id: roomId })}>
      <header class="thread-header">
        <a class="plain back" href="#/rooms" aria-label={text("back")}>
          <Icon name="back" />
        </a>
        <h1 class="cut">{text("room", { id: roomId })}</h1>
        <a class="plain leave" href="#/rooms">{text("leaveRoom")}</a>
      </header>
      <div class="messages-frame">
        <div class="messages" ref={list} tabIndex={0} role="log">
          <div class="messages-inner">
            {messages.length === 0 && (
              <p class="quiet centered-line">{text("noRoomMessages")}</p>
            )}
            {messages.map((it) => (
              <div class="message-line" key={it.seq}>
                <MessageBubble message={it.message} hasSender />
              </div>
            ))}
          </div>
        </div>
      </div>
      <form class="composer" onSubmit={send}>
        <input
          dir="auto"
          placeholder={text("writeMessage")}
          aria-label={text("writeMessage")}
          value={draft}
          onInput={(event) => setDraft(event.currentTarget.value)}
        />
        <button class="primary round" aria-label={text("send")} disabled={draft.trim() === ""}>
          <Icon name="send" />
        </button>
      </form>
    </article>
  );
}
