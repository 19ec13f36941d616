/** One server-sent event. */
export interface ServerSentEvent {
  /** Its name; `message` if it has none. */
  name: string;
  /** Its id, if it has one. */
  id: string | undefined;
  /** Its data. */
  data: string;
}

/** Longest line that is kept, in characters; gimlet's longest event is far below it. */
const MAX_LINE_LEN = 4 << 20;

/**
 * Splits a stream of text into server-sent events (the WHATWG HTML standard, section 9.2).
 * A stream may be cut anywhere; what is incomplete waits for the next piece.
 */
export class EventStreamParser {
  #rest = "";
  #name = "";
  #id: string | undefined;
  #data: string[] = [];

  /** Takes a piece of the stream; returns the events that it completes. */
  push(text: string): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    const all = this.#rest + text;
    let start = 0;
    for (;;) {
      const end = endOfLine(all, start);
      if (end === undefined) break;
      const event = this.#line(all.slice(start, end.at));
      if (event) events.push(event);
      start = end.next;
    }
    this.#rest = all.slice(start);
    if (this.#rest.length > MAX_LINE_LEN) throw new Error("an event of the stream is too long");
    return events;
  }

  #line(line: string): ServerSentEvent | undefined {
    if (line === "") return this.#complete();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#name = value;
    else if (field === "id") this.#id = value;
    else if (field === "data") this.#data.push(value);
    return undefined;
  }

  #complete(): ServerSentEvent | undefined {
    const event = { name: this.#name || "message", id: this.#id, data: this.#data.join("\n") };
    const isEmpty = this.#data.length === 0;
    this.#name = "";
    this.#id = undefined;
    this.#data = [];
    return isEmpty ? undefined : event;
  }
}

/** Finds the end of a line: CR LF, LF, or CR. A CR at the end waits for its LF. */
function endOfLine(text: string, start: number): { at: number; next: number } | undefined {
  for (let at = start; at < text.length; at += 1) {
    const char = text[at];
    if (char === "\n") return { at, next: at + 1 };
    if (char === "\r") {
      if (at + 1 === text.length) return undefined;
      return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
    }
  }
  return undefined;
}
