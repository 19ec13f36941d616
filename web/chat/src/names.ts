import type { GimletClient, Id } from "@gimlet/client";

/** Name and picture of a user or a group. */
export interface DisplayProfile {
  name: string;
  picture: string;
}

/**
 * Names and pictures of users and groups: those that messages and lists bring are noted, others are
 * asked for once.
 */
export class NameBook {
  readonly #client: GimletClient;
  readonly #users = new Map<Id, DisplayProfile>();
  readonly #groups = new Map<Id, DisplayProfile>();
  readonly #asked = new Set<string>();
  readonly #onChange: () => void;

  constructor(client: GimletClient, onChange: () => void) {
    this.#client = client;
    this.#onChange = onChange;
  }

  /** Notes what is known of a user. */
  noteUser(id: Id, name: string, picture: string): void {
    const known = this.#users.get(id);
    if (known?.name === name && known.picture === picture) return;
    this.#users.set(id, { name, picture });
    this.#onChange();
  }

  /** Notes what is known of a group. */
  noteGroup(id: Id, name: string, picture: string): void {
    const known = this.#groups.get(id);
    if (known?.name === name && known.picture === picture) return;
    this.#groups.set(id, { name, picture });
    this.#onChange();
  }

  /** Returns what is known of a user, and asks for it if nothing is. */
  user(id: Id): DisplayProfile | undefined {
    const known = this.#users.get(id);
    if (!known) {
      this.#ask(`user:${id}`, async () => {
        const user = await this.#client.users.user(id);
        this.noteUser(id, user.nickname, user.avatar_url);
      });
    }
    return known;
  }

  /** Returns what is known of a group, and asks for it if nothing is. */
  group(id: Id): DisplayProfile | undefined {
    const known = this.#groups.get(id);
    if (!known) {
      this.#ask(`group:${id}`, async () => {
        const group = await this.#client.users.group(id);
        this.noteGroup(id, group.name, group.avatar_url);
      });
    }
    return known;
  }

  #ask(key: string, question: () => Promise<void>): void {
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    // A group that the user has left, or a server that is away: the id is shown instead.
    question().catch(() => undefined);
  }
}
