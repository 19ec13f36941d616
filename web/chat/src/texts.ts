import { GimletError, UnreachableError } from "@gimlet/client";

/** Texts of the user interface in English; the other languages have the same keys. */
const ENGLISH = {
  signInTitle: "Sign in",
  signInLead: "A new phone number creates an account.",
  phoneNumber: "Phone number",
  code: "Verification code",
  codeHint: "On a development run the code is 000000.",
  signIn: "Sign in",
  signingIn: "Signing in…",
  signedOut: "You were signed out: {reason}",
  chats: "Chats",
  contacts: "Contacts",
  rooms: "Rooms",
  settings: "Settings",
  searchChats: "Search chats",
  noChats: "No chats yet. Find somebody in Contacts.",
  noMatches: "Nothing found.",
  searchPeople: "Find people by phone number or name",
  search: "Search",
  friendRequests: "Friend requests",
  friends: "Friends",
  noFriends: "No friends yet. Search for a phone number or a name above.",
  accept: "Accept",
  dismiss: "Not now",
  addFriend: "Add friend",
  requested: "Request sent",
  message: "Message",
  newGroup: "New group",
  groupName: "Group name",
  chooseMembers: "Members",
  create: "Create",
  cancel: "Cancel",
  close: "Close",
  save: "Save",
  back: "Back",
  groupInfo: "Group details",
  membersCount: "{count} members",
  addMembers: "Add members",
  add: "Add",
  remove: "Remove",
  leaveGroup: "Leave group",
  admin: "Admin",
  makeAdmin: "Make admin",
  you: "You",
  writeMessage: "Write a message",
  send: "Send",
  mention: "People to mention",
  attach: "Attach a file",
  uploading: "Uploading {name}: {part} %",
  waiting: "Waiting to be sent",
  sending: "Sending",
  sent: "Sent",
  failed: "Not sent: {reason}",
  notSent: "A message was not sent.",
  notMember: "you are not a member of this group any more",
  retry: "Try again",
  discard: "Discard",
  loadingHistory: "Loading earlier messages…",
  historyStart: "This is the beginning of the conversation.",
  newMessages: "New messages",
  jumpToEnd: "Jump to the newest message",
  emptyThread: "Choose a chat, or start one in Contacts.",
  connecting: "Connecting…",
  waitingForServer: "The server cannot be reached. What you write is kept and sent later.",
  tryNow: "Try now",
  syncing: "Receiving {count} messages…",
  live: "Connected",
  replaced: "This chat was opened elsewhere.",
  useHere: "Use it here",
  image: "Picture",
  file: "File",
  voice: "Voice message, {seconds} s",
  location: "Location",
  custom: "Message of an application",
  noticeCreated: "{name} changed the group",
  noticeAdded: "{name} added {count} members",
  noticeRemoved: "{name} removed a member",
  noticeRemovedYou: "{name} removed you from the group",
  noticeLeft: "{name} left the group",
  noticeFriends: "You are friends now",
  unknownUser: "User {id}",
  unknownGroup: "Group {id}",
  business: "Notices",
  system: "System",
  roomNumber: "Room number",
  joinRoom: "Join",
  leaveRoom: "Leave",
  roomLead: "A room shows messages while you are in it. They are kept for a short time only.",
  room: "Room {id}",
  noRoomMessages: "Nobody has written here lately.",
  nickname: "Name",
  picture: "Picture",
  changePicture: "Change picture",
  theme: "Appearance",
  themeSystem: "As the system",
  themeLight: "Light",
  themeDark: "Dark",
  language: "Language",
  notifications: "Notify me of messages while this page is in the background",
  signOut: "Sign out",
  otherAccount: "Open another account in a new tab",
  phoneOfAccount: "Account {id}",
  today: "Today",
  yesterday: "Yesterday",
  unread: "{count} unread",
  mentionsYou: "mentions you",
  somethingWrong: "That did not work: {reason}",
  download: "Download",
  unreachable: "The server cannot be reached.",
  wrongCode: "The verification code is wrong.",
};

/** Key of a text. */
export type TextKey = keyof typeof ENGLISH;

