import type {
  EntryInfo,
  LiveMessageInfo,
  RoomMessageInfo,
  SentMessage,
  StreamEnd,
  StreamStart,
} from "../api/types.ts";
import type { Id } from "../ids.ts";
import type { OutgoingMessage } from "../model.ts";

/** A room that a connection follows besides the inbox. */
export interface RoomRequest {
  /** The room. */
  roomId: Id;
  /** First position wanted; without one, only new messages. */
  from?: Id | undefined;
}

/** Where a connection begins. */
export interface StreamRequest {
  /** The entries after this seq are sent. */
  after: Id;
  /** The room to follow. */
  room?: RoomRequest | undefined;
}

/** An event of a connection. */
export type StreamEvent =
  | { kind: "start"; start: StreamStart }
  | { kind: "entry"; entry: EntryInfo }
  | { kind: "live"; live: LiveMessageInfo }
  | { kind: "room"; room: RoomMessageInfo }
  | { kind: "end"; end: StreamEnd };

/**
 * One connection. Its events come in order; it ends when the iteration does, or throws. A connection
 * that takes requests has the methods; without them, requests are made over HTTP.
 */
export interface StreamConnection extends AsyncIterable<StreamEvent> {
  /** Sends a message; undefined if this connection cannot carry it. */
  send?(message: OutgoingMessage): Promise<SentMessage> | undefined;
  /** Reports the seq up to which this device has stored the inbox. */
  acknowledge?(seq: Id): void;
  /** Follows another room, or none, without a new connection. */
  follow?(room: RoomRequest | undefined): void;
  /** Asks for the entries up to this seq, unless they arrive by themselves. */
  expect?(seq: Id): void;
  /** Finds out soon whether the other side is still there. */
  probe?(): void;
}

/** A way to follow an inbox. */
export interface StreamTransport {
  /** Name for logs and for the state that an application shows. */
  readonly name: string;
  /** Opens one connection. `signal` closes it. */
  connect(request: StreamRequest, signal: AbortSignal): StreamConnection;
}
