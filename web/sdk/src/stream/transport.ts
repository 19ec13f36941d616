import type {
  EntryInfo,
  LiveMessageInfo,
  RoomMessageInfo,
  StreamEnd,
  StreamStart,
} from "../api/types.ts";
import type { Id } from "../ids.ts";

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
 * A way to follow an inbox. The events of a connection come in order; the connection ends when the
 * iteration does, or throws.
 */
export interface StreamTransport {
  /** Name for logs and for the state that an application shows. */
  readonly name: string;
  /** Opens one connection. `signal` closes it. */
  connect(request: StreamRequest, signal: AbortSignal): AsyncIterable<StreamEvent>;
}
