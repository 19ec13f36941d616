import type { HttpApi } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { moment } from "./format.ts";
import { forgetKey, loadApi } from "./key.ts";
import { KeyForm } from "./key_form.tsx";
import { rolesOf } from "./node_state.ts";
import { NodesPage } from "./nodes_page.tsx";
import { OverviewPage } from "./overview_page.tsx";
import { followNode, type NodeView } from "./poller.ts";
import { keepPreferences, loadPreferences, type Preferences, type Theme } from "./preferences.ts";
import { type Language, LANGUAGES, text } from "./texts.ts";
import { UsersPage } from "./users_page.tsx";
import { WebhooksPage } from "./webhooks_page.tsx";

const SECTIONS = ["overview", "users", "webhooks", "nodes"] as const;

/** A part of the console. */
type Section = (typeof SECTIONS)[number];

const sectionOf = (hash: string): Section =>
  SECTIONS.find((section) => hash === `#/${section}`) ?? "overview";

/** The whole console. */
export function App() {
  const [view, setView] = useState<NodeView>();
  const [section, setSection] = useState(() => sectionOf(location.hash));
  const [preferences, setPreferences] = useState(loadPreferences);
  const [api, setApi] = useState<HttpApi | undefined>(loadApi);
  useEffect(() => followNode(setView), []);
  useEffect(() => {
    const changed = () => setSection(sectionOf(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const change = (part: Partial<Preferences>) => {
    const next = { ...preferences, ...part };
    keepPreferences(next);
    setPreferences(next);
  };
  document.title = `${location.host} · gimlet`;
  return (
    <>
      <header class="top">
        <h1>
          <img src="icon.svg" alt="" width={28} height={28} /> gimlet <span class="quiet host">{location.host}</span>
        </h1>
        <nav aria-label={text("sections")}>
          {SECTIONS.map((it) => (
            <a href={`#/${it}`} aria-current={it === section ? "page" : undefined}>{text(it)}</a>
          ))}
        </nav>
        <PreferenceChoices preferences={preferences} change={change} />
      </header>
      <main>
        <StatusBar view={view} />
        {section === "overview" ? (
          view?.snapshot && <OverviewPage view={view} />
        ) : api ? (
          <>
            {section === "users" && <UsersPage api={api} />}
            {section === "webhooks" && <WebhooksPage api={api} />}
            {section === "nodes" && <NodesPage api={api} />}
            <p>
              <button
                onClick={() => {
                  forgetKey();
                  setApi(undefined);
                }}
              >
                {text("forgetKey")}
              </button>
            </p>
          </>
        ) : (
          <KeyForm onKey={setApi} />
        )}
      </main>
    </>
  );
}

/** The readiness of the node in one line. */
function StatusBar({ view }: { view: NodeView | undefined }) {
  if (!view) return <p class="status" role="status">{text("asking")}</p>;
  const { readiness, snapshot } = view;
  const names = {
    ready: text("ready"),
    "read-only": text("readOnly"),
    waiting: text("waiting"),
    unanswered: text("unanswered", { time: moment(view.silentSince ?? 0) }),
  };
  const words = readiness.kind === "unanswered" ? (snapshot ? text("stale") : "") : readiness.text;
  const roles = snapshot ? rolesOf(snapshot) : [];
  return (
    <div class={`status is-${readiness.kind}`}>
      <p role="status">
        <span class="lamp" aria-hidden="true" />
        <b>{names[readiness.kind]}</b>
      </p>
      {roles.length > 0 && <p class="quiet">{text("roles")}: {roles.join(", ")}</p>}
      {words && <p class="words">{words}</p>}
    </div>
  );
}

function PreferenceChoices(props: { preferences: Preferences; change: (part: Partial<Preferences>) => void }) {
  const { preferences, change } = props;
  return (
    <div class="choices">
      <select
        aria-label={text("theme")}
        value={preferences.theme}
        onChange={(event) => change({ theme: event.currentTarget.value as Theme })}
      >
        <option value="system">{text("themeSystem")}</option>
        <option value="light">{text("themeLight")}</option>
        <option value="dark">{text("themeDark")}</option>
      </select>
      <select
        aria-label={text("language")}
        value={preferences.language}
        onChange={(event) => change({ language: event.currentTarget.value as Language })}
      >
        {Object.entries(LANGUAGES).map(([code, name]) => (
          <option value={code} lang={code}>{name}</option>
        ))}
      </select>
    </div>
  );
}
