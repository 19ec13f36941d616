// Two clients of the SDK in Node talk while the server is killed again and again: sdk.mjs BINARY.
// Every message arrives exactly once and in order, and what was sent while it was away is sent later.
import assert from "node:assert/strict";
import { GimletClient, HttpApi, MemoryStore, signIn } from "../sdk/dist/index.js";
import { TestServer } from "./server.mjs";

const ROUNDS = 5;
const MESSAGES = 20;

/** Signs a person in; the client keeps what it received in memory. */
async function person(server, phoneNumber) {
  const signedIn = await signIn(new HttpApi(server), phoneNumber, "000000");
  const client = new GimletClient({
    server,
    token: signedIn.token,
    userId: signedIn.user_id,
    deviceId: signedIn.device_id,
    store: new MemoryStore(),
    backoff: { base: 50, cap: 500 },
  });
  await client.start();
  return client;
}

/** Waits until a condition holds; the client's events are the only clock. */
function until(client, isTrue) {
  return new Promise((resolve) => {
    const look = () => isTrue() && (offs.forEach((off) => off()), resolve());
    const offs = ["messages", "outgoing", "connection"].map((name) => client.on(name, look));
    look();
  });
}

const texts = async (client, peer) =>
  (await client.history(`user:${peer.userId}`, undefined, 10_000)).map(
    ({ message }) => message.content.text,
  );

const server = await TestServer.start(process.argv[2]);
const alice = await person(server.address, "13800000001");
const bob = await person(server.address, "13800000002");
const expected = [];
try {
  for (let round = 0; round < ROUNDS; round += 1) {
    const killed = round % 2 === 0 ? server.kill() : undefined;
    for (let count = 0; count < MESSAGES; count += 1) {
      const text = `${round}.${count}`;
      expected.push(text);
      await alice.send(`user:${bob.userId}`, text);
    }
    await killed;
    if (killed) await server.restart();
    await until(bob, () => {
      const last = bob.conversation(`user:${alice.userId}`)?.last.content;
      return last?.text === expected.at(-1);
    });
  }
  await until(alice, () => alice.outgoing().length === 0);
  assert.deepEqual(await texts(bob, alice), expected);
  assert.deepEqual(await texts(alice, bob), expected);
  assert.equal(bob.conversation(`user:${alice.userId}`).unread, expected.length);
  console.log(`${expected.length} messages over ${Math.ceil(ROUNDS / 2)} kills: each once, in order`);
} finally {
  await alice.close();
  await bob.close();
  await server.end();
}
