import type { HttpApi } from "@gimlet/client";
import { useState } from "preact/hooks";
import { keepKey } from "./key.ts";
import { Card } from "./parts.tsx";
import { text } from "./texts.ts";

/** Scopes of a key that may do everything that the console offers, apart from revoking JWTs. */
const SCOPES = [
  "users:read",
  "users:write",
  "devices:read",
  "devices:write",
  "tokens:write",
  "webhooks:read",
  "webhooks:write",
  "stats:read",
];

/** Asks for an API key. */
export function KeyForm({ onKey }: { onKey: (api: HttpApi) => void }) {
  const [key, setKey] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    onKey(keepKey(key.trim()));
  };
  return (
    <Card title={text("keyTitle")}>
      <form class="stack" onSubmit={submit}>
        <p>{text("keyLead")}</p>
        <p class="quiet small">{text("keyScopes", { scopes: SCOPES.join(", ") })}</p>
        <label>
          {text("keyTitle")}
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <div class="buttons">
          <button class="primary">{text("useKey")}</button>
        </div>
      </form>
    </Card>
  );
}