const CHINESE: Record<TextKey, string> = {
  signInTitle: "登录",
  signInLead: "新的手机号会自动注册账号。",
  phoneNumber: "手机号",
  code: "验证码",
  codeHint: "开发模式下的验证码是 000000。",
  signIn: "登录",
  signingIn: "正在登录…",
  signedOut: "你已退出登录：{reason}",
  chats: "聊天",
  contacts: "通讯录",
  rooms: "房间",
  settings: "设置",
  searchChats: "搜索聊天",
  noChats: "还没有聊天。去通讯录找人吧。",
  noMatches: "没有找到。",
  searchPeople: "用手机号或名字找人",
  search: "搜索",
  friendRequests: "好友请求",
  friends: "好友",
  noFriends: "还没有好友。在上面搜索手机号或名字。",
  accept: "接受",
  dismiss: "暂不",
  addFriend: "加好友",
  requested: "已发送请求",
  message: "发消息",
  newGroup: "新建群聊",
  groupName: "群名称",
  chooseMembers: "成员",
  create: "创建",
  cancel: "取消",
  close: "关闭",
  save: "保存",
  back: "返回",
  groupInfo: "群详情",
  membersCount: "{count} 位成员",
  addMembers: "添加成员",
  add: "添加",
  remove: "移除",
  leaveGroup: "退出群聊",
  admin: "管理员",
  makeAdmin: "设为管理员",
  you: "你",
  writeMessage: "输入消息",
  send: "发送",
  mention: "可以提到的人",
  attach: "添加文件",
  uploading: "正在上传 {name}：{part} %",
  waiting: "等待发送",
  sending: "正在发送",
  sent: "已发送",
  failed: "发送失败：{reason}",
  notSent: "有一条消息没有发送。",
  notMember: "你已不是该群的成员",
  retry: "重试",
  discard: "丢弃",
  loadingHistory: "正在加载更早的消息…",
  historyStart: "对话从这里开始。",
  newMessages: "新消息",
  jumpToEnd: "跳到最新消息",
  emptyThread: "选择一个聊天，或在通讯录里开始。",
  connecting: "正在连接…",
  waitingForServer: "无法连接服务器。你写的内容会保留，稍后发送。",
  tryNow: "立即重试",
  syncing: "正在接收 {count} 条消息…",
  live: "已连接",
  replaced: "此聊天已在别处打开。",
  useHere: "在这里使用",
  image: "图片",
  file: "文件",
  voice: "语音，{seconds} 秒",
  location: "位置",
  custom: "应用消息",
  noticeCreated: "{name} 修改了群资料",
  noticeAdded: "{name} 添加了 {count} 位成员",
  noticeRemoved: "{name} 移除了一位成员",
  noticeRemovedYou: "{name} 将你移出了群聊",
  noticeLeft: "{name} 退出了群聊",
  noticeFriends: "你们已成为好友",
  unknownUser: "用户 {id}",
  unknownGroup: "群 {id}",
  business: "通知",
  system: "系统",
  roomNumber: "房间号",
  joinRoom: "进入",
  leaveRoom: "离开",
  roomLead: "只有在房间里才能看到消息，消息只保留很短的时间。",
  room: "房间 {id}",
  noRoomMessages: "最近没有人在这里发言。",
  nickname: "名字",
  picture: "头像",
  changePicture: "更换头像",
  theme: "外观",
  themeSystem: "跟随系统",
  themeLight: "浅色",
  themeDark: "深色",
  language: "语言",
  notifications: "页面在后台时通知我新消息",
  signOut: "退出登录",
  otherAccount: "在新标签页中使用另一个账号",
  phoneOfAccount: "账号 {id}",
  today: "今天",
  yesterday: "昨天",
  unread: "{count} 条未读",
  mentionsYou: "提到了你",
  somethingWrong: "没有成功：{reason}",
  download: "下载",
  unreachable: "无法连接服务器。",
  wrongCode: "验证码不正确。",
};

/** Languages of the user interface. */
export const LANGUAGES = { en: "English", zh: "中文" } as const;

/** A language of the user interface. */
export type Language = keyof typeof LANGUAGES;

const TEXTS: Record<Language, Record<TextKey, string>> = { en: ENGLISH, zh: CHINESE };

let current: Language = "en";

/** Returns the language in use. */
export function language(): Language {
  return current;
}

/** Languages that are written from right to left, should one of them be added. */
const RIGHT_TO_LEFT: ReadonlySet<string> = new Set(["ar", "fa", "he", "ur"]);

/** Uses another language; the page says so for screen readers, and is mirrored if need be. */
export function useLanguage(next: Language): void {
  current = next;
  document.documentElement.lang = next;
  document.documentElement.dir = RIGHT_TO_LEFT.has(next) ? "rtl" : "ltr";
}

/** Returns the locale for times and numbers: the browser's own one of this language, with its clock. */
export function locale(): string {
  return navigator.languages.find((it) => it.split("-")[0] === current) ?? current;
}

/** Returns the reason of a failure: in the user's language if it is a common one, else the server's words. */
export function reasonOf(error: unknown): string {
  if (error instanceof UnreachableError) return text("unreachable");
  if (error instanceof GimletError) return reasonOfCode(error.code, error.message);
  return error instanceof Error ? error.message : String(error);
}

/** Returns the reason of a refusal by its code, else the server's words. */
export function reasonOfCode(code: number | undefined, message: string): string {
  if (code === 10010) return text("wrongCode");
  return code === 10011 ? text("notMember") : message;
}

/** Returns the language that the browser prefers. */
export function preferredLanguage(): Language {
  return navigator.languages.some((it) => it.startsWith("zh")) &&
    !navigator.languages[0]?.startsWith("en")
    ? "zh"
    : "en";
}

/** Returns a text with its gaps filled. */
export function text(key: TextKey, gaps: Record<string, string | number> = {}): string {
  return TEXTS[current][key].replace(/\{(\w+)\}/g, (_, name: string) => String(gaps[name] ?? ""));
}
