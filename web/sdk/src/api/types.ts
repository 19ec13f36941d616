// Generated from docs/openapi.json by scripts/generate.mjs; do not edit.

/** A user. */
export interface AccountInfo {
  /** The picture. */
  avatar_url: string;
  /** The time of creation (RFC 3339, UTC). */
  created_at: string;
  /** The application's data. */
  extra: string;
  /** The name. */
  nickname: string;
  /** 0 unknown, 1 male, 2 female. */
  sex: number;
  /** The time of the last change (RFC 3339, UTC). */
  updated_at: string;
  /** The user's id. */
  user_id: string;
}

/** Users. */
export interface AccountList {
  /** The users. */
  users: AccountInfo[];
}

/** The ack of a device. */
export interface AckState {
  /** The device. */
  device_id: string;
  /** The seq up to which it has stored the inbox. */
  seq: string;
}

/** Result of an addition. */
export interface AddedMembers {
  /** The users that were members before. */
  already: string[];
}

/** The ban of a user. */
export interface BanInfo {
  /** The time of the ban (RFC 3339, UTC). */
  banned_at?: string;
  /** True if the user is banned. */
  is_banned: boolean;
  /** The reason. */
  reason?: string;
}

/** Content of any kind, as its bytes. */
export interface BytesContent {
  /** The bytes. */
  data: string;
  /** gim's number of the kind of content. */
  kind: number;
  type: "bytes";
}

/** Data for the client program. */
export interface CommandContent {
  /** The kind of command: from 1000 up the application's own. */
  code: number;
  /** The data of this kind. */
  data?: string;
  type: "command";
}

/** The connection of a device. */
export interface ConnectionInfo {
  /** The client's address, if the node knows it. */
  client?: string;
  /** The device. */
  device_id: string;
  /** The node that has the connection. */
  node: string;
  /** The user. */
  user_id: string;
}

/** Connections of a user. */
export interface ConnectionList {
  /** The connections, by device. */
  connections: ConnectionInfo[];
}

/** The content of a message; `type` tells its kind. */
export type Content =
  | TextContent
  | FaceContent
  | VoiceContent
  | ImageContent
  | FileContent
  | LocationContent
  | CommandContent
  | CustomContent
  | BytesContent
  | FriendRequested
  | FriendAccepted
  | GroupUpdated
  | MembersAdded
  | MemberRemoved;

/** A created group. */
export interface CreatedGroup {
  /** The group's id. */
  group_id: string;
}

/** A created key. */
export interface CreatedKey {
  /** The time of creation (RFC 3339, UTC). */
  created_at: string;
  /** The time at which the key expires, if it does (RFC 3339, UTC). */
  expires_at?: string;
  /** The key itself, for the header `Authorization: Bearer`. It is shown only here. */
  key: string;
  /** The id, by which the key is listed and revoked. */
  key_id: string;
  /** The name. */
  name: string;
  /** The rights. */
  scopes: ("admin" | "messages:read" | "messages:send" | "broadcasts:send" | "users:read" | "users:write" | "tokens:write" | "devices:read" | "devices:write" | "friends:read" | "friends:write" | "groups:read" | "groups:write" | "rooms:read" | "rooms:write" | "files:read" | "files:write" | "webhooks:read" | "webhooks:write" | "stats:read")[];
}

/** A created user. */
export interface CreatedUser {
  /** False if there was a user with this phone number. */
  is_new: boolean;
  /** The user's id. */
  user_id: string;
}

/** Data in the application's own format. */
export interface CustomContent {
  /** The data. */
  data: string;
  type: "custom";
}

/** The number of dead letters that were moved or removed. */
export interface DeadLetterCount {
  /** The number. */
  count: string;
}

/** An event that was given up. */
export interface DeadLetterInfo {
  /** The number of attempts. */
  attempts: number;
  /** Reason of the last failure. */
  error: string;
  /** Name of the event. */
  event?: string;
  /** The event's id; absent if its record cannot be read. */
  event_id?: string;
  /** Time at which it was given up (RFC 3339, UTC). */
  given_up_at: string;
  /** Its position, which names it. */
  position: string;
  /** Time of the event (RFC 3339, UTC). */
  time?: string;
}

/** Dead letters, ascending by position. */
export interface DeadLetterList {
  /** The dead letters. */
  dead_letters: DeadLetterInfo[];
  /** True if the list goes on after the last of them. */
  more: boolean;
}

