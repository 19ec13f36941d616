import type { SentMessage } from "../api/types.ts";
import { Backoff, type BackoffOptions, delay } from "../backoff.ts";
import { GimletError, isTemporary } from "../errors.ts";
import type { ConversationId, OutgoingMessage } from "../model.ts";
import type { ClientState } from "./client_state.ts";

/** Conversations that are sent to at the same time. */
const MAX_CONVERSATIONS = 4;

/** Ids of own messages that arrived before their answer; more are never in flight. */
const MAX_ARRIVED = 200;

/** Sends one message; a repeat has the same client id. */
export type SendFunction = (message: OutgoingMessage) => Promise<SentMessage>;

/**
 * Sends the messages of the store: in each conversation one after the other, so that they keep their
 * order; again with the same client id after a failure, so that each is stored once.
 */
export class Outbox {
  readonly #send: SendFunction;
  readonly #state: ClientState;
  readonly #signal: AbortSignal;
  readonly #backoff: BackoffOptions | undefined;
  readonly #onSignedOut: (error: GimletError) => void;
  readonly #busy = new Set<ConversationId>();
  readonly #arrived = new Set<string>();
  #wake = new AbortController();

  constructor(
    send: SendFunction,
    state: ClientState,
    signal: AbortSignal,
    onSignedOut: (error: GimletError) => void,
    backoff?: BackoffOptions,
  ) {
    this.#send = send;
    this.#state = state;
    this.#signal = signal;
    this.#backoff = backoff;
    this.#onSignedOut = onSignedOut;
    state.events.on("messages", (messages) => {
      for (const { message } of messages) this.#noteArrived(message.id);
    });
    signal.addEventListener("abort", () => this.#wake.abort());
  }

  /** Sends what waits. Called after each new message and when the connection is live. */
  start(): void {
    for (const message of this.#state.outgoing) {
      if (this.#signal.aborted || this.#busy.size >= MAX_CONVERSATIONS) return;
      const { conversation } = message;
      if (this.#busy.has(conversation) || !this.#next(conversation)) continue;
      this.#busy.add(conversation);
      void this.#sendAll(conversation).finally(() => {
        this.#busy.delete(conversation);
        // Another conversation may have waited for a place.
        if (this.#state.outgoing.some((it) => this.#isDue(it))) this.start();
      });
    }
  }

  /** Repeats without further delay: the network is back. */
  retryNow(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
    this.start();
  }

  #isDue(message: OutgoingMessage): boolean {
    return (
      !this.#signal.aborted &&
      !this.#busy.has(message.conversation) &&
      message.messageId === undefined &&
      message.state !== "failed"
    );
  }

  #next(conversation: ConversationId): OutgoingMessage | undefined {
    return this.#state.outgoing.find(
      (it) =>
        it.conversation === conversation && it.messageId === undefined && it.state !== "failed",
    );
  }

  async #sendAll(conversation: ConversationId): Promise<void> {
    const backoff = new Backoff(this.#backoff);
    for (;;) {
      const message = this.#next(conversation);
      if (!message || this.#signal.aborted) return;
      await this.#change(message.clientId, { state: "sending" });
      try {
        const sent = await this.#send(message);
        backoff.reset();
        await this.#answered(message.clientId, sent.message_id);
      } catch (error) {
        if (this.#signal.aborted) return;
        if (error instanceof GimletError && error.isSignedOut) {
          await this.#change(message.clientId, { state: "waiting" });
          this.#onSignedOut(error);
          return;
        }
        if (!isTemporary(error)) {
          const code = error instanceof GimletError ? error.code : undefined;
          const { message: reason } = error as Error;
          await this.#change(message.clientId, { state: "failed", reason, code });
          continue;
        }
        await this.#change(message.clientId, { state: "waiting" });
        const advised = error instanceof GimletError ? (error.retryAfterMs ?? 0) : 0;
        await delay(backoff.next(advised), this.#wake.signal);
      }
    }
  }

  /** An answered message leaves when its entry is stored, whichever comes first. */
  #answered(clientId: string, messageId: string): Promise<void> {
    return this.#state.commit(() => {
      const message = this.#state.outgoingOf(clientId);
      if (!message) return undefined;
      if (this.#arrived.has(messageId)) return { removedOutgoing: [clientId] };
      return { outgoing: [{ ...message, state: "sending", messageId }] };
    });
  }

  #change(clientId: string, change: Partial<OutgoingMessage>): Promise<void> {
    return this.#state.commit(() => {
      const message = this.#state.outgoingOf(clientId);
      return message && { outgoing: [{ ...message, ...change }] };
    });
  }

  #noteArrived(messageId: string): void {
    this.#arrived.add(messageId);
    if (this.#arrived.size > MAX_ARRIVED) {
      const [oldest] = this.#arrived;
      if (oldest !== undefined) this.#arrived.delete(oldest);
    }
  }
}
