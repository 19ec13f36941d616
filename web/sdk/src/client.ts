import type { Content, SentMessage } from "./api/types.ts";
import { type FetchFunction, HttpApi } from "./api/http.ts";
import { UserOperations } from "./api/operations.ts";
import { type BackoffOptions, delay } from "./backoff.ts";
import type { Unsubscribe } from "./emitter.ts";
import { GimletError } from "./errors.ts";
import { type Id, newClientId } from "./ids.ts";
import type {
  ConnectionState,
  Conversation,
  ConversationId,
  FriendRequest,
  OutgoingMessage,
  StoredMessage,
} from "./model.ts";
import { EventStreamTransport } from "./stream/event_stream.ts";
import { sendFields } from "./stream/packets.ts";
import type { RoomRequest, StreamTransport } from "./stream/transport.ts";
import { type StreamIdentity, WebSocketTransport } from "./stream/web_socket.ts";
import { IndexedDbStore } from "./store/indexed_db_store.ts";
import type { LocalStore } from "./store/local_store.ts";
import { MemoryStore } from "./store/memory_store.ts";
import { type ClientEvents, ClientState } from "./sync/client_state.ts";
import { Connection } from "./sync/connection.ts";
import { markOf } from "./sync/fold.ts";
import { InboxSync } from "./sync/inbox_sync.ts";
import { Outbox } from "./sync/outbox.ts";
import { BrowserTabs, SingleTab, type TabGroup, type TabNote } from "./sync/tabs.ts";
import { type Upload, type UploadOptions, upload } from "./uploads.ts";

/** Time within which acknowledgements to the server are joined, in milliseconds. */
const ACK_INTERVAL_MS = 1_000;

/** Options of a client. */
export interface ClientOptions {
  /** Address of the server's HTTP listener, for example `https://chat.example.com`. */
  server: string;
  /** The bearer token: `USER.DEVICE.TOKEN`. */
  token: string;
  /** The signed-in user. */
  userId: Id;
  /** The device; each browser or program has one of its own. */
  deviceId: Id;
  /** Place for messages; by default IndexedDB in a browser, and memory elsewhere. */
  store?: LocalStore;
  /**
   * Ways to follow the inbox, in order of preference; by default a WebSocket, and server-sent events
   * where it cannot be had.
   */
  transports?: (api: HttpApi, identity: StreamIdentity) => StreamTransport[];
  /** Another `fetch`. */
  fetch?: FetchFunction;
  /** Delays between attempts. */
  backoff?: BackoffOptions;
}

/**
 * A user on a device: receives each message exactly once and in order, sends each once, and knows the
 * conversations. All tabs of a browser share one connection.
 */
export class GimletClient {
  /** Friends, groups, profiles, rooms. */
  readonly users: UserOperations;
  /** The signed-in user. */
  readonly userId: Id;
  /** The device of this client. */
  readonly deviceId: Id;
  readonly #api: HttpApi;
  readonly #options: ClientOptions;
  readonly #store: LocalStore;
  readonly #state: ClientState;
  readonly #end = new AbortController();
  #tabs: TabGroup = new SingleTab();
  #connection: Connection | undefined;
  #outbox: Outbox | undefined;
  #room: RoomRequest | undefined;
  #connectionState: ConnectionState = { kind: "offline" };
  #running: Promise<void> = Promise.resolve();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.userId = options.userId;
    this.deviceId = options.deviceId;
    this.#api = new HttpApi(options.server, options.token, options.fetch);
    this.users = new UserOperations(this.#api);
    this.#store =
      options.store ?? ("indexedDB" in globalThis ? new IndexedDbStore() : new MemoryStore());
    this.#state = new ClientState(this.#store);
  }