/** A registered device. */
export interface DeviceDetails {
  /** The manufacturer. */
  brand: string;
  /** Its connection, if it is connected. */
  connection?: ConnectionInfo;
  /** The time of registration (RFC 3339, UTC). */
  created_at: string;
  /** The device's id. */
  device_id: string;
  /** The model. */
  model: string;
  /** The version of the client library. */
  sdk_version: string;
  /** The version of the operating system. */
  system_version: string;
  /** The type: 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web. */
  type: number;
  /** The time of the last sign-in (RFC 3339, UTC). */
  updated_at: string;
  /** The user that signed in on it last. */
  user_id?: string;
}

/** An entry of an inbox. */
export interface EntryInfo {
  /** The message. */
  message: MessageInfo;
  /** The entry's seq. */
  seq: string;
}

/** A face of a collection. */
export interface FaceContent {
  /** The face's id in its collection. */
  face_id?: string;
  /** The URL of its picture. */
  face_url?: string;
  type: "face";
}

/** A file. */
export interface FileContent {
  /** The file's id. */
  id?: string;
  /** Its name. */
  name?: string;
  /** Its size in bytes. */
  size?: string;
  type: "file";
  /** Its URL. */
  url?: string;
}

/** A file that is stored. */
export interface FileInfo {
  /** The file's id. */
  file_id: string;
  /** The height in pixels of a picture that can be shown. */
  height?: number;
  /** Its media type, by its content. */
  media_type: string;
  /** The name that the client gave it. */
  name?: string;
  /** Its size in bytes. */
  size: string;
  /** The URL of the picture's thumbnail. */
  thumbnail_url?: string;
  /** Its URL. Anyone who knows it may read the file. */
  url: string;
  /** The width in pixels of a picture that can be shown. */
  width?: number;
}

/** A user accepted a friend request; only the server sends it. */
export interface FriendAccepted {
  /** Its picture. */
  avatar_url: string;
  /** Its name. */
  nickname: string;
  type: "friend_accepted";
  /** The user that accepted. */
  user_id: string;
}

/** The data that the user keeps for a friend. */
export interface FriendData {
  /** The application's data. */
  extra: string;
  /** The user's name for the friend. */
  remarks: string;
  /** The friend. */
  user_id: string;
}

/** A friend, as the user sees it. */
export interface FriendInfo {
  /** Its picture. */
  avatar_url: string;
  /** The application's data of the user for the friend. */
  extra: string;
  /** Its name. */
  nickname: string;
  /** The user's name for the friend. */
  remarks: string;
  /** The application's data of the friend. */
  user_extra: string;
  /** The friend. */
  user_id: string;
}

/** Friends, ascending by id. */
export interface FriendList {
  /** The friends. */
  friends: FriendInfo[];
  /** True if the list goes on after the last of them. */
  more: boolean;
}

/** A friend request of another user; only the server sends it. */
export interface FriendRequested {
  /** Its picture. */
  avatar_url: string;
  /** Its text. */
  description: string;
  /** Its name. */
  nickname: string;
  type: "friend_requested";
  /** The user that asks. */
  user_id: string;
}

/** A group. */
export interface GroupInfo {
  /** The picture. */
  avatar_url: string;
  /** The time of creation (RFC 3339, UTC). */
  created_at: string;
  /** The application's data. */
  extra: string;
  /** The group's id. */
  group_id: string;
  /** The introduction. */
  introduction: string;
  /** The number of members. */
  members: string;
  /** The name. */
  name: string;
  /** The time of the last change (RFC 3339, UTC). */
  updated_at: string;
}

/** Groups, ascending by id. */
export interface GroupList {
  /** The groups. */
  groups: GroupInfo[];
  /** True if the list goes on after the last of them. */
  more: boolean;
}

/** A created group, or the reason that there is none. */
export interface GroupOutcome {
  /** The reason of a refusal. */
  error?: ItemProblem;
  /** The group's id. */
  group_id?: string;
}

/** Created groups. */
export interface GroupOutcomes {
  /** The outcomes, in the order of the request. */
  groups: GroupOutcome[];
  /** The number of refused ones. */
  refused: string;
}

/** A group was changed; only the server sends it. */
export interface GroupUpdated {
  /** The group's picture now. */
  avatar_url: string;
  /** The group's additional data now. */
  extra: string;
  /** The group's introduction now. */
  introduction: string;
  /** The group's name now. */
  name: string;
  /** The user that changed it. */
  operator_id: string;
  /** That user's name. */
  operator_name: string;
  type: "group_updated";
}

