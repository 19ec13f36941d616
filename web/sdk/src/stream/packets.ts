import type { EntryInfo, LiveMessageInfo, RoomMessageInfo, SentMessage, StreamEnd } from "../api/types.ts";
import { GimletError } from "../errors.ts";
import type { Id } from "../ids.ts";
import type { OutgoingMessage } from "../model.ts";
import type { RoomRequest } from "./transport.ts";

// The packets of `gimlet.json.v1`; docs/asyncapi.json describes all of them.

/** A packet of the server that answers none of ours. */
export type ServerPacket =
  | ({ type: "message" } & EntryInfo)
  | ({ type: "live" } & LiveMessageInfo)
  | ({ type: "room" } & RoomMessageInfo)
  | ({ type: "close" } & ClosePacket);

/** The last packet of a connection. */
export interface ClosePacket {
  code: number;
  reason: string;
  come_back: "now" | "backoff" | "sign_in" | "never";
  retry_after_ms?: number;
}

/** Answers by the type of their packet. */
export interface Answers {
  sign_in: { epoch: Id; head: Id };
  sync: { entries: EntryInfo[]; more: boolean; head: Id; floor: Id; epoch: Id };
  send: SentMessage;
  subscribe_room: object;
  heartbeat: { epoch: Id; head: Id };
}

/** The reason of a refused packet. */
export interface ErrorInfo {
  code: number;
  detail: string;
  retry_after_ms?: number;
}

/** HTTP statuses of gimlet's codes; the others are refusals for good. */
const STATUS_OF_CODE: Readonly<Record<number, number>> = {
  2: 500,
  4: 504,
  12: 501,
  14: 503,
  10000: 401,
};

/** Returns the error that the same refusal is over HTTP. */
export function refusalOf({ code, detail, retry_after_ms }: ErrorInfo): GimletError {
  // Code 8 is a rate if waiting helps, and a limit that is reached if it does not.
  const status = STATUS_OF_CODE[code] ?? (code === 8 && retry_after_ms ? 429 : 400);
  const retry = retry_after_ms ? { retry_after_ms } : {};
  return new GimletError({ type: "about:blank", title: "refused", status, code, detail, ...retry });
}

/** Returns the end of a connection that its last packet describes. */
export function endOf({ code, reason, come_back, retry_after_ms }: ClosePacket): StreamEnd {
  const reconnect = come_back === "now" || come_back === "backoff";
  return { code, reason, reconnect, ...(retry_after_ms ? { retry_after_ms } : {}) };
}

/** Returns the end that a close code of gimlet's range means, if the last packet was lost. */
export function endOfCode(code: number, reason: string): StreamEnd | undefined {
  if (code < 4000 || code > 4399) return undefined;
  return { code, reason: reason || `closed with code ${code}`, reconnect: code < 4200 };
}

/** Returns the fields that name a receiver and a content, of a packet and of a request over HTTP. */
export function sendFields({ conversation, content, mentions }: OutgoingMessage): object {
  const [kind, id] = conversation.split(":");
  return {
    [kind === "group" ? "to_group" : "to_user"]: id,
    content,
    ...(mentions.length > 0 ? { mentions } : {}),
  };
}

/** Returns the fields that follow a room, or none. */
export function roomFields(room: RoomRequest | undefined): object {
  if (!room) return {};
  return { room_id: room.roomId, ...(room.from === undefined ? {} : { from: room.from }) };
}
