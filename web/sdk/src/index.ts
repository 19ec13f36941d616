/**
 * Client of gimlet for browsers, Node and other runtimes with `fetch`.
 *
 * `GimletClient` is a user on a device. `signIn` makes the token that it needs; a backend that issues
 * tokens itself passes its own.
 */
export type * from "./api/types.ts";
export { HttpApi, type FetchFunction, type RequestOptions } from "./api/http.ts";
export { registerDevice, signIn, UserOperations } from "./api/operations.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
export { type ClientOptions, GimletClient } from "./client.ts";
export type { Unsubscribe } from "./emitter.ts";
export { GimletError, isTemporary, RefusalCode, UnreachableError } from "./errors.ts";
export { compareIds, type Id } from "./ids.ts";
export type * from "./model.ts";
export { IndexedDbStore } from "./store/indexed_db_store.ts";
export type { LocalStore, StoreChange, StoreSnapshot } from "./store/local_store.ts";
export { MemoryStore } from "./store/memory_store.ts";
export { EventStreamTransport } from "./stream/event_stream.ts";
export type { WebSocketConstructor } from "./stream/packet_socket.ts";
export type {
  RoomRequest,
  StreamConnection,
  StreamEvent,
  StreamRequest,
  StreamTransport,
} from "./stream/transport.ts";
export { type StreamIdentity, WebSocketTransport } from "./stream/web_socket.ts";
export type { ClientEvents } from "./sync/client_state.ts";
export { conversationOf } from "./sync/fold.ts";
export type { Upload, UploadOptions } from "./uploads.ts";
