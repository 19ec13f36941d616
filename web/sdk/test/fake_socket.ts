import type { EntryInfo } from "../src/api/types.ts";
import { HttpApi } from "../src/api/http.ts";
import type { StreamEvent } from "../src/stream/transport.ts";
import { type WebSocketConstructor } from "../src/stream/packet_socket.ts";
import { WebSocketTransport } from "../src/stream/web_socket.ts";
import { ME, message } from "./messages.ts";

/** Entries of one page. */
const PAGE_ITEMS = 50;

/** Closes each connection that was opened. */
const ENDS: (() => Promise<void>)[] = [];

/** Closes the connections of a test. */
export async function closeAll(): Promise<void> {
  for (const end of ENDS.splice(0)) await end();
}

/** A packet as a test sees it. */
export type AnyPacket = { type: string; request_id?: number; [field: string]: unknown };

/** The other side of WebSockets: answers packets from an inbox, and does what a test says instead. */
export class FakeSocketServer {
  readonly inbox: EntryInfo[] = [];
  readonly sockets: FakeSocket[] = [];
  /** Every packet that arrived. */
  readonly packets: AnyPacket[] = [];
  /** The subprotocol that is chosen. */
  protocol = "gimlet.json.v1";
  /** Answers a packet instead of the server; undefined leaves it to the server, null answers nothing. */
  answer: (packet: AnyPacket, socket: FakeSocket) => object | null | undefined = () => undefined;

  /** Puts entries into the inbox without pushing them. */
  store(count: number, text = "hi"): EntryInfo[] {
    const fresh: EntryInfo[] = [];
    for (let added = 0; added < count; added += 1) {
      const seq = String(this.inbox.length + 1);
      fresh.push({ seq, message: message(seq, "2", ME, text) });
      this.inbox.push(fresh.at(-1)!);
    }
    return fresh;
  }

  /** Returns the packets of a type. */
  of(type: string): AnyPacket[] {
    return this.packets.filter((it) => it.type === type);
  }

  /** A constructor of WebSockets to this server. */
  get webSocket(): WebSocketConstructor {
    const server = this;
    return class extends FakeSocket {
      constructor(url: string) {
        super(server, url);
      }
    } as unknown as WebSocketConstructor;
  }

  /** A transport to this server. */
  transport(token = "1.2.t"): WebSocketTransport {
    const api = new HttpApi("http://gimlet.invalid", token);
    return new WebSocketTransport(api, { userId: ME, deviceId: "2" }, this.webSocket);
  }

  /** Opens a connection. */
  open(after = "0", transport = this.transport()) {
    const end = new AbortController();
    const stream = transport.connect({ after }, end.signal);
    const events = stream[Symbol.asyncIterator]();
    ENDS.push(async () => {
      end.abort();
      await events.return?.();
    });
    return { stream, events };
  }

  take(packet: AnyPacket, socket: FakeSocket): void {
    this.packets.push(packet);
    const own = this.answer(packet, socket);
    const fields = own === undefined ? this.#fields(packet) : own;
    if (fields) socket.push({ type: packet.type, request_id: packet.request_id, ...fields });
  }

  #fields(packet: AnyPacket): object | null {
    const head = String(this.inbox.length);
    switch (packet.type) {
      case "sign_in":
      case "heartbeat":
        return { epoch: "7", head };
      case "sync": {
        const after = Number(packet["after"]);
        const entries = this.inbox.slice(after, after + PAGE_ITEMS);
        const more = after + entries.length < this.inbox.length;
        return { entries, more, head, floor: "0", epoch: "7" };
      }
      case "send": {
        const [entry] = this.store(1);
        return { message_id: entry!.message.id, seq: entry!.seq, repeated: false };
      }
      case "subscribe_room":
        return {};
      default:
        return null;
    }
  }
}

/** A WebSocket of a test. */
export class FakeSocket extends EventTarget {
  readyState = 0;
  protocol = "";
  onopen: () => void = () => undefined;
  onmessage: (event: { data: string }) => void = () => undefined;
  onerror: () => void = () => undefined;
  onclose: (event: { code: number; reason: string }) => void = () => undefined;

  constructor(
    readonly server: FakeSocketServer,
    readonly url: string,
  ) {
    super();
    server.sockets.push(this);
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.protocol = server.protocol;
      this.onopen();
    });
  }

  send(text: string): void {
    const packet = JSON.parse(text) as AnyPacket;
    queueMicrotask(() => this.readyState === 1 && this.server.take(packet, this));
  }

  /** Sends a packet to the client. */
  push(packet: object): void {
    this.onmessage({ data: JSON.stringify(packet) });
  }

  close(code = 1005, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    queueMicrotask(() => this.onclose({ code, reason }));
  }
}

/** Takes `count` events, or those until the end. */
export async function take(
  events: AsyncIterator<StreamEvent>,
  count: number,
): Promise<StreamEvent[]> {
  const taken: StreamEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await events.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}

/** The seqs of the entries among events. */
export function seqsOf(events: StreamEvent[]): number[] {
  return events.flatMap((it) => (it.kind === "entry" ? [Number(it.entry.seq)] : []));
}

/** The numbers from one to another. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}
