import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { GimletClient } from "../src/client.ts";
import { GimletError, UnreachableError } from "../src/errors.ts";
import type { OutgoingMessage } from "../src/model.ts";
import type { WebSocketConstructor } from "../src/stream/packet_socket.ts";
import { WebSocketTransport } from "../src/stream/web_socket.ts";
import { MemoryStore } from "../src/store/memory_store.ts";
import { FakeServer } from "./fake_server.ts";
import { closeAll, FakeSocketServer, range, seqsOf, take } from "./fake_socket.ts";
import { ME } from "./messages.ts";

afterEach(closeAll);

const outgoing = (text: string): OutgoingMessage => ({
  clientId: "c1",
  conversation: "user:2",
  content: { type: "text", text },
  mentions: [],
  createdAt: 0,
  state: "sending",
});

test("a connection starts after the place and reads page by page", async () => {
  const server = new FakeSocketServer();
  server.store(130);
  const { events } = server.open("10");
  const [start, ...entries] = await take(events, 121);
  assert.deepEqual(start, {
    kind: "start",
    start: { user_id: ME, device_id: "2", after: "10", head: "130", floor: "0", epoch: "7" },
  });
  assert.deepEqual(seqsOf(entries), range(11, 130));
  assert.deepEqual(server.of("sync").map((it) => it["after"]), ["10", "60", "110"]);
  assert.equal(server.sockets[0]!.url, "ws://gimlet.invalid/ws");
});

test("the next page is asked for when the one before is taken", async () => {
  const server = new FakeSocketServer();
  server.store(200);
  const { events } = server.open();
  await take(events, 50);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.of("sync").length, 1, "nobody took the rest of the first page");
  await take(events, 2);
  assert.equal(server.of("sync").length, 2);
});

test("pushes are taken in order: a repeated one is dropped, a gap is read from the inbox", async () => {
  const server = new FakeSocketServer();
  const { events } = server.open();
  await take(events, 1);
  const [first, second, third] = server.store(3);
  const socket = server.sockets[0]!;
  socket.push({ type: "message", ...first });
  socket.push({ type: "message", ...first });
  socket.push({ type: "message", ...third });
  assert.deepEqual(seqsOf(await take(events, 3)), [1, 2, 3]);
  socket.push({ type: "message", ...second });
  const [fourth] = server.store(1);
  socket.push({ type: "message", ...fourth });
  assert.deepEqual(seqsOf(await take(events, 1)), [4]);
});

test("a push that a page has too is taken once", async () => {
  const server = new FakeSocketServer();
  const { events } = server.open();
  await take(events, 1);
  const entries = server.store(3);
  server.answer = (packet, socket) => {
    if (packet.type === "sync") socket.push({ type: "message", ...entries[0] });
    return undefined;
  };
  server.sockets[0]!.push({ type: "message", ...entries[2] });
  assert.deepEqual(seqsOf(await take(events, 3)), [1, 2, 3]);
});

test("a lost push is found by the heartbeat", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  server.store(2);
  stream.probe!();
  assert.deepEqual(seqsOf(await take(events, 2)), [1, 2]);
});

test("an own message is read from the inbox when its send is answered", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  const sent = stream.send!(outgoing("hi"));
  assert.deepEqual(seqsOf(await take(events, 1)), [1]);
  assert.deepEqual({ ...(await sent) }, { type: "send", request_id: 3, message_id: "1", seq: "1", repeated: false });
  const [packet] = server.of("send");
  assert.deepEqual(
    { to_user: packet!["to_user"], client_message_id: packet!["client_message_id"] },
    { to_user: "2", client_message_id: "c1" },
  );
});

test("a reader that takes nothing makes the connection keep a bounded number of pushes", async () => {
  const server = new FakeSocketServer();
  const { events } = server.open();
  await take(events, 1);
  const socket = server.sockets[0]!;
  for (const entry of server.store(5_000)) socket.push({ type: "message", ...entry });
  for (let count = 0; count < 5_000; count += 1) socket.push({ type: "live", message: server.inbox[0]!.message });
  const seen = seqsOf(await take(events, 5_000 + 1_000));
  assert.deepEqual(seen, range(1, 5_000), "each once and in order, those that did not fit too");
  assert.equal(server.of("sync").length, 1 + 4_000 / 50, "1,000 of them were kept");
});

test("a refusal for now is waited for, and the entries come", async () => {
  const server = new FakeSocketServer();
  const { events } = server.open();
  await take(events, 1);
  const random = mock.method(Math, "random", () => 0);
  let refused = 0;
  server.answer = (packet) =>
    packet.type === "sync" && refused++ === 0
      ? { error: { code: 8, detail: "too fast", retry_after_ms: 1 } }
      : undefined;
  server.sockets[0]!.push({ type: "message", ...server.store(2).at(-1) });
  assert.deepEqual(seqsOf(await take(events, 2)), [1, 2]);
  assert.equal(refused, 2);
  random.mock.restore();
});