  /** Opens the store, and connects unless another tab does. Returns once what is stored can be shown. */
  async start(): Promise<void> {
    const owner = `${this.#options.userId}.${this.#options.deviceId}`;
    await this.#store.open(owner);
    if (this.#store.isShared && BrowserTabs.isSupported()) this.#tabs = new BrowserTabs(owner);
    this.#tabs.onNote = (note) => this.#heard(note);
    this.#state.onCommit = (change) => {
      this.#tabs.post({ kind: "change", change });
      if (change.outgoing) this.#outbox?.start();
    };
    await this.#state.load();
    this.#watchNetwork();
    this.#running = this.#lead().catch((error: unknown) => {
      if (!this.#end.signal.aborted) throw error;
    });
    this.#tabs.post({ kind: "hello" });
  }

  /** State of the connection, also of that of another tab. */
  get connection(): ConnectionState {
    return this.#connectionState;
  }

  /** Calls `listener` for each event of this name until the returned function is called. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (payload: ClientEvents[Name]) => void,
  ): Unsubscribe {
    return this.#state.events.on(name, listener);
  }

  /** Returns all conversations, the one with the newest message first. */
  conversations(): Conversation[] {
    return this.#state.conversations();
  }

  /** Returns a conversation, if it has a message. */
  conversation(id: ConversationId): Conversation | undefined {
    return this.#state.conversation(id);
  }

  /** Friend requests that were not answered, the newest first. */
  friendRequests(): FriendRequest[] {
    return this.#state.friendRequests;
  }

  /** Messages on their way, of one conversation or of all, oldest first. */
  outgoing(conversation?: ConversationId): OutgoingMessage[] {
    const all = this.#state.outgoing;
    return conversation === undefined ? all : all.filter((it) => it.conversation === conversation);
  }

  /** Returns up to `limit` messages before a seq (the newest without one), ascending. */
  history(conversation: ConversationId, before?: Id, limit = 50): Promise<StoredMessage[]> {
    return this.#store.history(conversation, before, limit);
  }

  /**
   * Sends a message. It is in the store, and survives a reload, when the promise is kept; its further
   * way is told by `outgoing`, and it arrives as one of `messages`.
   */
  async send(
    conversation: ConversationId,
    content: Content | string,
    options: { mentions?: Id[] } = {},
  ): Promise<string> {
    if (!/^(user|group):[1-9][0-9]*$/.test(conversation)) {
      throw new Error(`"${conversation}" takes no messages; use user:ID or group:ID`);
    }
    const clientId = newClientId();
    const message: OutgoingMessage = {
      clientId,
      conversation,
      content: typeof content === "string" ? { type: "text", text: content } : content,
      mentions: options.mentions ?? [],
      createdAt: this.#nextTime(),
      state: "waiting",
    };
    await this.#state.commit(() => ({ outgoing: [message] }));
    return clientId;
  }

  /** Sends a failed message again. */
  retry(clientId: string): Promise<void> {
    return this.#state.commit(() => {
      const message = this.#state.outgoingOf(clientId);
      return message && { outgoing: [{ ...message, state: "waiting", reason: undefined, code: undefined }] };
    });
  }

  /** Gives a failed message up. */
  discard(clientId: string): Promise<void> {
    return this.#state.commit(() => {
      const message = this.#state.outgoingOf(clientId);
      return message?.state === "failed" ? { removedOutgoing: [clientId] } : undefined;
    });
  }

  /** Marks a conversation as read to its end. */
  markRead(conversation: ConversationId): Promise<void> {
    return this.#state.commit(() => {
      const shown = this.#state.conversation(conversation);
      return shown && shown.unread > 0 ? { marks: [markOf(shown)] } : undefined;
    });
  }

  /** Accepts a friend request. */
  async acceptFriend(userId: Id): Promise<void> {
    await this.users.acceptFriend(userId);
    await this.#state.commit(() => ({ answeredRequests: [userId] }));
  }

  /** Puts a friend request aside; the other user is not told. */
  dismissFriend(userId: Id): Promise<void> {
    return this.#state.commit(() => ({ answeredRequests: [userId] }));
  }

  /** Follows a room, instead of another one; undefined follows none. */
  follow(room: RoomRequest | undefined): void {
    this.#room = room;
    if (this.#connection) this.#connection.follow(room);
    else this.#tabs.post({ kind: "follow", room });
  }

  /** Uploads a file; the answer has its address, for a content of type `image` or `file`. */
  upload(file: Blob, options: UploadOptions = {}): Promise<Upload> {
    return upload(this.#api, file, options);
  }

  /** Takes the connection back after another tab or program took it (`replaced`). */
  reconnect(): void {
    if (this.#connectionState.kind === "replaced") this.#running = this.#connect();
    else this.#connection?.reconnect();
  }

  /** Ends the sign-in: revokes the token and removes everything that is stored here. */
  async signOut(): Promise<void> {
    await this.#api.call("POST", "/v1/sign-out").catch((error: unknown) => {
      // A token that is no longer accepted is as good as revoked.
      if (!(error instanceof GimletError && error.isSignedOut)) throw error;
    });
    this.#tabs.post({ kind: "signed-out" });
    await this.close();
    await this.#store.clear();
  }

  /** Closes the connection. Nothing that is stored is lost. */
  async close(): Promise<void> {
    this.#end.abort();
    await this.#running.catch(() => undefined);
    this.#tabs.close();
    await this.#store.close();
  }

  async #lead(): Promise<void> {
    await this.#tabs.lead(this.#end.signal);
    // Another tab may have written since this one was opened.
    await this.#state.load();
    await this.#connect();
  }

  async #connect(): Promise<void> {
    const { signal } = this.#end;
    const sync = new InboxSync(this.#state, this.userId);
    const transports = (this.#options.transports ?? defaultTransports)(this.#api, this.#options);
    const onSignedOut = (error: GimletError) => this.#connection?.signOut(error.message);
    this.#outbox ??= new Outbox(
      (message) => this.#connection?.send(message) ?? this.#post(message),
      this.#state,
      signal,
      onSignedOut,
      this.#options.backoff,
    );
    this.#connection = new Connection(
      transports,
      this.#state,
      sync,
      signal,
      (state) => this.#tell(state),
      this.#options.backoff,
    );
    const offLive = this.on("live", (live) => this.#tabs.post({ kind: "live", live }));
    const offRoom = this.on("room", (room) => this.#tabs.post({ kind: "room", room }));
    if (this.#room) this.#connection.follow(this.#room);
    this.#outbox.start();
    const acks = this.#acknowledge();
    await this.#connection.run();
    offLive();
    offRoom();
    this.#connection = undefined;
    await acks;
  }

  /** Sends over HTTP: the connection is away, or takes no messages. */
  async #post(message: OutgoingMessage): Promise<SentMessage> {
    const sent = await this.#api.call<SentMessage>("POST", "/v1/messages", {
      headers: { "Idempotency-Key": message.clientId },
      body: sendFields(message),
      signal: this.#end.signal,
    });
    this.#connection?.expect(sent.seq);
    return sent;
  }

  /** Tells the server up to where this device has stored its inbox, once a second at most. */
  async #acknowledge(): Promise<void> {
    let told: Id | undefined = this.#state.cursor?.seq;
    while (!this.#end.signal.aborted && this.#connection) {
      await delay(ACK_INTERVAL_MS, this.#end.signal);
      const seq = this.#state.cursor?.seq;
      if (seq === undefined || seq === told || this.#connectionState.kind !== "live") continue;
      try {
        if (this.#connection.acknowledge(seq)) {
          told = seq;
          continue;
        }
        await this.#api.call("POST", "/v1/inbox/ack", { body: { seq }, signal: this.#end.signal });
        told = seq;
      } catch {
        // Only a hint to the server; the next one repeats it.
      }
    }
  }

  #tell(state: ConnectionState): void {
    this.#connectionState = state;
    this.#state.events.emit("connection", state);
    this.#tabs.post({ kind: "connection", state });
    if (state.kind === "live") this.#outbox?.retryNow();
  }

  #heard(note: TabNote): void {
    switch (note.kind) {
      case "change":
        this.#state.apply(note.change);
        if (note.change.outgoing) this.#outbox?.start();
        break;
      case "connection":
        this.#connectionState = note.state;
        this.#state.events.emit("connection", note.state);
        break;
      case "live":
        this.#state.events.emit("live", note.live);
        break;
      case "room":
        this.#state.events.emit("room", note.room);
        break;
      case "follow":
        this.#room = note.room;
        this.#connection?.follow(note.room);
        break;
      case "hello":
        if (this.#connection) this.#tabs.post({ kind: "connection", state: this.#connectionState });
        break;
      case "signed-out":
        this.#end.abort();
        this.#state.events.emit("connection", { kind: "signed-out", reason: "signed out" });
        break;
    }
  }

  #watchNetwork(): void {
    if (typeof window === "undefined") return;
    const { signal } = this.#end;
    const wake = () => {
      this.#connection?.wake();
      this.#outbox?.retryNow();
    };
    window.addEventListener("online", wake, { signal });
    // A socket may survive the end of its network for minutes: begin again at once.
    window.addEventListener("offline", () => this.#connection?.reconnect(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => document.visibilityState === "visible" && wake(),
      { signal },
    );
  }

  #lastTime = 0;

  /** Returns the time; later than before, because it orders the messages on their way. */
  #nextTime(): number {
    this.#lastTime = Math.max(Date.now(), this.#lastTime + 1);
    return this.#lastTime;
  }
}

/** A WebSocket where there is one; server-sent events go through everything that HTTP goes through. */
function defaultTransports(api: HttpApi, identity: StreamIdentity): StreamTransport[] {
  const events = new EventStreamTransport(api);
  return WebSocketTransport.isSupported() ? [new WebSocketTransport(api, identity), events] : [events];
}