/** A picture. */
export interface ImageContent {
  /** Its height in pixels. */
  height?: number;
  /** The picture's id. */
  id?: string;
  /** The URL of its thumbnail. */
  thumbnail_url?: string;
  type: "image";
  /** Its URL. */
  url?: string;
  /** Its width in pixels. */
  width?: number;
}

/** A group to create for a user. */
export interface ImportGroup {
  /** The picture. */
  avatar_url?: string;
  /** The application's data. */
  extra?: string;
  /** The introduction. */
  introduction?: string;
  /** The first members beside the owner. */
  member_ids?: string[];
  /** The name. */
  name: string;
  /** The user that becomes its admin. */
  owner_id: string;
}

/** A user to import. */
export interface ImportUser {
  /** The picture. */
  avatar_url?: string;
  /** The application's data. */
  extra?: string;
  /** The name. */
  nickname?: string;
  /** The phone number: 3 to 20 digits, optionally after a leading +. It identifies the user. */
  phone_number: string;
  /** 0 unknown, 1 male, 2 female. */
  sex?: number;
}

/** An imported user. */
export interface ImportedUser {
  /** False if there was a user with this phone number. */
  is_new: boolean;
  /** The user's id. */
  user_id: string;
}

/** The imported users. */
export interface ImportedUsers {
  /** The users, in the order of the request. */
  users: ImportedUser[];
}

/** Entries of an inbox, ascending. */
export interface InboxPage {
  /** The entries. */
  entries: EntryInfo[];
  /** Identity of the inbox's history. If it changes, the server has lost entries, for example by a restore: read the inbox again from 0. */
  epoch: string;
  /** The seq up to which the server has removed entries. */
  floor: string;
  /** The seq of the inbox's last entry. */
  head: string;
  /** True if the inbox continues after the last of them. */
  more: boolean;
}

/** The state of a user's inbox, without its messages. */
export interface InboxState {
  /** The acks of the user's devices, by device. */
  acks: AckState[];
  /** The seq up to which the server has removed entries. */
  floor: string;
  /** The seq of the last entry. */
  head: string;
}

/** An issued token. */
export interface IssuedToken {
  /** The device that the token is for. */
  device_id: string;
  /** The token, for the header `Authorization: Bearer`. */
  token: string;
}

/** The reason that an item was refused, as in a problem document. */
export interface ItemProblem {
  /** gimlet's code. */
  code: number;
  /** The reason, and what would be right. */
  detail: string;
  /** The field, if one is wrong. */
  field?: string;
  /** Milliseconds after which a repeat may be accepted. */
  retry_after_ms?: number;
  /** The HTTP status that the item alone would have had. */
  status: number;
}

/** A key; the key itself is not shown. */
export interface KeyInfo {
  /** The time of creation (RFC 3339, UTC). */
  created_at: string;
  /** The time at which the key expires, if it does (RFC 3339, UTC). */
  expires_at?: string;
  /** True if the key has neither expired nor been revoked. */
  is_valid: boolean;
  /** The id. */
  key_id: string;
  /** The time of the last use, a minute late at most (RFC 3339, UTC). */
  last_used_at?: string;
  /** The name. */
  name: string;
  /** The time from which on the key is revoked; in the future for a key that is being replaced (RFC 3339, UTC). */
  revoked_at?: string;
  /** The rights. */
  scopes: ("admin" | "messages:read" | "messages:send" | "broadcasts:send" | "users:read" | "users:write" | "tokens:write" | "devices:read" | "devices:write" | "friends:read" | "friends:write" | "groups:read" | "groups:write" | "rooms:read" | "rooms:write" | "files:read" | "files:write" | "webhooks:read" | "webhooks:write" | "stats:read")[];
}

/** Keys, ascending by id. */
export interface KeyList {
  /** The keys. */
  keys: KeyInfo[];
  /** True if the list goes on after the last of them. */
  more: boolean;
}

/** A message outside the inbox: a broadcast, or one that was not to be stored. */
export interface LiveMessageInfo {
  /** The message. */
  message: MessageInfo;
}

/** A place. */
export interface LocationContent {
  /** The name of the place. */
  desc?: string;
  /** Degrees, north positive. */
  latitude?: number;
  /** Degrees, east positive. */
  longitude?: number;
  type: "location";
}

