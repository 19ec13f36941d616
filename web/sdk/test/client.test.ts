import assert from "node:assert/strict";
import { test } from "node:test";
import { GimletClient } from "../src/client.ts";
import type { ClientEvents } from "../src/sync/client_state.ts";
import { MemoryStore } from "../src/store/memory_store.ts";
import { FakeServer, type SendFate } from "./fake_server.ts";
import { ME } from "./messages.ts";

function clientOf(server: FakeServer, store: MemoryStore): GimletClient {
  return new GimletClient({
    server: "http://gimlet.invalid",
    token: "1.2.t",
    userId: ME,
    deviceId: "2",
    store,
    fetch: server.fetch,
    transports: () => [server.transport()],
    backoff: { base: 1, cap: 5 },
  });
}

/** Waits until a condition holds; events of the client are the only clock. */
function until(client: GimletClient, isTrue: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const names: (keyof ClientEvents)[] = ["messages", "outgoing", "connection", "conversations", "reset"];
    const look = () => {
      if (!isTrue()) return;
      for (const off of offs) off();
      resolve();
    };
    const offs = names.map((name) => client.on(name, look));
    look();
  });
}

const texts = async (client: GimletClient) =>
  (await client.history("user:2", undefined, 1_000)).map(({ message }) =>
    message.content.type === "text" ? message.content.text : "?",
  );

test("messages arrive once and in order over cuts and reloads", async () => {
  const server = new FakeServer();
  const store = new MemoryStore();
  const expected: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    const client = clientOf(server, store);
    await client.start();
    for (let count = 0; count < 10; count += 1) {
      const text = `${round}.${count}`;
      server.receive("2", text);
      expected.push(text);
      if (count % 3 === round % 3) server.cut();
    }
    const seq = () => client.conversation("user:2")?.lastSeq;
    await until(client, () => seq() === String(expected.length));
    assert.equal(client.conversation("user:2")?.unread, expected.length);
    await client.close();
  }
  const client = clientOf(server, store);
  await client.start();
  assert.deepEqual(await texts(client), expected);
  await client.close();
});

test("each message is sent once and in order, whatever happens to its answer", async () => {
  const fates: SendFate[] = ["answer lost", "unreachable", "busy", "stored", "unreachable", "answer lost"];
  const server = new FakeServer();
  server.fates = [...fates];
  const client = clientOf(server, new MemoryStore());
  await client.start();
  for (let count = 0; count < 8; count += 1) await client.send("user:2", `out ${count}`);
  await until(client, () => client.outgoing().length === 0 && server.inbox.length === 8);
  const sent = server.inbox.map(({ message }) => message.content.type === "text" && message.content.text);
  assert.deepEqual(sent, [0, 1, 2, 3, 4, 5, 6, 7].map((count) => `out ${count}`));
  assert.deepEqual(await texts(client), sent);
  assert.equal(client.conversation("user:2")?.unread, 0);
  await client.close();
});

test("what waits to be sent survives a reload", async () => {
  const server = new FakeServer();
  const store = new MemoryStore();
  server.fates = Array.from({ length: 50 }, () => "unreachable" as const);
  const before = clientOf(server, store);
  await before.start();
  await before.send("user:2", "kept");
  await before.close();
  server.fates = [];
  const after = clientOf(server, store);
  await after.start();
  await until(after, () => after.outgoing().length === 0);
  assert.deepEqual(await texts(after), ["kept"]);
  assert.equal(server.inbox.length, 1);
  await after.close();
});

test("a refused message keeps its reason, and the next one is sent", async () => {
  const server = new FakeServer();
  server.fates = ["refused"];
  const client = clientOf(server, new MemoryStore());
  await client.start();
  const refused = await client.send("user:2", "no");
  await client.send("user:2", "yes");
  await until(client, () => server.inbox.length === 1 && client.outgoing().length === 1);
  assert.match(client.outgoing()[0]?.reason ?? "", /not your friend/);
  await client.retry(refused);
  await until(client, () => client.outgoing().length === 0);
  assert.deepEqual(await texts(client), ["yes", "no"]);
  await client.close();
});

test("another epoch empties the store and reads the inbox again", async () => {
  const server = new FakeServer();
  const client = clientOf(server, new MemoryStore());
  await client.start();
  for (const text of ["a", "b", "c"]) server.receive("2", text);
  await until(client, () => client.conversation("user:2")?.lastSeq === "3");
  let resets = 0;
  client.on("reset", () => (resets += 1));
  server.inbox.splice(1);
  server.epoch = "8";
  server.cut();
  await until(client, () => resets === 1 && client.conversation("user:2")?.lastSeq === "1");
  assert.deepEqual(await texts(client), ["a"]);
  await client.close();
});

test("a replaced connection stays away until it is asked for", async () => {
  const server = new FakeServer();
  const client = clientOf(server, new MemoryStore());
  await client.start();
  await until(client, () => client.connection.kind === "live");
  server.cut({ code: 4300, reason: "signed in elsewhere", reconnect: false });
  await until(client, () => client.connection.kind === "replaced");
  assert.equal(server.begun.length, 1);
  client.reconnect();
  await until(client, () => client.connection.kind === "live");
  await client.close();
});

test("a revoked token ends the client and keeps what waits", async () => {
  const server = new FakeServer();
  server.fates = ["signed out"];
  const client = clientOf(server, new MemoryStore());
  await client.start();
  await client.send("user:2", "later");
  await until(client, () => client.connection.kind === "signed-out");
  const begun = server.begun.length;
  // Nothing that may still come brings the connection back.
  client.reconnect();
  server.receive("2", "unseen");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([client.connection.kind, server.begun.length], ["signed-out", begun]);
  assert.equal(client.outgoing().length, 1);
  await client.close();
});

test("a conversation that takes no messages is refused with words", async () => {
  const client = clientOf(new FakeServer(), new MemoryStore());
  await assert.rejects(client.send("system", "hi"), /takes no messages; use user:ID or group:ID/);
});
