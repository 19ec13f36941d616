import type { ConversationId, GimletClient } from "@gimlet/client";
import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { ChatList } from "./chat_list.tsx";
import { ConnectionBar } from "./connection_bar.tsx";
import { ContactsPage } from "./contacts_page.tsx";
import { Chat, type ChatContext } from "./context.ts";
import { NameBook } from "./names.ts";
import { noteNames } from "./note_names.ts";
import { watchNotifications } from "./notifications.ts";
import { Icon } from "./parts.tsx";
import { loadPreferences } from "./preferences.ts";
import { startPush } from "./push.ts";
import { RoomPage, RoomsPage } from "./rooms_page.tsx";
import { SettingsPage } from "./settings_page.tsx";
import { text } from "./texts.ts";
import { Thread } from "./thread.tsx";

/** Time for which a short message is shown, in milliseconds. */
const TOAST_MS = 5_000;

/** The page of a signed-in user: a list on the left, what was chosen on the right. */
export function ChatPage(props: { client: GimletClient; onSignOut: () => Promise<void> }) {
  const { client } = props;
  const route = useRoute();
  const [toast, setToast] = useState("");
  const toastBox = useRef<HTMLDivElement>(null);
  const [, render] = useReducer((count: number) => count + 1, 0);
  const names = useMemo(() => new NameBook(client, () => render(undefined)), [client]);
  const chat: ChatContext = useMemo(
    () => ({ client, names, tell: setToast, go: (to) => (location.hash = `/${to}`) }),
    [client, names],
  );
  useEffect(() => noteNames(client, names), [client, names]);
  useEffect(() => watchNotifications(client, names), [client, names]);
  // The browser may have another subscription since the last visit; without the server it stays as it is.
  useEffect(() => void (loadPreferences().notifications && startPush(client).catch(() => undefined)), [client]);
  useEffect(() => {
    const off = client.on("conversations", () => render(undefined));
    return off;
  }, [client]);
  useEffect(() => {
    // A popover is above a dialog, which would hide the words about what failed in it.
    if (toast) toastBox.current?.showPopover?.();
    else toastBox.current?.hidePopover?.();
    const timer = setTimeout(() => setToast(""), TOAST_MS);
    return () => clearTimeout(timer);
  }, [toast]);

  const [section = "chats", chosen] = route;
  const unread = client.conversations().reduce((sum, it) => sum + it.unread, 0);
  document.title = unread > 0 ? `(${unread}) gimlet` : "gimlet";
  return (
    <Chat.Provider value={chat}>
      <div class={chosen ? "page has-chosen" : "page"}>
        <ConnectionBar />
        <Navigation section={section} unread={unread} />
        <main class="columns">
          <section class="side" aria-label={text(sectionTitle(section))}>
            {section === "chats" && <ChatList chosen={chosen} />}
            {section === "contacts" && <ContactsPage />}
            {section === "rooms" && <RoomsPage chosen={chosen} />}
            {section === "settings" && <SettingsPage onSignOut={props.onSignOut} />}
          </section>
          <div class="main">
            {section === "chats" && chosen && (
              <Thread key={chosen} conversation={chosen as ConversationId} />
            )}
            {section === "rooms" && chosen && <RoomPage key={chosen} roomId={chosen} />}
            {!chosen && <p class="centered quiet">{text("emptyThread")}</p>}
          </div>
        </main>
        <div class="toast" role="status" popover="manual" ref={toastBox}>{toast}</div>
      </div>
    </Chat.Provider>
  );
}

const SECTIONS = ["chats", "contacts", "rooms", "settings"] as const;

function sectionTitle(section: string): (typeof SECTIONS)[number] {
  return SECTIONS.find((it) => it === section) ?? "chats";
}

function Navigation({ section, unread }: { section: string; unread: number }) {
  return (
    <nav class="navigation">
      {SECTIONS.map((name) => (
        <a href={`#/${name}`} aria-current={name === section ? "page" : undefined} title={text(name)}>
          <Icon name={name} />
          <span class="label">{text(name)}</span>
          {name === "chats" && unread > 0 && (
            <span class="badge" aria-label={text("unread", { count: unread })}>
              {unread > 99 ? "99+" : unread}
            </span>
          )}
        </a>
      ))}
    </nav>
  );
}

/** The parts of the address behind `#/`. */
function useRoute(): string[] {
  const [route, setRoute] = useState(location.hash);
  useEffect(() => {
    const changed = () => setRoute(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
}
