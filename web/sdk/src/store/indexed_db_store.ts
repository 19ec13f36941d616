import { compareIds, type Id, sortable } from "../ids.ts";
import type { ConversationId, OutgoingMessage, ReadMark, StoredMessage } from "../model.ts";
import type { LocalStore, StoreChange, StoreSnapshot } from "./local_store.ts";

/** Version of the layout below. */
const LAYOUT_VERSION = 1;

const TABLES = [
  "messages",
  "conversations",
  "marks",
  "friendRequests",
  "outgoing",
  "state",
] as const;

/** A store in the browser's IndexedDB: one database for each user and device, shared by all tabs. */
export class IndexedDbStore implements LocalStore {
  readonly isShared = true;
  readonly #prefix: string;
  readonly #factory: IDBFactory;
  #database: IDBDatabase | undefined;
  #name = "";

  /** `prefix` begins the names of the databases. */
  constructor(prefix = "gimlet", factory: IDBFactory = indexedDB) {
    this.#prefix = prefix;
    this.#factory = factory;
  }

  async open(owner: string): Promise<void> {
    this.#name = `${this.#prefix}:${owner}`;
    const opening = this.#factory.open(this.#name, LAYOUT_VERSION);
    opening.onupgradeneeded = () => {
      const database = opening.result;
      // Messages are ordered by conversation and seq, so that a page of history is one range.
      database.createObjectStore("messages");
      database.createObjectStore("conversations", { keyPath: "id" });
      database.createObjectStore("marks", { keyPath: "id" });
      database.createObjectStore("friendRequests", { keyPath: "userId" });
      database.createObjectStore("outgoing", { keyPath: "clientId" });
      database.createObjectStore("state");
    };
    const database = await answerOf(opening);
    // Another tab that deletes the database (a sign-out) must not wait for this one.
    database.onversionchange = () => database.close();
    this.#database = database;
  }

  async load(): Promise<StoreSnapshot> {
    const work = this.#transaction("readonly");
    const all = <Row>(table: (typeof TABLES)[number]): Promise<Row[]> =>
      answerOf(work.objectStore(table).getAll() as IDBRequest<Row[]>);
    const [cursor, conversations, marks, friendRequests, outgoing] = await Promise.all([
      answerOf(work.objectStore("state").get("cursor")),
      all<StoreSnapshot["conversations"][number]>("conversations"),
      all<ReadMark>("marks"),
      all<StoreSnapshot["friendRequests"][number]>("friendRequests"),
      all<OutgoingMessage>("outgoing"),
    ]);
    outgoing.sort((a, b) => a.createdAt - b.createdAt);
    return { cursor, conversations, marks, friendRequests, outgoing };
  }

  async write(change: StoreChange): Promise<void> {
    const work = this.#transaction("readwrite");
    const table = (name: (typeof TABLES)[number]) => work.objectStore(name);
    if (change.reset) {
      for (const name of ["messages", "conversations", "friendRequests", "state"] as const) {
        table(name).clear();
      }
    }
    for (const stored of change.messages ?? []) {
      table("messages").put(stored, [stored.conversation, sortable(stored.seq)]);
    }
    for (const row of change.conversations ?? []) table("conversations").put(row);
    for (const mark of change.marks ?? []) {
      const known = (await answerOf(table("marks").get(mark.id))) as ReadMark | undefined;
      if (!known || compareIds(known.seq, mark.seq) < 0) table("marks").put(mark);
    }
    for (const request of change.friendRequests ?? []) table("friendRequests").put(request);
    for (const userId of change.answeredRequests ?? []) table("friendRequests").delete(userId);
    for (const message of change.outgoing ?? []) table("outgoing").put(message);
    for (const clientId of change.removedOutgoing ?? []) table("outgoing").delete(clientId);
    if (change.cursor) table("state").put(change.cursor, "cursor");
    await completionOf(work);
  }

  async history(
    conversation: ConversationId,
    before: Id | undefined,
    limit: number,
  ): Promise<StoredMessage[]> {
    const end = before === undefined ? "~" : sortable(before);
    const range = IDBKeyRange.bound([conversation, ""], [conversation, end], false, true);
    const cursor = this.#transaction("readonly").objectStore("messages").openCursor(range, "prev");
    const page: StoredMessage[] = [];
    await new Promise<void>((resolve, reject) => {
      cursor.onerror = () => reject(cursor.error);
      cursor.onsuccess = () => {
        if (!cursor.result || page.length >= limit) return resolve();
        page.push(cursor.result.value);
        cursor.result.continue();
      };
    });
    return page.reverse();
  }

  async clear(): Promise<void> {
    await this.close();
    await answerOf(this.#factory.deleteDatabase(this.#name));
  }

  async close(): Promise<void> {
    this.#database?.close();
    this.#database = undefined;
  }

  #transaction(mode: IDBTransactionMode): IDBTransaction {
    if (!this.#database) throw new Error("the local store is not open");
    return this.#database.transaction([...TABLES], mode, { durability: "relaxed" });
  }
}

function answerOf<Answer>(request: IDBRequest<Answer>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completionOf(work: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    work.oncomplete = () => resolve();
    work.onabort = () => reject(work.error);
    work.onerror = () => reject(work.error);
  });
}
