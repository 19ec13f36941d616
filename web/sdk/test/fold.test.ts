import assert from "node:assert/strict";
import { test } from "node:test";
import type { EntryInfo } from "../src/api/types.ts";
import type { ConversationId, ConversationRow, StoredMessage } from "../src/model.ts";
import { conversationOf, foldEntries, markOf, shownConversation } from "../src/sync/fold.ts";
import { inbox, ME, message, seeded } from "./messages.ts";

function foldAll(pieces: EntryInfo[][]) {
  const rows = new Map<ConversationId, ConversationRow>();
  const messages: StoredMessage[] = [];
  for (const piece of pieces) {
    const folded = foldEntries(piece, ME, rows);
    messages.push(...folded.messages);
    for (const row of folded.conversations) rows.set(row.id, row);
  }
  return { rows: Object.fromEntries([...rows].sort()), messages };
}

test("a conversation does not depend on how its entries arrived", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(seed);
    const entries = inbox(60, random);
    const pieces: EntryInfo[][] = [];
    for (let at = 0; at < entries.length; ) {
      const length = 1 + Math.floor(random() * 9);
      pieces.push(entries.slice(at, at + length));
      at += length;
    }
    assert.deepEqual(foldAll(pieces), foldAll([entries]), `seed ${seed}`);
  }
});

test("unread is the number of messages from others after the mark or the own last message", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const entries = inbox(60, seeded(seed));
    const { rows } = foldAll([entries]);
    for (const row of Object.values(rows)) {
      const own = entries.filter((it) => conversationOf(it.message, ME) === row.id);
      const lastOwn = own.findLastIndex((it) => it.message.sender.user_id === ME);
      const expected = own.slice(lastOwn + 1).length;
      assert.equal(shownConversation(row, undefined).unread, expected, `seed ${seed} ${row.id}`);
      assert.equal(shownConversation(row, markOf(row)).unread, 0);
      assert.equal(shownConversation(row, markOf(row)).unreadMentions, 0);
    }
  }
});

test("notices do not count, and a request is no conversation", () => {
  const notice = message("1", "2", "group:9", "");
  notice.content = {
    type: "group_members_added",
    operator_id: "2",
    operator_name: "",
    user_ids: [ME],
  };
  const request = message("2", "3", ME, "");
  request.content = {
    type: "friend_requested",
    user_id: "3",
    nickname: "c",
    avatar_url: "",
    description: "hello",
  };
  const entries = [notice, request].map((it) => ({ seq: it.id, message: it }));
  const folded = foldEntries(entries, ME, new Map());
  assert.deepEqual(folded.conversations.map((row) => [row.id, row.others]), [["group:9", 0]]);
  assert.deepEqual(folded.friendRequests.map((it) => it.userId), ["3"]);
});