/** A member of a group. */
export interface MemberInfo {
  /** Its picture. */
  avatar_url: string;
  /** The application's data of the member. */
  extra: string;
  /** Its name. */
  nickname: string;
  /** The member's name in the group. */
  remarks: string;
  /** Its rights. */
  role: "admin" | "member";
  /** The application's data of the user. */
  user_extra: string;
  /** The user. */
  user_id: string;
}

/** Members, ascending by id. */
export interface MemberList {
  /** The members. */
  members: MemberInfo[];
  /** True if the list goes on after the last of them. */
  more: boolean;
}

/** A change of a group's members. */
export interface MemberOrder {
  /** The users to add. */
  add?: string[];
  /** The group. */
  group_id: string;
  /** The member that makes the change; it needs the rights for it. */
  operator_id: string;
  /** The members to remove. One that is not a member is passed over. */
  remove?: string[];
}

/** The outcome of a change of members. */
export interface MemberOutcome {
  /** The number of users that became members. */
  added: string;
  /** The reason that the change stopped. */
  error?: ItemProblem;
  /** The group. */
  group_id: string;
  /** The number of removals that were made before the error, or all of them. */
  removed: string;
}

/** Outcomes of changes of members. */
export interface MemberOutcomes {
  /** The outcomes, in the order of the request. */
  changes: MemberOutcome[];
  /** The number of changes that stopped. */
  refused: string;
}

/** A member was removed from a group; only the server sends it. */
export interface MemberRemoved {
  /** The user that removed the member. */
  operator_id: string;
  /** That user's name. */
  operator_name: string;
  type: "group_member_removed";
  /** The user that was removed. */
  user_id: string;
}

/** Members were added to a group; only the server sends it. */
export interface MembersAdded {
  /** The user that added them. */
  operator_id: string;
  /** That user's name. */
  operator_name: string;
  type: "group_members_added";
  /** The users that were added. */
  user_ids: string[];
}

/** A message. */
export interface MessageInfo {
  /** The content. */
  content: Content;
  /** The message's id, a UUID, the same for all receivers. */
  id: string;
  /** The mentioned users. */
  mentions?: string[];
  /** The receiver. */
  receiver: ReceiverInfo;
  /** The sender. */
  sender: SenderInfo;
  /** The time of sending (RFC 3339, UTC). */
  sent_at: string;
  /** The time of sending, in milliseconds since 1970. */
  sent_at_ms: number;
}

/** A node of the cluster. */
export interface NodeInfo {
  /** The address at which other nodes reach it. */
  address: string;
  /** True if it accepts connections at this address now. */
  is_reachable: boolean;
  /** True for the node that answers. */
  is_this_node: boolean;
  /** Its roles, as far as the node that answers knows them. */
  roles: string[];
}

/** The nodes of the cluster. */
export interface NodeList {
  /** The nodes, by address; the one that answers is the first. */
  nodes: NodeInfo[];
}

/** Counts of the node that answers. */
export interface NodeStatistics {
  /** Signed-in connections of this node: sockets and event streams. */
  connections: string;
  /** Entries of accepted group sends that are not delivered yet. */
  group_backlog: string;
  /** Messages pushed to connections of this node since its start. */
  pushed: string;
  /** Bytes of sends that are not answered yet. */
  queued_bytes: string;
  /** Sends that wait for the storage. */
  queued_sends: string;
}

/** A URL for one file. */
export interface PresignedFile {
  /** The time until which the URL is valid. */
  expires_at: string;
  /** The same time in milliseconds. */
  expires_at_ms: number;
  /** The id that completes the upload. */
  upload_id: string;
  /** The URL to which the file is sent by `PUT`, without further headers. */
  url: string;
}

/** A refused request (RFC 9457). */
export interface Problem {
  /** gimlet's code, the same on every wire: 10000 to 10017, or a gRPC code. */
  code: number;
  /** The reason, with the value that would be right. */
  detail: string;
  /** The wrong field or header. */
  field?: string;
  /** Milliseconds after which the same request may succeed. */
  retry_after_ms?: number;
  /** The HTTP status. */
  status: number;
  /** The name of the kind. */
  title: string;
  /** A URN that names the kind of problem. */
  type: string;
}

/** A published message. */
export interface PublishedToRoom {
  /** The message's seq in the room. */
  seq: string;
}

/** The receiver of a message. */
export interface ReceiverInfo {
  /** The group. */
  group_id?: string;
  /** The room. */
  room_id?: string;
  /** The kind of receiver. */
  type: "user" | "group" | "room" | "everyone";
  /** The user. */
  user_id?: string;
}

