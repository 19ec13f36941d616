import type { GimletClient } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { ChatPage } from "./chat_page.tsx";
import { LANGUAGE_EVENT } from "./preferences.ts";
import { endPush } from "./push.ts";
import { clientOf, forgetSession, loadSession, type Session } from "./session.ts";
import { SignInPage } from "./sign_in_page.tsx";
import { language, reasonOf, text } from "./texts.ts";

/** The whole page: the sign-in, or the chat of the signed-in user. */
export function App() {
  const [session, setSession] = useState<Session | undefined>(loadSession);
  const [client, setClient] = useState<GimletClient>();
  const [notice, setNotice] = useState("");

  const [shownLanguage, setShownLanguage] = useState(language);
  useEffect(() => {
    const changed = () => setShownLanguage(language());
    addEventListener(LANGUAGE_EVENT, changed);
    return () => removeEventListener(LANGUAGE_EVENT, changed);
  }, []);

  useEffect(() => {
    if (!session) return;
    const opened = clientOf(session);
    const off = opened.on("connection", (state) => {
      if (state.kind !== "signed-out") return;
      forgetSession();
      setNotice(text("signedOut", { reason: state.reason }));
      setSession(undefined);
    });
    opened.start().then(
      () => setClient(opened),
      (error: unknown) => {
        setNotice(text("somethingWrong", { reason: reasonOf(error) }));
        setSession(undefined);
      },
    );
    return () => {
      off();
      setClient(undefined);
      void opened.close();
    };
  }, [session]);

  if (!session) {
    const onSignedIn = (next: Session) => {
      setNotice("");
      setSession(next);
    };
    return <SignInPage notice={notice} onSignedIn={onSignedIn} />;
  }
  if (!client) return <p class="centered quiet">{text("connecting")}</p>;
  const signOut = async () => {
    // The sign-out ends the notifications at the server; without this the browser would keep its address.
    await endPush(client).catch(() => undefined);
    await client.signOut();
    forgetSession();
    location.hash = "";
    setSession(undefined);
  };
  // Texts are read while rendering, so another language renders everything anew.
  return <ChatPage key={shownLanguage} client={client} onSignOut={signOut} />;
}
