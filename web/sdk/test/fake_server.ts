import type { EntryInfo, MessageInfo, StreamEnd } from "../src/api/types.ts";
import type { FetchFunction } from "../src/api/http.ts";
import type { StreamEvent, StreamRequest, StreamTransport } from "../src/stream/transport.ts";
import { ME, message } from "./messages.ts";

/** What happens to a send. */
export type SendFate = "stored" | "answer lost" | "unreachable" | "refused" | "busy" | "signed out";

/** A server in memory: an inbox, sends that are recognised by their key, and faults on demand. */
export class FakeServer {
  readonly inbox: EntryInfo[] = [];
  readonly #byKey = new Map<string, MessageInfo>();
  readonly #connections = new Set<FakeConnection>();
  /** The fates of the next sends; then all are stored. */
  fates: SendFate[] = [];
  /** Epoch of the inbox. */
  epoch = "7";
  /** Seqs after which connections began. */
  readonly begun: string[] = [];
  /** Seqs that were acknowledged. */
  readonly acknowledged: string[] = [];

  /** Stores a message of another user. */
  receive(from: string, text: string): void {
    const id = String(this.inbox.length + 1);
    this.#store(message(id, from, ME, text));
  }

  /** Cuts all connections, or ends them with a last event. */
  cut(end?: StreamEnd): void {
    for (const connection of this.#connections) connection.end(end);
    this.#connections.clear();
  }

  #store(stored: MessageInfo): string {
    const seq = String(this.inbox.length + 1);
    const entry = { seq, message: stored };
    this.inbox.push(entry);
    for (const connection of this.#connections) connection.push({ kind: "entry", entry });
    return seq;
  }

  readonly fetch: FetchFunction = async (url, init) => {
    const path = new URL(url).pathname;
    const body = JSON.parse(String(init.body ?? "{}"));
    if (path === "/v1/inbox/ack") {
      this.acknowledged.push(body.seq);
      return new Response(null, { status: 204 });
    }
    if (path !== "/v1/messages") return refusal(404, "there is nothing here");
    const fate = this.fates.shift() ?? "stored";
    if (fate === "unreachable") throw new TypeError("fetch failed");
    if (fate === "refused") return refusal(403, "user 2 is not your friend");
    if (fate === "busy") return refusal(503, "unavailable");
    if (fate === "signed out") return refusal(401, "the token is not valid");
    const key = (init.headers as Record<string, string>)["Idempotency-Key"]!;
    let known = this.#byKey.get(key);
    if (!known) {
      const id = `m${this.#byKey.size + 1}`;
      known = { ...message("0", ME, body.to_user ?? `group:${body.to_group}`, ""), id, content: body.content };
      this.#byKey.set(key, known);
      this.#store(known);
    }
    if (fate === "answer lost") throw new TypeError("fetch failed");
    return Response.json({ message_id: known.id, seq: "1", repeated: false });
  };

  /** A transport to this server. */
  transport(): StreamTransport {
    const connect = (request: StreamRequest, signal: AbortSignal): AsyncIterable<StreamEvent> => {
      this.begun.push(request.after);
      const connection = new FakeConnection();
      const after = Number(request.after);
      connection.push({
        kind: "start",
        start: {
          user_id: ME,
          device_id: "2",
          after: request.after,
          head: String(this.inbox.length),
          floor: "0",
          epoch: this.epoch,
        },
      });
      for (const entry of this.inbox.slice(after)) connection.push({ kind: "entry", entry });
      this.#connections.add(connection);
      signal.addEventListener("abort", () => connection.end());
      return connection;
    };
    return { name: "fake", connect };
  }
}

function refusal(status: number, detail: string): Response {
  const problem = { type: "about:blank", title: "refused", status, code: 1, detail };
  return Response.json(problem, { status });
}

class FakeConnection implements AsyncIterable<StreamEvent> {
  readonly #events: StreamEvent[] = [];
  #isEnded = false;
  #wake: () => void = () => undefined;

  push(event: StreamEvent): void {
    this.#events.push(event);
    this.#wake();
  }

  end(end?: StreamEnd): void {
    if (end) this.#events.push({ kind: "end", end });
    this.#isEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<StreamEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event) {
        yield event;
        continue;
      }
      if (this.#isEnded) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
