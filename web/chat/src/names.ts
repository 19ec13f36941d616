import type { GimletClient, Id } from "@gimlet/client";

/** Name and picture of a user or a group. */
export interface DisplayProfile {
  name: string;
  picture: string;
}

/** Number of users and of groups whose names are kept on this device. */
const MAX_KEPT = 1_000;

/** Time after which the lists are read again for a name that they did not have, in milliseconds. */
const READ_INTERVAL_MS = 30_000;

/**
 * Names and pictures of users and groups: those that messages, lists and searches bring. They are
 * kept on this device, because a profile of somebody who is no friend cannot be asked for.
 */
export class NameBook {
  readonly #client: GimletClient;
  readonly #key: string;
  readonly #users: Map<Id, DisplayProfile>;
  readonly #groups: Map<Id, DisplayProfile>;
  readonly #onChange: () => void;
  readonly #unknown = new Set<string>();
  #readAt = 0;
  #isSaving = false;

  constructor(client: GimletClient, onChange: () => void) {
    this.#client = client;
    this.#onChange = onChange;
    this.#key = `gimlet.names.${client.userId}`;
    const kept = readKept(this.#key);
    this.#users = new Map(kept.users);
    this.#groups = new Map(kept.groups);
  }

  /** Notes what is known of a user. */
  noteUser(id: Id, name: string, picture: string): void {
    this.#note(this.#users, id, { name, picture });
  }

  /** Notes what is known of a group. */
  noteGroup(id: Id, name: string, picture: string): void {
    this.#note(this.#groups, id, { name, picture });
  }

  /** Returns what is known of a user. */
  user(id: Id): DisplayProfile | undefined {
    return this.#users.get(id) ?? this.#read(`user:${id}`);
  }

  /** Returns what is known of a group. */
  group(id: Id): DisplayProfile | undefined {
    return this.#groups.get(id) ?? this.#read(`group:${id}`);
  }

  /** Reads the lists of friends and groups. */
  async readLists(): Promise<void> {
    this.#readAt = Date.now();
    for (const friend of await this.#client.users.friends()) {
      this.noteUser(friend.user_id, friend.remarks || friend.nickname, friend.avatar_url);
    }
    for (const group of await this.#client.users.groups()) {
      this.noteGroup(group.group_id, group.name, group.avatar_url);
    }
  }

  /** An unknown name may be that of a new friend or group: the lists are read once for each. */
  #read(key: string): undefined {
    const isNew = !this.#unknown.has(key);
    this.#unknown.add(key);
    if (isNew || Date.now() - this.#readAt > READ_INTERVAL_MS) {
      this.#readAt = Date.now();
      // Without the server the id is shown instead.
      this.readLists().catch(() => undefined);
    }
  }

  #note(book: Map<Id, DisplayProfile>, id: Id, profile: DisplayProfile): void {
    const known = book.get(id);
    if (known?.name === profile.name && known.picture === profile.picture) return;
    book.delete(id);
    book.set(id, profile);
    const [oldest] = book.keys();
    if (book.size > MAX_KEPT && oldest !== undefined) book.delete(oldest);
    this.#save();
    this.#onChange();
  }

  /** Many names of one list are kept by one write. */
  #save(): void {
    if (this.#isSaving) return;
    this.#isSaving = true;
    queueMicrotask(() => {
      this.#isSaving = false;
      const kept = { users: [...this.#users], groups: [...this.#groups] };
      localStorage.setItem(this.#key, JSON.stringify(kept));
    });
  }
}

type KeptNames = Record<"users" | "groups", [Id, DisplayProfile][]>;

function readKept(key: string): KeptNames {
  try {
    return { users: [], groups: [], ...JSON.parse(localStorage.getItem(key) ?? "{}") };
  } catch {
    return { users: [], groups: [] };
  }
}
