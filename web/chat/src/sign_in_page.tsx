import { useState } from "preact/hooks";
import { openSession, type Session } from "./session.ts";
import { reasonOf, text } from "./texts.ts";

/** Sign-in with a phone number and a code. */
export function SignInPage(props: { notice: string; onSignedIn: (session: Session) => void }) {
  const [phoneNumber, setPhoneNumber] = useState("");
  const [code, setCode] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      props.onSignedIn(await openSession(phoneNumber.trim(), code.trim()));
    } catch (error) {
      setProblem(reasonOf(error));
      setBusy(false);
    }
  };

  return (
    <main class="sign-in">
      <form class="card" onSubmit={submit}>
        <img class="logo" src="icon.svg" alt="" width={56} height={56} />
        <h1>{text("signInTitle")}</h1>
        <p class="quiet">{text("signInLead")}</p>
        {props.notice && <p class="notice" role="status">{props.notice}</p>}
        <label>
          {text("phoneNumber")}
          <input
            type="tel"
            name="phone"
            autocomplete="tel"
            required
            value={phoneNumber}
            onInput={(event) => setPhoneNumber(event.currentTarget.value)}
          />
        </label>
        <label>
          {text("code")}
          <input
            name="code"
            inputMode="numeric"
            autocomplete="one-time-code"
            required
            value={code}
            onInput={(event) => setCode(event.currentTarget.value)}
          />
        </label>
        <p class="quiet small">{text("codeHint")}</p>
        {problem && <p class="problem" role="alert">{problem}</p>}
        <button class="primary" disabled={isBusy}>
          {text(isBusy ? "signingIn" : "signIn")}
        </button>
      </form>
    </main>
  );
}
