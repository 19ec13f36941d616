import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { IndexedDbStore } from "../src/store/indexed_db_store.ts";
import type { LocalStore } from "../src/store/local_store.ts";
import { MemoryStore } from "../src/store/memory_store.ts";
import type { OutgoingMessage, StoredMessage } from "../src/model.ts";
import { message } from "./messages.ts";

const stored = (seq: string, conversation: StoredMessage["conversation"]): StoredMessage => ({
  seq,
  conversation,
  message: message(seq, "2", "1", `text ${seq}`),
});

const outgoing = (clientId: string, createdAt: number): OutgoingMessage => ({
  clientId,
  conversation: "user:2",
  content: { type: "text", text: clientId },
  mentions: [],
  createdAt,
  state: "waiting",
});

let count = 0;
const STORES: Record<string, () => LocalStore> = {
  memory: () => new MemoryStore(),
  "IndexedDB": () => new IndexedDbStore(`test${(count += 1)}`),
};

for (const [name, make] of Object.entries(STORES)) {
  const opened = async () => {
    const store = make();
    await store.open("1.2");
    return store;
  };

  test(`${name}: history is paged by seq as a number`, async () => {
    const store = await opened();
    const seqs = ["9", "10", "99", "100", "18446744073709551615"];
    await store.write({ messages: seqs.map((seq) => stored(seq, "user:2")) });
    await store.write({ messages: [stored("50", "user:3"), stored("51", "group:2")] });
    const page = async (before?: string) =>
      (await store.history("user:2", before, 2)).map((it) => it.seq);
    assert.deepEqual(await page(), ["100", "18446744073709551615"]);
    assert.deepEqual(await page("100"), ["10", "99"]);
    assert.deepEqual(await page("10"), ["9"]);
    assert.deepEqual(await page("9"), []);
    await store.close();
  });

  test(`${name}: a read mark never moves back`, async () => {
    const store = await opened();
    for (const seq of ["9", "10", "2"]) {
      await store.write({ marks: [{ id: "user:2", seq, others: Number(seq) }] });
    }
    assert.deepEqual((await store.load()).marks, [{ id: "user:2", seq: "10", others: 10 }]);
    await store.close();
  });

  test(`${name}: a reset keeps what is to be sent and what was read`, async () => {
    const store = await opened();
    await store.write({
      cursor: { seq: "5", epoch: "1" },
      messages: [stored("5", "user:2")],
      marks: [{ id: "user:2", seq: "5", others: 1 }],
      outgoing: [outgoing("b", 2), outgoing("a", 1)],
    });
    await store.write({ reset: true, cursor: { seq: "0", epoch: "2" } });
    const snapshot = await store.load();
    assert.deepEqual(snapshot.cursor, { seq: "0", epoch: "2" });
    assert.deepEqual(snapshot.outgoing.map((it) => it.clientId), ["a", "b"]);
    assert.equal(snapshot.marks.length, 1);
    assert.deepEqual(await store.history("user:2", undefined, 9), []);
    await store.close();
  });

  test(`${name}: a cleared store is empty`, async () => {
    const store = await opened();
    await store.write({ cursor: { seq: "5", epoch: "1" }, outgoing: [outgoing("a", 1)] });
    await store.clear();
    await store.open("1.2");
    const snapshot = await store.load();
    assert.equal(snapshot.cursor, undefined);
    assert.deepEqual(snapshot.outgoing, []);
    await store.close();
  });
}
