import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser, type ServerSentEvent } from "../src/stream/sse_parser.ts";

const STREAM =
  'retry: 2000\nid: 0\nevent: start\ndata: {"a":1}\n\n: comment\n\nid: 1\r\ndata: x\r\ndata: y\r\n\r\n' +
  "data:no space\r\rdata\n\n";

const EVENTS: ServerSentEvent[] = [
  { name: "start", id: "0", data: '{"a":1}' },
  { name: "message", id: "1", data: "x\ny" },
  { name: "message", id: undefined, data: "no space" },
  { name: "message", id: undefined, data: "" },
];

test("a stream that is cut anywhere gives the same events", () => {
  for (let first = 0; first <= STREAM.length; first += 1) {
    for (const second of [first, first + 1, first + 3]) {
      const parser = new EventStreamParser();
      const pieces = [STREAM.slice(0, first), STREAM.slice(first, second), STREAM.slice(second)];
      assert.deepEqual(pieces.flatMap((piece) => parser.push(piece)), EVENTS, `cut at ${first}`);
    }
  }
});

test("an event that never ends is refused", () => {
  const parser = new EventStreamParser();
  const piece = "x".repeat(1 << 20);
  assert.throws(() => {
    for (let count = 0; count < 6; count += 1) parser.push(piece);
  }, /too long/);
});
