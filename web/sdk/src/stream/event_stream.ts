import type { HttpApi } from "../api/http.ts";
import { UnreachableError } from "../errors.ts";
import { EventStreamParser, type ServerSentEvent } from "./sse_parser.ts";
import type { StreamConnection, StreamEvent, StreamRequest, StreamTransport } from "./transport.ts";

/** Silence after which a connection is taken for dead: the server comments every 15 s. */
const SILENCE_MS = 40_000;

/**
 * Follows the inbox by server-sent events. It uses `fetch`, so the token goes in a header and not in
 * the address, as `EventSource` would need it.
 */
export class EventStreamTransport implements StreamTransport {
  readonly name = "sse";
  readonly #api: HttpApi;

  constructor(api: HttpApi) {
    this.#api = api;
  }

  connect(request: StreamRequest, signal: AbortSignal): StreamConnection {
    return this.#events(request, signal);
  }

  async *#events(request: StreamRequest, signal: AbortSignal): AsyncIterable<StreamEvent> {
    const silence = new SilenceTimer(signal);
    try {
      const response = await this.#api.open("GET", "/v1/inbox/events", {
        query: {
          after: request.after,
          room: request.room?.roomId,
          room_from: request.room?.from,
        },
        headers: { Accept: "text/event-stream" },
        signal: silence.signal,
      });
      if (!response.body) throw new UnreachableError("the answer has no body");
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const parser = new EventStreamParser();
      // Node 20 may forget the signal of a request whose answer has begun (when memory is collected).
      const cancel = () => void reader.cancel().catch(() => undefined);
      silence.signal.addEventListener("abort", cancel);
      try {
        for (;;) {
          silence.restart();
          const { done, value } = await reader.read();
          if (done && silence.signal.aborted) throw new UnreachableError("the server fell silent");
          if (done) return;
          for (const event of parser.push(decoder.decode(value, { stream: true }))) {
            const read = streamEvent(event);
            if (read) yield read;
          }
        }
      } finally {
        silence.signal.removeEventListener("abort", cancel);
        await reader.cancel().catch(() => undefined);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TypeError || (error as Error)?.name === "AbortError") {
        throw new UnreachableError(error);
      }
      throw error;
    } finally {
      silence.stop();
    }
  }
}

/** Reads an event; those of kinds that this version does not know are passed over. */
function streamEvent(event: ServerSentEvent): StreamEvent | undefined {
  const data = JSON.parse(event.data);
  switch (event.name) {
    case "start":
      return { kind: "start", start: data };
    case "message":
      return { kind: "entry", entry: data };
    case "live":
      return { kind: "live", live: data };
    case "room":
      return { kind: "room", room: data };
    case "close":
      return { kind: "end", end: data };
    default:
      return undefined;
  }
}

/** Aborts when nothing was heard for a while, or with an outer signal. */
class SilenceTimer {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#abort);
    if (outer.aborted) this.#abort();
    this.restart();
  }

  readonly #abort = (): void => this.#controller.abort();

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, SILENCE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
  }
}
