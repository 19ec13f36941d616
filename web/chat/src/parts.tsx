import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { text } from "./texts.ts";

const PATHS = {
  chats: "M4 5h16v11H9l-5 4z",
  contacts: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm-8 8c0-4 4-6 8-6s8 2 8 6z",
  rooms: "M4 20V9l8-5 8 5v11h-6v-6h-4v6z",
  settings: "M4 7h10m4 0h2M4 17h2m4 0h10M14 4v6M6 14v6",
  back: "M15 5l-7 7 7 7",
  send: "M4 12l16-8-6 16-3-7z",
  attach: "M20 11l-8 8a5 5 0 0 1-7-7l8-8a3.500 3.500 0 0 1 5 5l-8 8a2 2 0 0 1-3-3l7-7",
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 13l4 4L19 7",
  clock: "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  warn: "M12 8v5m0 3v.1M12 3l10 18H2z",
  down: "M6 9l6 6 6-6",
  info: "M12 11v6m0-9v.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
} as const;

/** A drawing beside or instead of a text; it has no text of its own. */
export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Picture of a user or group, or its first letter on a colour that its id chooses. */
export function Avatar({ id, name, picture }: { id: string; name: string; picture?: string }) {
  const hue = [...id].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 12, 7);
  const isLocal = picture?.startsWith("/") || picture?.startsWith(`${location.origin}/`);
  return (
    <span class={`avatar hue-${hue}`} aria-hidden="true">
      {isLocal ? <img src={picture} alt="" loading="lazy" /> : [...name.trim()][0]?.toUpperCase()}
    </span>
  );
}

/** A dialog above the page. It closes by its button, the Escape key, or a click beside it. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-label={props.title}
      onClose={props.onClose}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <div class="dialog-body">
        <header class="dialog-header">
          <h2>{props.title}</h2>
          <button class="plain" aria-label={text("close")} onClick={() => dialog.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
