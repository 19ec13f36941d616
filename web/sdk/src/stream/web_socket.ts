import type { HttpApi } from "../api/http.ts";
import type { EntryInfo, SentMessage } from "../api/types.ts";
import { delay } from "../backoff.ts";
import { GimletError, UnreachableError } from "../errors.ts";
import { compareIds, type Id, laterId } from "../ids.ts";
import type { OutgoingMessage } from "../model.ts";
import { endOf, endOfCode, roomFields, sendFields, type ServerPacket } from "./packets.ts";
import { PacketSocket, type WebSocketConstructor } from "./packet_socket.ts";
import type {
  RoomRequest,
  StreamConnection,
  StreamEvent,
  StreamRequest,
  StreamTransport,
} from "./transport.ts";

/** Time within which a connection must be signed in, in milliseconds. */
const START_TIMEOUT_MS = 10_000;

/** Time between heartbeats, in milliseconds; proxies close a connection that is silent for 60 s. */
const HEARTBEAT_MS = 30_000;

/** Time between reads of own messages, in milliseconds: a burst of sends shares one. */
const OWN_SYNC_INTERVAL_MS = 100;

/** Pushed entries that wait to be taken; what is pushed then is read from the inbox later. */
const MAX_WAITING_ENTRIES = 1_000;

/** The user and device that a connection signs in. */
export interface StreamIdentity {
  userId: Id;
  deviceId: Id;
}

/** Follows the inbox, and sends, by JSON packets over a WebSocket. */
export class WebSocketTransport implements StreamTransport {
  readonly name = "websocket";
  readonly #api: HttpApi;
  readonly #identity: StreamIdentity;
  readonly #webSocket: WebSocketConstructor;

  /** `webSocket` is the runtime's `WebSocket` by default; Node has one from 22 on. */
  constructor(
    api: HttpApi,
    identity: StreamIdentity,
    webSocket: WebSocketConstructor = globalThis.WebSocket,
  ) {
    this.#api = api;
    this.#identity = identity;
    this.#webSocket = webSocket;
  }

  /** Returns whether this runtime has WebSockets. */
  static isSupported(): boolean {
    return "WebSocket" in globalThis;
  }

  connect(request: StreamRequest, signal: AbortSignal): StreamConnection {
    const { userId, deviceId } = this.#identity;
    const token = this.#api.token ?? "";
    // A JWT names no device.
    const isNamed = token.startsWith(`${userId}.${deviceId}.`);
    const credentials = isNamed ? { token } : { token, user_id: userId, device_id: deviceId };
    const url = `${this.#api.server.replace(/^http/, "ws")}/ws`;
    const endpoint = { webSocket: this.#webSocket, url, identity: this.#identity, credentials };
    return new WebSocketConnection(endpoint, request, signal);
  }
}

/** The other side of a connection, and the fields that sign in. */
interface SocketEndpoint {
  webSocket: WebSocketConstructor;
  url: string;
  identity: StreamIdentity;
  credentials: object;
}

/**
 * One WebSocket as a stream of entries without gaps. Pages are asked for when the entries before them
 * are taken, so a slow reader slows the server down; a push that does not fit, or that comes after a
 * gap, is read from the inbox.
 */
class WebSocketConnection implements StreamConnection {
  readonly #endpoint: SocketEndpoint;
  readonly #signal: AbortSignal;
  #room: RoomRequest | undefined;
  #socket: PacketSocket | undefined;
  #hasStarted = false;
  readonly #events: StreamEvent[] = [];
  #waitingEntries = 0;
  /** Seq of the last entry that was put into `#events`. */
  #place: Id;
  /** Seq up to which the inbox is known to go. */
  #target: Id = "0";
  #isSyncing = false;
  #syncedAt = 0;
  #isWakePlanned = false;
  #isClosed = false;
  #failure: unknown;
  #wake: () => void = () => undefined;

