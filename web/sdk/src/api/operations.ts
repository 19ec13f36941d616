import type { HttpApi } from "./http.ts";
import type {
  AccountInfo,
  AccountList,
  AddedMembers,
  Content,
  CreatedGroup,
  FriendInfo,
  FriendList,
  GroupInfo,
  GroupList,
  MemberInfo,
  MemberList,
  PublishedToRoom,
  SignedInDevice,
  WebPushKey,
} from "./types.ts";
import { GimletError } from "../errors.ts";
import type { Id } from "../ids.ts";

/** Items of one page of a list. */
const PAGE_ITEMS = 100;

/** Number of the type of a device that is a browser. */
const WEB_DEVICE = 5;

/** Registers this browser or program as a device; keep the id and sign in with it again. */
export async function registerDevice(api: HttpApi, model: string): Promise<Id> {
  const body = { type: WEB_DEVICE, model };
  const device = await api.call<{ device_id: Id }>("POST", "/v1/devices", { body });
  return device.device_id;
}

/** Signs in with a phone number and a code; a new number creates the user. */
export function signIn(
  api: HttpApi,
  phoneNumber: string,
  code: string,
  deviceId?: Id,
): Promise<SignedInDevice> {
  const body = { phone_number: phoneNumber, code, ...(deviceId ? { device_id: deviceId } : {}) };
  return api.call("POST", "/v1/sign-in", { body });
}

/** The operations of a signed-in user that are not messages. */
export class UserOperations {
  readonly #api: HttpApi;

  constructor(api: HttpApi) {
    this.#api = api;
  }

  /** Returns the user's own profile. */
  me(): Promise<AccountInfo> {
    return this.#api.call("GET", "/v1/me");
  }

  /** Changes the user's own profile. */
  changeMe(change: { nickname?: string; avatar_url?: string; extra?: string }): Promise<AccountInfo> {
    return this.#api.call("PATCH", "/v1/me", { body: change });
  }

  /** Returns a user. */
  user(userId: Id): Promise<AccountInfo> {
    return this.#api.call("GET", `/v1/users/${userId}`);
  }

  /** Finds users by phone number or name. */
  async search(key: string): Promise<AccountInfo[]> {
    const list = await this.#api.call<AccountList>("GET", "/v1/users", { query: { key } });
    return list.users;
  }

  /** Returns all friends. */
  friends(): Promise<FriendInfo[]> {
    return this.#all("/v1/friends", (page: FriendList) => page.friends, (it) => it.user_id);
  }

  /** Asks a user to be a friend. */
  requestFriend(userId: Id, description = "", remarks = ""): Promise<void> {
    return this.#api.call("POST", "/v1/friends", { body: { user_id: userId, description, remarks } });
  }

  /** Accepts a friend request. */
  acceptFriend(userId: Id): Promise<void> {
    return this.#api.call("POST", `/v1/friends/${userId}/accept`, { body: {} });
  }

  /** Returns all groups of the user. */
  groups(): Promise<GroupInfo[]> {
    return this.#all("/v1/groups", (page: GroupList) => page.groups, (it) => it.group_id);
  }

  /** Returns a group. */
  group(groupId: Id): Promise<GroupInfo> {
    return this.#api.call("GET", `/v1/groups/${groupId}`);
  }

  /** Creates a group; returns its id. */
  async createGroup(name: string, memberIds: Id[]): Promise<Id> {
    const body = { name, member_ids: memberIds };
    const group = await this.#api.call<CreatedGroup>("POST", "/v1/groups", { body });
    return group.group_id;
  }

  /** Changes a group. */
  changeGroup(groupId: Id, change: { name?: string; introduction?: string }): Promise<GroupInfo> {
    return this.#api.call("PATCH", `/v1/groups/${groupId}`, { body: change });
  }

  /** Returns all members of a group. */
  members(groupId: Id): Promise<MemberInfo[]> {
    const path = `/v1/groups/${groupId}/members`;
    return this.#all(path, (page: MemberList) => page.members, (it) => it.user_id);
  }

  /** Adds members to a group; returns those that were members before. */
  async addMembers(groupId: Id, userIds: Id[]): Promise<Id[]> {
    const body = { user_ids: userIds };
    const added = await this.#api.call<AddedMembers>("POST", `/v1/groups/${groupId}/members`, { body });
    return added.already;
  }

  /** Makes a member an admin, or no longer one. */
  setRole(groupId: Id, userId: Id, role: "admin" | "member"): Promise<void> {
    return this.#api.call("PATCH", `/v1/groups/${groupId}/members/${userId}`, { body: { role } });
  }

  /** Removes a member, or leaves the group. */
  removeMember(groupId: Id, userId: Id): Promise<void> {
    return this.#api.call("DELETE", `/v1/groups/${groupId}/members/${userId}`);
  }

  /** Returns the key that a browser needs to subscribe to Web Push; undefined if the server sends none. */
  async webPushKey(): Promise<string | undefined> {
    try {
      return (await this.#api.call<WebPushKey>("GET", "/v1/push/webpush-key")).public_key;
    } catch (error) {
      if (error instanceof GimletError && error.status === 501) return undefined;
      throw error;
    }
  }

  /** Has the device notified at a browser's subscription while none of the user's devices is connected. */
  registerWebPush(deviceId: Id, subscription: PushSubscriptionJSON, locale: string): Promise<void> {
    const { endpoint, keys } = subscription;
    const body = { provider: "webpush", endpoint, ...keys, locale };
    return this.#api.call("PUT", `/v1/devices/${deviceId}/push`, { body });
  }

  /** Ends the notifications of the device. */
  endPush(deviceId: Id): Promise<void> {
    return this.#api.call("DELETE", `/v1/devices/${deviceId}/push`);
  }

  /** Sends a message to the subscribers of a room; `keep` keeps it for a while. */
  async publish(roomId: Id, content: Content, keep = true): Promise<Id> {
    const body = { content, keep };
    const path = `/v1/rooms/${roomId}/messages`;
    return (await this.#api.call<PublishedToRoom>("POST", path, { body })).seq;
  }

  async #all<Page extends { more: boolean }, Item>(
    path: string,
    items: (page: Page) => Item[],
    idOf: (item: Item) => Id,
  ): Promise<Item[]> {
    const all: Item[] = [];
    let after: Id | undefined;
    for (;;) {
      const query = { after, limit: PAGE_ITEMS };
      const page = await this.#api.call<Page>("GET", path, { query });
      all.push(...items(page));
      const last = items(page).at(-1);
      if (!page.more || last === undefined) return all;
      after = idOf(last);
    }
  }
}
