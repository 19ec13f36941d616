import type { AccountInfo } from "@gimlet/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { useChat } from "./context.ts";
import { Avatar } from "./parts.tsx";
import { applyPreferences, loadPreferences, type Preferences, type Theme } from "./preferences.ts";
import { endPush, startPush } from "./push.ts";
import { otherAccount } from "./session.ts";
import { type Language, LANGUAGES, reasonOf, text } from "./texts.ts";

/** The own profile and the choices of this device. */
export function SettingsPage({ onSignOut }: { onSignOut: () => Promise<void> }) {
  const { client, tell } = useChat();
  const [preferences, setPreferences] = useState(loadPreferences);
  const change = (part: Partial<Preferences>) => {
    const next = { ...preferences, ...part };
    applyPreferences(next);
    setPreferences(next);
  };
  const notify = async (isWanted: boolean) => {
    const isAllowed = isWanted && (await Notification.requestPermission()) === "granted";
    change({ notifications: isAllowed });
    const work = isAllowed ? startPush(client) : endPush(client);
    work.catch((error: unknown) => tell(text("somethingWrong", { reason: reasonOf(error) })));
  };
  const signOut = () =>
    onSignOut().catch((error: unknown) => tell(text("somethingWrong", { reason: reasonOf(error) })));
  return (
    <>
      <header class="side-header">
        <h1>{text("settings")}</h1>
      </header>
      <div class="scrolled stack padded">
        <ProfileForm />
        <label>
          {text("theme")}
          <select
            value={preferences.theme}
            onChange={(event) => change({ theme: event.currentTarget.value as Theme })}
          >
            <option value="system">{text("themeSystem")}</option>
            <option value="light">{text("themeLight")}</option>
            <option value="dark">{text("themeDark")}</option>
          </select>
        </label>
        <label>
          {text("language")}
          <select
            value={preferences.language}
            onChange={(event) => change({ language: event.currentTarget.value as Language })}
          >
            {Object.entries(LANGUAGES).map(([code, name]) => (
              <option value={code} lang={code}>{name}</option>
            ))}
          </select>
        </label>
        {"Notification" in window && (
          <label class="choice">
            <input
              type="checkbox"
              checked={preferences.notifications}
              onChange={(event) => void notify(event.currentTarget.checked)}
            />
            {text("notifications")}
          </label>
        )}
        <a href={otherAccount()} target="_blank" rel="noopener">{text("otherAccount")}</a>
        <button class="danger" onClick={signOut}>{text("signOut")}</button>
      </div>
    </>
  );
}

function ProfileForm() {
  const { client, names, tell } = useChat();
  const [me, setMe] = useState<AccountInfo>();
  // Undefined until something is typed: what is typed before the profile arrives is kept.
  const [typed, setTyped] = useState<string>();
  const known = names.user(client.userId);
  const nickname = typed ?? me?.nickname ?? known?.name ?? "";
  const files = useRef<HTMLInputElement>(null);
  const show = (account: AccountInfo) => {
    setMe(account);
    names.noteUser(account.user_id, account.nickname, account.avatar_url);
  };
  useEffect(() => {
    client.users.me().then(show, () => undefined);
  }, [client]);
  const attempt = async (work: () => Promise<AccountInfo>) => {
    try {
      show(await work());
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  const save = (event: Event) => {
    event.preventDefault();
    void attempt(() => client.users.changeMe({ nickname: nickname.trim() }));
  };
  const changePicture = (file: File | undefined) => {
    if (!file) return;
    void attempt(async () => {
      const stored = await client.upload(file);
      return client.users.changeMe({ avatar_url: stored.thumbnailUrl ?? stored.url });
    });
  };
  return (
    <form class="stack" onSubmit={save}>
      <div class="line">
        <Avatar
          id={`user:${client.userId}`}
          name={me?.nickname || known?.name || client.userId}
          picture={me?.avatar_url ?? known?.picture ?? ""}
        />
        <span class="row-body">
          <span class="quiet small">{text("phoneOfAccount", { id: client.userId })}</span>
        </span>
        <button type="button" onClick={() => files.current?.click()}>{text("changePicture")}</button>
        <input
          ref={files}
          type="file"
          accept="image/*"
          class="hidden"
          tabIndex={-1}
          aria-hidden="true"
          onChange={(event) => changePicture(event.currentTarget.files?.[0])}
        />
      </div>
      <label>
        {text("nickname")}
        <input
          value={nickname}
          maxLength={80}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
      <button class="primary" disabled={!me || nickname === me.nickname}>{text("save")}</button>
    </form>
  );
}