test("the last packet says how to come back; without one the close code does", async () => {
  for (const [packet, code, expected] of [
    [{ code: 4000, reason: "bye", come_back: "now", retry_after_ms: 70 }, 4000, { code: 4000, reason: "bye", reconnect: true, retry_after_ms: 70 }],
    [{ code: 4300, reason: "elsewhere", come_back: "never" }, 4300, { code: 4300, reason: "elsewhere", reconnect: false }],
    [undefined, 4202, { code: 4202, reason: "closed with code 4202", reconnect: false }],
  ] as const) {
    const server = new FakeSocketServer();
    const { events } = server.open();
    await take(events, 1);
    const socket = server.sockets[0]!;
    if (packet) socket.push({ type: "close", ...packet });
    socket.close(code);
    assert.deepEqual(await take(events, 1), [{ kind: "end", end: expected }]);
  }
});

test("a cut connection throws, and what was asked has an unknown outcome", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  server.answer = () => null;
  const sent = stream.send!(outgoing("hi"))!;
  const refused = assert.rejects(sent, UnreachableError);
  server.sockets[0]!.close(1006);
  await assert.rejects(take(events, 1), UnreachableError);
  await refused;
  assert.equal(stream.send!(outgoing("later")), undefined, "a closed connection takes nothing");
});

test("a server that falls silent is left", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  server.answer = () => null;
  mock.timers.enable({ apis: ["setTimeout"] });
  stream.probe!();
  const ended = assert.rejects(take(events, 1), { cause: "no answer to heartbeat in time" });
  mock.timers.tick(20_000);
  await ended;
  mock.timers.reset();
});

test("a refused sign-in is the refusal that it is over HTTP", async () => {
  const server = new FakeSocketServer();
  server.answer = () => ({ error: { code: 10000, detail: "the token is not valid" } });
  const refused = take(server.open().events, 1);
  await assert.rejects(refused, (error: GimletError) => error.isSignedOut && error.code === 10000);
});

test("a server without the subprotocol is not spoken to", async () => {
  const server = new FakeSocketServer();
  server.protocol = "";
  await assert.rejects(take(server.open().events, 1), {
    cause: "the server does not speak gimlet.json.v1",
  });
  assert.deepEqual(server.packets, []);
});

test("a JWT signs in beside its user and device", async () => {
  const server = new FakeSocketServer();
  await take(server.open("0", server.transport("e30.e30.c2ln")).events, 1);
  const { token, user_id, device_id } = server.of("sign_in")[0]!;
  assert.deepEqual({ token, user_id, device_id }, { token: "e30.e30.c2ln", user_id: ME, device_id: "2" });
});

test("a message that no packet can carry is left to HTTP", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  assert.equal(stream.send!(outgoing("中".repeat(50_000))), undefined);
  assert.notEqual(stream.send!(outgoing("中".repeat(10_000))), undefined);
});

test("a room is followed without a new connection", async () => {
  const server = new FakeSocketServer();
  const { events, stream } = server.open();
  await take(events, 1);
  stream.follow!({ roomId: "5", from: "1" });
  stream.follow!(undefined);
  stream.probe!();
  const message = server.store(1)[0]!.message;
  server.sockets[0]!.push({ type: "room", room_id: "5", seq: "9", message });
  assert.deepEqual(await take(events, 1), [{ kind: "room", room: { room_id: "5", seq: "9", message } }]);
  const rooms = server.of("subscribe_room").map(({ room_id, from }) => [room_id, from]);
  assert.deepEqual(rooms, [["5", "1"], [undefined, undefined]]);
});

/** A client that tries a WebSocket first and a working transport then. */
async function clientWith(webSocket: WebSocketConstructor) {
  const fallback = new FakeServer();
  const client = new GimletClient({
    server: "http://gimlet.invalid",
    token: "1.2.t",
    userId: ME,
    deviceId: "2",
    store: new MemoryStore(),
    fetch: fallback.fetch,
    transports: (api, identity) => [new WebSocketTransport(api, identity, webSocket), fallback.transport()],
    backoff: { base: 1, cap: 5 },
  });
  const live = new Promise<string>((resolve) =>
    client.on("connection", (state) => state.kind === "live" && resolve(state.transport)),
  );
  await client.start();
  return { client, fallback, transport: await live };
}

test("where a WebSocket cannot be had, the next transport is used and kept", async () => {
  let tried = 0;
  const forbidden = class {
    constructor() {
      tried += 1;
      throw new DOMException("forbidden", "SecurityError");
    }
  };
  const { client, fallback, transport } = await clientWith(forbidden as never);
  assert.equal(transport, "fake");
  const again = new Promise<void>((resolve) =>
    client.on("connection", (state) => state.kind === "live" && resolve()),
  );
  fallback.cut();
  await again;
  assert.deepEqual([tried, fallback.begun.length], [1, 2]);
  await client.close();
});

test("a server that refuses is not asked on another way", async () => {
  const server = new FakeSocketServer();
  server.answer = (packet) =>
    packet.type === "sign_in" ? { error: { code: 10000, detail: "the token is not valid" } } : undefined;
  const fallback = new FakeServer();
  const client = new GimletClient({
    server: "http://gimlet.invalid",
    token: "1.2.t",
    userId: ME,
    deviceId: "2",
    store: new MemoryStore(),
    transports: (api, identity) => [new WebSocketTransport(api, identity, server.webSocket), fallback.transport()],
  });
  const signedOut = new Promise<void>((resolve) =>
    client.on("connection", (state) => state.kind === "signed-out" && resolve()),
  );
  await client.start();
  await signedOut;
  assert.deepEqual([server.sockets.length, fallback.begun.length], [1, 0]);
  await client.close();
});
