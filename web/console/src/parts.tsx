import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { text } from "./texts.ts";

/** A part of a page with a title. */
export function Card(props: { title: string; children: ComponentChildren }) {
  return (
    <section class="card">
      <h2>{props.title}</h2>
      {props.children}
    </section>
  );
}

/** A table, which is scrolled sideways where it is too wide. */
export function Table(props: { heads: string[]; children: ComponentChildren }) {
  return (
    <div class="table" tabIndex={0} role="group" aria-label={props.heads.join(", ")}>
      <table>
        <thead>
          <tr>{props.heads.map((head) => <th scope="col">{head}</th>)}</tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}

/** An action that waits for its confirmation. */
export interface AskedAction {
  question: string;
  /** Label of the button that confirms. */
  button: string;
  /** Label of the field for a reason, if the action has one. */
  reason?: string;
  /** Does it. The reason is empty if there is no field for it. */
  act: (reason: string) => Promise<unknown>;
}

/** Asks before an action, above the page. */
export function ConfirmDialog(props: { asked: AskedAction; onClose: (isConfirmed: boolean, reason: string) => void }) {
  const { asked, onClose } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const isConfirmed = useRef(false);
  const [reason, setReason] = useState("");
  useEffect(() => dialog.current?.showModal(), []);
  const confirm = (event: Event) => {
    event.preventDefault();
    isConfirmed.current = true;
    dialog.current?.close();
  };
  return (
    <dialog ref={dialog} aria-label={asked.button} onClose={() => onClose(isConfirmed.current, reason.trim())}>
      <form class="dialog-body" onSubmit={confirm}>
        <p>{asked.question}</p>
        {asked.reason && (
          <label>
            {asked.reason}
            <input
              required
              maxLength={200}
              value={reason}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
        )}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>{text("cancel")}</button>
          <button class="primary">{asked.button}</button>
        </div>
      </form>
    </dialog>
  );
}

/** Result of the last action. */
export interface ActionResult {
  isDone: boolean;
  text: string;
}

/** Returns the question above the page and the result of its action, and a function that asks. */
export function useActions(onDone: () => void) {
  const [asked, setAsked] = useState<AskedAction>();
  const [result, setResult] = useState<ActionResult>();
  const closed = async (isConfirmed: boolean, reason: string) => {
    setAsked(undefined);
    if (!asked || !isConfirmed) return;
    try {
      await asked.act(reason);
      setResult({ isDone: true, text: text("done") });
      onDone();
    } catch (error) {
      setResult({ isDone: false, text: text("notDone", { reason: reasonOf(error) }) });
    }
  };
  const ask = (action: AskedAction) => {
    setResult(undefined);
    setAsked(action);
  };
  const shown = (
    <>
      {asked && <ConfirmDialog asked={asked} onClose={(isConfirmed, reason) => void closed(isConfirmed, reason)} />}
      <p class={result && !result.isDone ? "problem" : "notice"} role="status" hidden={!result}>
        {result?.text}
      </p>
    </>
  );
  return { ask, shown };
}

/** Returns the words of a failure. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
