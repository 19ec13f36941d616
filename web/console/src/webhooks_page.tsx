import type { HttpApi } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import type { DeadLetterList, WebhookInfo, WebhookList } from "../../sdk/src/api/types.ts";
import { moment } from "./format.ts";
import { type AskedAction, Card, reasonOf, Table, useActions } from "./parts.tsx";
import { text } from "./texts.ts";

/** The webhooks of the server, and their dead letters. */
export function WebhooksPage({ api }: { api: HttpApi }) {
  const [hooks, setHooks] = useState<WebhookInfo[]>();
  const [letters, setLetters] = useState<Record<string, DeadLetterList>>({});
  const [problem, setProblem] = useState("");
  const load = async () => {
    try {
      const { webhooks } = await api.call<WebhookList>("GET", "/v1/webhooks");
      const given = await Promise.all(
        webhooks.map(async ({ name }) => [name, await api.call<DeadLetterList>("GET", pathOf(name))] as const),
      );
      setHooks(webhooks);
      setLetters(Object.fromEntries(given));
      setProblem("");
    } catch (error) {
      setProblem(reasonOf(error));
    }
  };
  useEffect(() => void load(), [api]);
  const { ask, shown } = useActions(() => void load());
  if (problem) return <p class="problem" role="alert">{problem}</p>;
  if (!hooks) return <p class="quiet">{text("loading")}</p>;
  if (hooks.length === 0) return <p class="notice">{text("noHooks")}</p>;
  return (
    <>
      {shown}
      {hooks.map((hook) => (
        <HookCard api={api} hook={hook} letters={letters[hook.name]} ask={ask} />
      ))}
    </>
  );
}

const pathOf = (name: string) => `/v1/webhooks/${encodeURIComponent(name)}/dead-letters`;

function HookCard(props: {
  api: HttpApi;
  hook: WebhookInfo;
  letters: DeadLetterList | undefined;
  ask: (action: AskedAction) => void;
}) {
  const { api, hook, ask } = props;
  const letters = props.letters?.dead_letters ?? [];
  const replay: AskedAction = {
    question: text("confirmReplay", { name: hook.name }),
    button: text("replayAll"),
    act: () => api.call("POST", `${pathOf(hook.name)}/replay`, { body: {} }),
  };
  const drop: AskedAction = {
    question: text("confirmDrop", { name: hook.name }),
    button: text("dropAll"),
    act: () => api.call("POST", `${pathOf(hook.name)}/drop`, { body: {} }),
  };
  const facts: [string, string][] = [
    [text("address"), hook.url ?? "–"],
    [text("event"), hook.events.join(", ")],
    [text("backlog"), hook.waiting],
    [text("oldest"), hook.oldest_waiting ? moment(hook.oldest_waiting) : "–"],
    [text("delivered"), hook.delivered],
    [text("failed"), hook.failed],
    [text("deadLetters"), hook.dead_letters],
  ];
  return (
    <Card title={hook.name}>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {hook.last_error && <p class="problem">{text("lastError", { error: hook.last_error })}</p>}
      {letters.length === 0 ? (
        <p class="quiet">{text("noDeadLetters")}</p>
      ) : (
        <>
          <Table heads={[text("given"), text("event"), text("attempts"), text("error")]}>
            {letters.map((letter) => (
              <tr>
                <th scope="row">{moment(letter.given_up_at)}</th>
                <td>{letter.event ?? "–"}</td>
                <td class="number">{letter.attempts}</td>
                <td>{letter.error}</td>
              </tr>
            ))}
          </Table>
          {props.letters?.more && <p class="quiet small">{text("more", { count: letters.length })}</p>}
          <div class="buttons">
            <button onClick={() => ask(replay)}>{text("replayAll")}</button>
            <button class="danger" onClick={() => ask(drop)}>{text("dropAll")}</button>
          </div>
        </>
      )}
    </Card>
  );
}
