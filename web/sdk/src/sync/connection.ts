import type { SentMessage, StreamEnd } from "../api/types.ts";
import { Backoff, type BackoffOptions, delay } from "../backoff.ts";
import { GimletError, UnreachableError } from "../errors.ts";
import { compareIds, type Id } from "../ids.ts";
import type { ConnectionState, OutgoingMessage } from "../model.ts";
import type { RoomRequest, StreamConnection, StreamTransport } from "../stream/transport.ts";
import type { ClientState } from "./client_state.ts";
import type { InboxSync } from "./inbox_sync.ts";

/** Close codes from here on: come back only if somebody asks for it. 4300 is a newer sign-in. */
const STAY_AWAY = 4300;

/** Time after which a transport that did not start is tried again, in milliseconds. */
const RETRY_TRANSPORT_MS = 300_000;

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
  #stream: StreamConnection | undefined;
  #attempt = 0;
  /** The transport that started while those before it did not, for example because of a proxy. */
  #detour: { way: number; until: number } | undefined;
  #signedOut: ConnectionState | undefined;

  /** `transports` are tried in this order until one of them starts. */
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

  /** Ends a wait, or finds out whether the connection still is one: somebody looks at the page. */
  wake(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
    this.#stream?.probe?.();
  }

  /** Sends over the connection; undefined if it is away or takes no messages. */
  send(message: OutgoingMessage): Promise<SentMessage> | undefined {
    return this.#stream?.send?.(message);
  }

  /** Tells the server what is stored; returns false if the connection cannot. */
  acknowledge(seq: Id): boolean {
    if (!this.#stream?.acknowledge) return false;
    this.#stream.acknowledge(seq);
    return true;
  }

  /** An entry up to this seq exists, for example of a message that was sent over HTTP. */
  expect(seq: Id): void {
    this.#stream?.expect?.(seq);
  }

  /** Follows another room, or none. A connection that cannot change its room begins again. */
  follow(room: RoomRequest | undefined): void {
    this.#room = room;
    if (this.#stream?.follow) this.#stream.follow(room);
    else this.reconnect();
  }

  /** Closes the connection and opens it again at once: the network changed. */
  reconnect(): void {
    // What another network does not let through, this one may.
    this.#detour = undefined;
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

  /** Opens a connection over the first transport that starts, and reads it to its end. */
  async #once(): Promise<StreamEnd | undefined> {
    const { signal } = this.#current;
    const detour = this.#detour && this.#detour.until > Date.now() ? this.#detour : undefined;
    let hasStarted = false;
    for (let way = detour?.way ?? 0; ; way += 1) {
      const onStart = () => {
        hasStarted = true;
        if (way === 0) this.#detour = undefined;
        else if (!detour) this.#detour = { way, until: Date.now() + RETRY_TRANSPORT_MS };
      };
      try {
        return await this.#over(this.#transports[way]!, signal, onStart);
      } catch (error) {
        // A server that refuses would refuse on the other ways too.
        const isUnreachable = error instanceof UnreachableError && !hasStarted && !signal.aborted;
        if (!isUnreachable || way + 1 >= this.#transports.length) throw error;
      }
    }
  }

  /** Reads one connection to its end. */
  async #over(
    transport: StreamTransport,
    signal: AbortSignal,
    onStart: () => void,
  ): Promise<StreamEnd | undefined> {
    let head: Id = "0";
    const note = (seq: Id) => this.#noteProgress(seq, head, transport.name);
    const stream = transport.connect({ after: this.#sync.after, room: this.#room }, signal);
    try {
      for await (const event of stream) {
        switch (event.kind) {
          case "start":
            onStart();
            head = event.start.head;
            // An emptied store begins again from seq 0, without a wait.
            if (!(await this.#sync.begin(event.start))) return { code: 0, reason: "", reconnect: true };
            this.#stream = stream;
            note(this.#sync.after);
            break;
          case "entry":
            await this.#sync.take(event.entry);
            note(event.entry.seq);
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
      this.#stream = undefined;
    }
  }

  #isLive = false;

  #noteProgress(seq: Id, head: Id, transport: string): void {
    if (compareIds(seq, head) >= 0) {
      if (!this.#isLive) {
        this.#isLive = true;
        this.#attempt = 0;
        this.#backoff.reset();
        this.#onState({ kind: "live", transport });
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
      if (end.code >= STAY_AWAY) return { kind: "replaced", reason: end.reason };
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
    // The attempt that follows.
    this.#onState({ kind: "waiting", attempt: this.#attempt + 1, until: Date.now() + ms, reason });
    await delay(ms, this.#wake.signal);
  }
}

function isStreamEnd(end: unknown): end is StreamEnd {
  return typeof end === "object" && end !== null && "reconnect" in end;
}