  constructor(endpoint: SocketEndpoint, request: StreamRequest, signal: AbortSignal) {
    this.#endpoint = endpoint;
    this.#signal = signal;
    this.#room = request.room;
    this.#place = request.after;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<StreamEvent> {
    const stop = () => this.#socket?.fail(new UnreachableError("closed by this side"));
    this.#signal.addEventListener("abort", stop);
    let heartbeat: ReturnType<typeof setInterval> | undefined;
    try {
      if (this.#signal.aborted) return;
      const start = await this.#start();
      heartbeat = setInterval(() => this.probe(), HEARTBEAT_MS);
      yield start;
      for (;;) {
        const event = this.#events.shift();
        if (event) {
          if (event.kind === "entry") this.#waitingEntries -= 1;
          yield event;
        } else if (this.#isClosed) {
          if (this.#failure !== undefined) throw this.#failure;
          return;
        } else {
          if (compareIds(this.#place, this.#target) < 0) void this.#sync();
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    } finally {
      clearInterval(heartbeat);
      this.#signal.removeEventListener("abort", stop);
      stop();
    }
  }

  send(message: OutgoingMessage): Promise<SentMessage> | undefined {
    const fields = { ...sendFields(message), client_message_id: message.clientId };
    // A packet that is too large goes over HTTP, where the server refuses it with words.
    if (!this.#hasStarted || this.#isClosed || !this.#socket?.carries(fields)) return undefined;
    return this.#socket.ask("send", fields).then((sent) => {
      this.expect(sent.seq);
      return sent;
    });
  }

  acknowledge(seq: Id): void {
    this.#socket?.tell("ack", { seq });
  }

  follow(room: RoomRequest | undefined): void {
    this.#room = room;
    if (this.#hasStarted) this.#subscribe();
  }

  /** The answer to an own send stands for its entry, which is not pushed: it is read from the inbox. */
  expect(seq: Id): void {
    if (compareIds(seq, this.#target) <= 0) return;
    this.#target = seq;
    if (this.#syncedAt + OWN_SYNC_INTERVAL_MS <= Date.now()) return this.#wake();
    if (this.#isWakePlanned) return;
    this.#isWakePlanned = true;
    void delay(OWN_SYNC_INTERVAL_MS, this.#signal).then(() => {
      this.#isWakePlanned = false;
      this.#wake();
    });
  }

  probe(): void {
    if (!this.#hasStarted) return;
    this.#socket?.ask("heartbeat", {}).then(
      ({ head }) => this.expect(head),
      () => undefined,
    );
  }

  /** Opens the socket and signs in; the first page is asked for in the same breath. */
  async #start(): Promise<StreamEvent> {
    const { webSocket, url, identity, credentials } = this.#endpoint;
    const timer = setTimeout(
      () => this.#socket?.fail(new UnreachableError("the WebSocket did not open in time")),
      START_TIMEOUT_MS,
    );
    try {
      const onClose = (error: unknown, code: number, reason: string) => this.#ended(error, code, reason);
      try {
        this.#socket = new PacketSocket(webSocket, url, (it) => this.#take(it), onClose);
      } catch (error) {
        // A policy of the page forbids it.
        throw new UnreachableError(error);
      }
      await this.#socket.opened();
      const signedIn = this.#socket.ask("sign_in", credentials);
      const after = this.#place;
      const page = this.#socket.ask("sync", { after });
      // Its refusal means nothing if the sign-in was refused.
      page.catch(() => undefined);
      if (this.#room) this.#subscribe();
      const { epoch, head } = await signedIn;
      this.#hasStarted = true;
      this.#target = laterId(this.#target, head);
      this.#isSyncing = true;
      const floor = await this.#takePage(page);
      return {
        kind: "start",
        start: {
          user_id: identity.userId,
          device_id: identity.deviceId,
          after,
          head,
          floor,
          epoch,
        },
      };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Reads the next page, unless one is on its way. */
  async #sync(): Promise<void> {
    if (this.#isSyncing || !this.#socket) return;
    this.#isSyncing = true;
    this.#syncedAt = Date.now();
    try {
      await this.#takePage(this.#socket.ask("sync", { after: this.#place }));
    } catch (error) {
      if (!(error instanceof GimletError) || !error.isTemporary) return this.#socket.fail(error);
      // Too fast: the entries are in the inbox and do not run away.
      await delay((error.retryAfterMs ?? 0) + Math.random() * 1_000, this.#signal);
      this.#wake();
    }
  }

  async #takePage(asked: Promise<{ entries: EntryInfo[]; more: boolean; head: Id; floor: Id }>): Promise<Id> {
    try {
      const expected = this.#target;
      const { entries, more, head, floor } = await asked;
      for (const entry of entries) {
        if (compareIds(entry.seq, this.#place) > 0) this.#put(entry);
      }
      if (more) this.#target = laterId(this.#target, head);
      // The inbox ends here, whatever was expected; what was pushed meanwhile is behind that.
      else if (entries.length === 0 && this.#target === expected) this.#target = this.#place;
      return floor;
    } finally {
      this.#isSyncing = false;
      this.#wake();
    }
  }

  #take(packet: ServerPacket): void {
    switch (packet.type) {
      case "message": {
        const { seq, message } = packet;
        this.#target = laterId(this.#target, seq);
        // What comes behind a gap, or does not fit, is read from the inbox; what is known is dropped.
        const isNext = BigInt(seq) === BigInt(this.#place) + 1n;
        if (isNext && this.#waitingEntries < MAX_WAITING_ENTRIES) this.#put({ seq, message });
        break;
      }
      case "live":
        this.#putHint({ kind: "live", live: { message: packet.message } });
        break;
      case "room": {
        const { room_id, seq, message } = packet;
        this.#putHint({ kind: "room", room: { room_id, seq, message } });
        break;
      }
      case "close":
        this.#events.push({ kind: "end", end: endOf(packet) });
        break;
    }
    this.#wake();
  }

  #put(entry: EntryInfo): void {
    this.#place = entry.seq;
    this.#waitingEntries += 1;
    this.#events.push({ kind: "entry", entry });
  }

  /** Messages outside of the inbox are best effort; a reader that is far behind misses them. */
  #putHint(event: StreamEvent): void {
    if (this.#events.length < 2 * MAX_WAITING_ENTRIES) this.#events.push(event);
  }

  #subscribe(): void {
    this.#socket?.ask("subscribe_room", roomFields(this.#room)).catch((error: unknown) => {
      // A refused room leaves the inbox as it is; what may succeed later is tried with a new connection.
      if (error instanceof GimletError && error.isTemporary) this.#socket?.fail(error);
    });
  }

  #ended(error: unknown, code: number, reason: string): void {
    this.#isClosed = true;
    this.#failure = error;
    const isTold = this.#events.some((it) => it.kind === "end");
    const end = isTold ? undefined : endOfCode(code, reason);
    if (end) this.#events.push({ kind: "end", end });
    this.#wake();
  }
}
