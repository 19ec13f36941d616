import type { Content, ConversationId, MemberInfo } from "@gimlet/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { useChat } from "./context.ts";
import { Icon } from "./parts.tsx";
import { reasonOf, text } from "./texts.ts";

/** Longest text of a message that the field takes, in characters. */
const MAX_TEXT_LEN = 10_000;

/** The field to write in, with files and mentions. */
export function Composer({ conversation }: { conversation: ConversationId }) {
  const { client, tell } = useChat();
  const [draft, setDraft] = useState(() => sessionStorage.getItem(draftKey(conversation)) ?? "");
  const [progress, setProgress] = useState<{ name: string; part: number }>();
  const field = useRef<HTMLTextAreaElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const members = useMembers(conversation);

  useEffect(() => {
    // Whoever opens a conversation wants to write; on a touch screen the keyboard would cover it.
    if (!matchMedia("(pointer: coarse)").matches) field.current?.focus();
  }, []);

  useEffect(() => {
    sessionStorage.setItem(draftKey(conversation), draft);
    const element = field.current!;
    // Grows with its text; the style sheet bounds it.
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [draft]);

  const send = () => {
    const message = draft.trim();
    if (message === "") return;
    setDraft("");
    const mentions = mentionsIn(message, members);
    client.send(conversation, message, { mentions }).catch((error: unknown) => {
      setDraft(message);
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (suggestions.length > 0 && !event.isComposing && chooseByKey(event)) return;
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  const sendFile = async (file: File) => {
    const onProgress = (part: number) => setProgress({ name: file.name, part });
    onProgress(0);
    try {
      const stored = await client.upload(file, { onProgress });
      const content: Content = stored.mediaType.startsWith("image/")
        ? {
            type: "image",
            url: stored.url,
            ...(stored.width ? { width: stored.width } : {}),
            ...(stored.height ? { height: stored.height } : {}),
            ...(stored.thumbnailUrl ? { thumbnail_url: stored.thumbnailUrl } : {}),
          }
        : { type: "file", url: stored.url, name: stored.name, size: String(stored.size) };
      await client.send(conversation, content);
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    } finally {
      setProgress(undefined);
    }
  };

  const take = async (list: FileList | null | undefined) => {
    for (const file of list ?? []) await sendFile(file);
  };

  const [isDismissed, setDismissed] = useState(false);
  const [chosen, setChosen] = useState(0);
  const suggestions = isDismissed ? [] : suggestionsFor(draft, members);
  const choice = Math.min(chosen, suggestions.length - 1);
  /** Chooses a name by the keyboard; returns whether the key was for that. */
  const chooseByKey = (event: KeyboardEvent): boolean => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) setChosen((choice + step + suggestions.length) % suggestions.length);
    else if (event.key === "Escape") setDismissed(true);
    else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) complete(suggestions[choice]!);
    else return false;
    event.preventDefault();
    return true;
  };
  const complete = (member: MemberInfo) => {
    setDraft(draft.replace(/@[^@\s]*$/, `@${nameOf(member)} `));
    setChosen(0);
    field.current?.focus();
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void take(event.dataTransfer?.files);
      }}
    >
      {progress && (
        <p class="quiet small upload" role="status">
          {text("uploading", { name: progress.name, part: Math.round(progress.part * 100) })}
          <progress value={progress.part} max={1} />
        </p>
      )}
      {suggestions.length > 0 && (
        <div class="suggestions" role="listbox" id="suggestions" aria-label={text("mention")}>
          {suggestions.map((member, at) => (
            <button
              type="button"
              role="option"
              id={`suggestion-${at}`}
              tabIndex={-1}
              aria-selected={at === choice}
              onClick={() => complete(member)}
            >
              @{nameOf(member)}
            </button>
          ))}
        </div>
      )}
      <input
        ref={files}
        type="file"
        multiple
        class="hidden"
        tabIndex={-1}
        aria-hidden="true"
        onChange={(event) => {
          void take(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      <button
        type="button"
        class="plain"
        aria-label={text("attach")}
        title={text("attach")}
        onClick={() => files.current?.click()}
      >
        <Icon name="attach" />
      </button>
      <textarea
        ref={field}
        rows={1}
        dir="auto"
        maxLength={MAX_TEXT_LEN}
        placeholder={text("writeMessage")}
        aria-label={text("writeMessage")}
        aria-autocomplete="list"
        aria-controls={suggestions.length > 0 ? "suggestions" : undefined}
        aria-activedescendant={suggestions.length > 0 ? `suggestion-${choice}` : undefined}
        value={draft}
        onInput={(event) => {
          setDraft(event.currentTarget.value);
          setDismissed(false);
        }}
        onKeyDown={onKeyDown}
        onPaste={(event) => {
          if (!event.clipboardData?.files.length) return;
          event.preventDefault();
          void take(event.clipboardData.files);
        }}
      />
      <button class="primary round" aria-label={text("send")} disabled={draft.trim() === ""}>
        <Icon name="send" />
      </button>
    </form>
  );
}

function draftKey(conversation: ConversationId): string {
  return `gimlet.draft.${conversation}`;
}

/** The members of a group, for mentions; nobody in other conversations. */
function useMembers(conversation: ConversationId): MemberInfo[] {
  const { client } = useChat();
  const [members, setMembers] = useState<MemberInfo[]>([]);
  useEffect(() => {
    const [kind, id = ""] = conversation.split(":");
    if (kind !== "group") return;
    client.users.members(id).then(
      (all) => setMembers(all.filter((it) => it.user_id !== client.userId)),
      () => undefined,
    );
  }, [client, conversation]);
  return members;
}

function nameOf(member: MemberInfo): string {
  return member.remarks || member.nickname || member.user_id;
}

/** Number of names that are offered. */
const MAX_SUGGESTIONS = 6;

function suggestionsFor(draft: string, members: MemberInfo[]): MemberInfo[] {
  const begun = /(?:^|\s)@([^@\s]*)$/.exec(draft)?.[1]?.toLowerCase();
  if (begun === undefined) return [];
  const matching = members.filter((it) => nameOf(it).toLowerCase().startsWith(begun));
  return matching.slice(0, MAX_SUGGESTIONS);
}

function mentionsIn(message: string, members: MemberInfo[]): string[] {
  return members.filter((it) => message.includes(`@${nameOf(it)}`)).map((it) => it.user_id);
}
