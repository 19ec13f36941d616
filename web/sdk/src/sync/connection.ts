import type { StreamEnd } from "../api/types.ts";
import { Backoff, type BackoffOptions, delay } from "../backoff.ts";
import { GimletError } from "../errors.ts";
import { compareIds, type Id } from "../ids.ts";
import type { ConnectionState } from "../model.ts";
import type { RoomRequest, StreamTransport } from "../stream/transport.ts";
import type { ClientState } from "./client_state.ts";
import type { InboxSync } from "./inbox_sync.ts";

/** Close code of a connection that a newer one of the same device replaced. */
const REPLACED = 4300;

/** Keeps one connection open: connects, reads, waits, and connects again. */
export class Connection {
  readonly #transports: StreamTransport[];
  readonly #state: ClientState;
  readonly #sync: InboxSync;
  readonly #backoff: Backoff;
  readonly #signal: AbortSignal;
  readonly #onState: (state: ConnectionState) => void;
  #room: RoomRequest | undefined;
  #wake = new AbortController();
  #current = new AbortController();
  #attempt = 0;
  #way = 0;
  #signedOut: ConnectionState | undefined;

  /** `transports` are tried in turn: the next one after a connection that never started. */
  constructor(
    transports: StreamTransport[],
    state: ClientState,
    sync: InboxSync,
    signal: AbortSignal,
    onState: (state: ConnectionState) => void,
    backoff?: BackoffOptions,
  ) {
    this.#transports = transports;
    this.#state = state;
    this.#sync = sync;
    this.#signal = signal;
    this.#onState = onState;
    this.#backoff = new Backoff(backoff);
    signal.addEventListener("abort", () => {
      this.#current.abort();
      this.#wake.abort();
    });
  }

  /** Ends a wait: the network is back, or somebody looks at the page. */
  wake(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  /** Follows another room, or none. The connection begins again. */
  follow(room: RoomRequest | undefined): void {
    this.#room = room;
    this.#current.abort();
    this.wake();
  }

  /** Closes the connection and opens it again at once: the network changed. */
  reconnect(): void {
    this.#current.abort();
    this.wake();
  }

  /** Ends the connection for good: the token is no longer accepted. */
  signOut(reason: string): void {
    this.#signedOut = { kind: "signed-out", reason };
    this.reconnect();
  }

  /** Runs until the client is closed, replaced or signed out. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      if (this.#signedOut) return this.#onState(this.#signedOut);
      this.#attempt += 1;
      this.#onState({ kind: "connecting", attempt: this.#attempt });
      this.#current = new AbortController();
      const end = await this.#once().catch((error: unknown) => error);
      if (this.#signal.aborted) return;
      const last = this.#lastState(end);
      if (last) return this.#onState(last);
      if (this.#current.signal.aborted) continue;
      await this.#wait(end);
    }
  }

  async #once(): Promise<StreamEnd | undefined> {
    const transport = this.#transports[this.#way % this.#transports.length]!;
    let hasStarted = false;
    let head: Id = "0";
    try {
      const request = { after: this.#sync.after, room: this.#room };
      for await (const event of transport.connect(request, this.#current.signal)) {
        switch (event.kind) {
          case "start":
            hasStarted = true;
            head = event.start.head;
            // An emptied store begins again from seq 0, without a wait.
            if (!(await this.#sync.begin(event.start))) return { code: 0, reason: "", reconnect: true };
            this.#noteProgress(this.#sync.after, head);
            break;
          case "entry":
            await this.#sync.take(event.entry);
            this.#noteProgress(event.entry.seq, head);
            break;
          case "live":
            this.#state.events.emit("live", event.live);
            break;
          case "room":
            this.#noteRoom(event.room.seq);
            this.#state.events.emit("room", event.room);
            break;
          case "end":
            await this.#sync.settled();
            return event.end;
        }
      }
      await this.#sync.settled();
      return undefined;
    } finally {
      if (!hasStarted) this.#way += 1;
    }
  }

  #isLive = false;

  #noteProgress(seq: Id, head: Id): void {
    if (compareIds(seq, head) >= 0) {
      if (!this.#isLive) {
        this.#isLive = true;
        this.#attempt = 0;
        this.#backoff.reset();
        this.#onState({ kind: "live" });
      }
      return;
    }
    const remaining = Number(BigInt(head) - BigInt(seq));
    // One report for every hundred entries is enough for a progress bar.
    if (!this.#isLive && (remaining % 100 === 0 || seq === this.#sync.after)) {
      this.#onState({ kind: "syncing", remaining });
    }
  }

  /** A later connection follows the room from the next message on. */
  #noteRoom(seq: Id): void {
    if (this.#room) this.#room = { ...this.#room, from: String(BigInt(seq) + 1n) };
  }

  /** Returns the state after which there is no further connection. */
  #lastState(end: unknown): ConnectionState | undefined {
    this.#isLive = false;
    if (end instanceof GimletError && end.isSignedOut) {
      return { kind: "signed-out", reason: end.message };
    }
    if (isStreamEnd(end) && !end.reconnect) {
      if (end.code === REPLACED) return { kind: "replaced", reason: end.reason };
      return { kind: "signed-out", reason: end.reason };
    }
    return undefined;
  }

  async #wait(end: unknown): Promise<void> {
    let advised = 0;
    let reason = "the connection ended";
    if (isStreamEnd(end)) {
      if (end.code === 0) return;
      advised = end.retry_after_ms ?? 0;
      reason = end.reason;
    } else if (end instanceof Error) {
      advised = end instanceof GimletError ? (end.retryAfterMs ?? 0) : 0;
      reason = end.message;
    }
    const ms = this.#backoff.next(advised);
    this.#onState({ kind: "waiting", until: Date.now() + ms, reason });
    await delay(ms, this.#wake.signal);
  }
}

function isStreamEnd(end: unknown): end is StreamEnd {
  return typeof end === "object" && end !== null && "reconnect" in end;
}