/** A registered device. */
export interface RegisteredDevice {
  /** The device's id. */
  device_id: string;
}

/** A message of a room. */
export interface RoomMessageInfo {
  /** The message. */
  message: MessageInfo;
  /** The room. */
  room_id: string;
  /** The message's seq in the room. */
  seq: string;
}

/** The sender of a message. */
export interface SenderInfo {
  /** The user's picture. */
  avatar_url?: string;
  /** The application's data of the user. */
  extra?: string;
  /** The user's name. */
  nickname?: string;
  /** The kind of sender. */
  type: "user" | "business" | "system";
  /** The user, if a user sent it. */
  user_id?: string;
}

/** The answer to a send. */
export interface SentMessage {
  /** The message's id, a UUID. */
  message_id: string;
  /** True if this was the repeat of a send, and nothing more was stored. */
  repeated: boolean;
  /** Seq of the sender's own copy; of the recipient's, if a backend sent to a user; 0 if nothing was stored, and for a backend's message to a group. */
  seq: string;
}

/** A signed-in device. */
export interface SignedInDevice {
  /** The device. */
  device_id: string;
  /** True if the user was created by this sign-in. */
  is_new: boolean;
  /** The token, for the header `Authorization: Bearer`. */
  token: string;
  /** The user. */
  user_id: string;
}

/** The last event, `close`. */
export interface StreamEnd {
  /** The code of the close, as sockets have it. */
  code: number;
  /** The reason. */
  reason: string;
  /** False if the client must not come back with this token, or not by itself. */
  reconnect: boolean;
  /** Milliseconds after which the client may come back. */
  retry_after_ms?: number;
}

/** The first event, `start`. */
export interface StreamStart {
  /** The seq after which the stream starts. */
  after: string;
  /** The device. */
  device_id: string;
  /** Identity of the inbox's history; see `InboxPage`. */
  epoch: string;
  /** The seq up to which the server has removed entries. */
  floor: string;
  /** The seq of the inbox's last entry. */
  head: string;
  /** The user. */
  user_id: string;
}

/** A text. */
export interface TextContent {
  /** The text. */
  text: string;
  type: "text";
}

/** A token to issue. */
export interface TokenOrder {
  /** The device that the token is for; by default a new one is registered. */
  device_id?: string;
  /** The user. */
  user_id: string;
}

/** An issued token, or the reason that there is none. */
export interface TokenOutcome {
  /** The device that the token is for. */
  device_id?: string;
  /** The reason of a refusal. */
  error?: ItemProblem;
  /** The token, for the header `Authorization: Bearer`. */
  token?: string;
  /** The user. */
  user_id: string;
}

/** Issued tokens. */
export interface TokenOutcomes {
  /** The number of refused ones. */
  refused: string;
  /** The outcomes, in the order of the request. */
  tokens: TokenOutcome[];
}

/** A recording. */
export interface VoiceContent {
  /** Its length; the application sets the unit. */
  duration?: number;
  /** The recording's id. */
  id?: string;
  /** Its size in bytes. */
  size?: number;
  type: "voice";
  /** Its URL. */
  url?: string;
}

/** The server's key for Web Push. */
export interface WebPushKey {
  /** The `applicationServerKey` of `PushManager.subscribe`, in base64url. */
  public_key: string;
}

/** The state of a webhook. */
export interface WebhookInfo {
  /** The number of dead letters. */
  dead_letters: string;
  /** Events that this node has delivered since its start. */
  delivered: string;
  /** Names of the events that it gets. */
  events: string[];
  /** Attempts of this node that failed. */
  failed: string;
  /** Reason of the last failure on this node. */
  last_error?: string;
  /** Time of the last failure on this node (RFC 3339, UTC). */
  last_error_at?: string;
  /** The name. */
  name: string;
  /** Time of the oldest of them (RFC 3339, UTC). */
  oldest_waiting?: string;
  /** The address; absent if the configuration does not name the webhook any more. */
  url?: string;
  /** The number of events that wait. */
  waiting: string;
}

/** The webhooks. */
export interface WebhookList {
  /** The webhooks, in the order of their names. */
  webhooks: WebhookInfo[];
}

/** Result of a test. */
export interface WebhookTest {
  /** True if the program accepted the test. */
  delivered: boolean;
  /** The reason that it did not. */
  error?: string;
  /** Milliseconds until the answer. */
  took_ms: number;
}
