import { GimletError, UnreachableError } from "../errors.ts";
import { type Answers, type ErrorInfo, refusalOf, type ServerPacket } from "./packets.ts";

/** Subprotocol in which a text message is a JSON packet. */
const SUBPROTOCOL = "gimlet.json.v1";

/** Time within which the server must answer a packet, in milliseconds; a page is up to 400 KB. */
const ANSWER_TIMEOUT_MS = 20_000;

/** Largest packet that is sent, in bytes; the server closes a connection at 128 KiB. */
const MAX_PACKET_BYTES = 120 * 1024;

/** Makes a WebSocket: that of the runtime, or a package such as `ws`. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocket;

interface PendingAnswer {
  resolve: (answer: never) => void;
  reject: (error: unknown) => void;
  timer: ReturnType<typeof setTimeout>;
}

/** A WebSocket of packets: matches answers with requests, and bounds the wait for each. */
export class PacketSocket {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, PendingAnswer>();
  readonly #onPacket: (packet: ServerPacket) => void;
  readonly #onClose: (error: unknown, code: number, reason: string) => void;
  #rejectOpening: (error: unknown) => void = () => undefined;
  #lastId = 0;
  #isOpen = false;
  #isClosed = false;

  /** `onClose` is called once, after the last packet. */
  constructor(
    webSocket: WebSocketConstructor,
    url: string,
    onPacket: (packet: ServerPacket) => void,
    onClose: (error: unknown, code: number, reason: string) => void,
  ) {
    this.#onPacket = onPacket;
    this.#onClose = onClose;
    this.#socket = new webSocket(url, [SUBPROTOCOL]);
    this.#socket.onmessage = ({ data }) => this.#take(data);
    // A socket that cannot open has no close event in some runtimes.
    this.#socket.onerror = () => {
      if (!this.#isOpen) this.#end(new UnreachableError("the WebSocket did not open"), 0, "");
    };
    this.#socket.onclose = ({ code, reason }) =>
      this.#end(new UnreachableError(`the WebSocket closed with ${code}`), code, reason);
  }

  /** Waits until packets can be sent. */
  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#rejectOpening = reject;
      this.#socket.onopen = () => {
        this.#isOpen = true;
        if (this.#socket.protocol === SUBPROTOCOL) resolve();
        else this.fail(new UnreachableError(`the server does not speak ${SUBPROTOCOL}`));
      };
    });
  }

  /** Sends a packet and waits for its answer. */
  ask<Kind extends keyof Answers>(type: Kind, fields: object): Promise<Answers[Kind]> {
    const text = this.#textOf({ type, request_id: this.#lastId + 1, ...fields });
    if (text === undefined) return Promise.reject(new Error("the packet is too large"));
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.fail(new UnreachableError(`no answer to ${type} in time`)),
        ANSWER_TIMEOUT_MS,
      );
      this.#pending.set(id, { resolve, reject, timer });
      if (!this.#write(text)) this.fail(new UnreachableError("the WebSocket is closed"));
    });
  }

  /** Returns whether a packet with these fields is small enough to be sent. */
  carries(fields: object): boolean {
    return this.#textOf(fields) !== undefined;
  }

  /** Sends a packet that has no answer. */
  tell(type: string, fields: object): void {
    this.#write(JSON.stringify({ type, ...fields }));
  }

  /** Closes the socket without waiting for the other side, which may be gone. */
  fail(error: unknown): void {
    this.#socket.close();
    this.#end(error, 0, "");
  }

  #textOf(packet: object): string | undefined {
    const text = JSON.stringify(packet);
    // A character has at most three bytes, so only long texts are measured.
    const isSmall = text.length * 3 <= MAX_PACKET_BYTES;
    return isSmall || new TextEncoder().encode(text).length <= MAX_PACKET_BYTES ? text : undefined;
  }

  #write(text: string): boolean {
    if (this.#isClosed || this.#socket.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  #take(data: unknown): void {
    if (this.#isClosed) return;
    let packet: { type: string; request_id?: number; error?: ErrorInfo };
    try {
      packet = JSON.parse(String(data));
    } catch {
      return this.fail(new UnreachableError("the server sent a text that is not JSON"));
    }
    const pending = packet.request_id === undefined ? undefined : this.#pending.get(packet.request_id);
    // A pushed message may carry the request id of the backend that sent it.
    if (pending && packet.type !== "message" && packet.type !== "room" && packet.type !== "live") {
      this.#pending.delete(packet.request_id!);
      clearTimeout(pending.timer);
      if (packet.error) pending.reject(refusalOf(packet.error));
      else pending.resolve(packet as never);
      return;
    }
    this.#onPacket(packet as ServerPacket);
  }

  #end(error: unknown, code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose(error, code, reason);
    this.#rejectOpening(error);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      // Whether the server took the packet is not known.
      reject(error instanceof GimletError ? new UnreachableError(error) : error);
    }
    this.#pending.clear();
  }
}
