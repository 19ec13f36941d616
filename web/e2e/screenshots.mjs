// Takes pictures of every page of the web chat: on a desktop and on a phone, light and dark, in English,
// in Chinese, and mirrored as a right-to-left language would be: screenshots.mjs BINARY FOLDER. A page
// that is wider than its window fails, and one in which axe finds a fault.
import { mkdirSync } from "node:fs";
import { deflateSync } from "node:zlib";
import * as sdk from "../sdk/dist/index.js";
import { Album } from "./album.mjs";
import { startBrowser, useBuiltFiles } from "./browser.mjs";
import { TestServer } from "./server.mjs";

const WORDS = {
  en: {
    me: "Alice", friend: "Bob", second: "Carol Montgomery-Featherstonehaugh", stranger: "Dave",
    group: "Hiking on Sunday", hello: "Hi! Are you coming on Sunday?",
    yes: "Yes, gladly. Where do we meet? https://example.com/routes/42",
    long: "At the station at nine. It will be a long walk, so bring something to eat, good shoes, and an umbrella: the forecast says it may rain in the afternoon.",
    ok: "👍 see you there", mention: "@Alice can you bring the map?", file: "route of sunday.pdf",
    away: "written while the server is away", ask: "We met at the station", room: "Good evening, everybody",
  },
  zh: {
    me: "李雷", friend: "韩梅梅", second: "欧阳娜娜的一个非常非常长的名字", stranger: "王小明",
    group: "周日爬山", hello: "你好！周日来吗？", yes: "好的，在哪里见面？https://example.com/routes/42",
    long: "九点在车站见。路很长，请带一些吃的、一双好鞋和一把伞：天气预报说下午可能会下雨。不要迟到，我们要赶第一班车去山脚下的村子。",
    ok: "👍 到时候见", mention: "@李雷 你能带地图吗？", file: "周日路线.pdf",
    away: "服务器不在时写的消息", ask: "我们在车站见过", room: "大家晚上好",
  },
};

/** Returns a picture: a PNG of a gradient. */
function picture(width, height) {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      rows.set([40 + (120 * y) / height, 110 + (90 * x) / width, 150], y * (1 + width * 3) + 1 + x * 3);
    }
  }
  const table = Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
  });
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const sum = body.reduce((crc, byte) => table[(crc ^ byte) & 255] ^ (crc >>> 8), 0xffffffff);
    const [size, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    size.writeUInt32BE(data.length);
    check.writeUInt32BE((sum ^ 0xffffffff) >>> 0);
    return Buffer.concat([size, body, check]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([start, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

async function person(server, phoneNumber, nickname) {
  const account = await sdk.signIn(new sdk.HttpApi(server.address), phoneNumber, "000000");
  const client = new sdk.GimletClient({
    server: server.address,
    token: account.token,
    userId: account.user_id,
    deviceId: account.device_id,
    store: new sdk.MemoryStore(),
  });
  await client.start();
  await client.users.changeMe({ nickname });
  return client;
}

async function befriend(one, other) {
  await one.users.requestFriend(other.userId);
  await other.users.acceptFriend(one.userId);
}

/** Waits until everything that was sent is stored. */
const sent = (client) =>
  new Promise((resolve) => {
    const look = () => client.outgoing().length === 0 && resolve();
    client.on("outgoing", look);
    look();
  });

async function takeAll(browser, binary, folder, language) {
  const words = WORDS[language];
  const server = await TestServer.start(binary, "sled", { GIMLET_LIMITS__SEND_RATE: "100000" });
  const context = await browser.newContext({
    locale: language === "zh" ? "zh-CN" : "en-GB",
    timezoneId: "UTC",
    // A picture must not show a colour on its way to another.
    reducedMotion: "reduce",
    serviceWorkers: "block",
  });
  await useBuiltFiles(context, "chat");
  const page = await context.newPage();
  const album = new Album(page, folder, language, ["light", "dark", ...(language === "en" ? ["rtl"] : [])]);
  try {
    const bob = await person(server, "13800000002", words.friend);
    const carol = await person(server, "13800000003", words.second);
    const dave = await person(server, "13800000004", words.stranger);
    await page.goto(`${server.address}/`);
    await album.take("sign-in");
    await page.locator("input[name=phone]").fill("13800000001");
    await page.locator("input[name=code]").fill("123456");
    await page.locator("button.primary").click();
    await page.locator(".problem").waitFor();
    await album.take("sign-in-refused");
    await page.locator("input[name=code]").fill("000000");
    await page.locator("button.primary").click();
    await page.locator(".navigation").waitFor();
    await album.take("chats-empty");
    const alice = await person(server, "13800000001", words.me);
    for (const friend of [bob, carol]) await befriend(alice, friend);
    await dave.users.requestFriend(alice.userId, words.ask);

    const user = (it) => `user:${it.userId}`;
    for (const [from, to, content] of [
      [bob, alice, words.hello],
      [alice, bob, words.yes],
      [bob, alice, words.long],
      [bob, alice, { type: "image", ...(await image(bob)) }],
      [alice, bob, words.ok],
      [bob, alice, { type: "file", ...(await file(bob, words.file)) }],
      [carol, alice, words.hello],
      [carol, alice, "…"],
    ]) {
      await from.send(user(to), content);
      await sent(from);
    }
    const group = await bob.users.createGroup(words.group, [alice.userId, carol.userId]).catch(() => undefined);
    const groupId = group ?? (await alice.users.createGroup(words.group, [bob.userId, carol.userId]));
    for (const [from, text, mentions] of [
      [bob, words.hello, []],
      [carol, words.long, []],
      [bob, words.mention, [alice.userId]],
    ]) {
      await from.send(`group:${groupId}`, text, { mentions });
      await sent(from);
    }
    await alice.close();

    const go = async (route, shown) => {
      await page.evaluate((to) => (location.hash = to), `#/${route}`);
      await page.locator(shown).first().waitFor();
    };
    await page.reload();
    await page.locator(".row .is-mention").waitFor();
    await album.take("chats");
    await go(`chats/${encodeURIComponent(user(bob))}`, ".bubble .image img");
    await page.locator(".bubble .image img").evaluate((it) => it.decode());
    await album.take("conversation");
    await go(`chats/${encodeURIComponent(`group:${groupId}`)}`, ".bubble.is-mention");
    await album.take("group");
    await page.locator(".thread-header button").click();
    await page.locator("dialog .row").nth(2).waitFor();
    await album.take("group-details");
    await page.keyboard.press("Escape");
    await go("chats", ".side-header button");
    await page.locator(".side-header button").click();
    await page.locator("dialog input[type=checkbox]").first().check();
    await album.take("new-group");
    await page.keyboard.press("Escape");
    await go("contacts", ".list .row");
    await page.locator("input[type=search]").fill("13800000004");
    await page.locator("input[type=search]").press("Enter");
    await page.locator(".people-search .row").waitFor();
    await album.take("contacts");
    await go("rooms", "input[inputmode=numeric]");
    await album.take("rooms");
    await go("rooms/5", ".composer");
    await bob.users.publish("5", { type: "text", text: words.room });
    await carol.users.publish("5", { type: "text", text: words.long });
    await page.locator(".bubble").nth(1).waitFor();
    await album.take("room");
    await go("settings", "select");
    await page.waitForFunction((name) => document.querySelector("form input:not([type=file])").value === name, words.me);
    await album.take("settings");
    // Whoever was removed from a group cannot write there.
    const other = await bob.users.createGroup(words.ask, [alice.userId]);
    await bob.send(`group:${other}`, words.hello);
    await go("chats", ".side-header button");
    await page.locator(".row", { hasText: words.ask }).waitFor();
    await bob.users.removeMember(other, alice.userId);
    await go(`chats/${encodeURIComponent(`group:${other}`)}`, ".composer textarea");
    await page.locator(".composer textarea").fill(words.yes);
    await page.keyboard.press("Enter");
    await page.locator(".has-failed").waitFor();
    await album.take("refused");
    await go(`chats/${encodeURIComponent(user(bob))}`, ".bubble");
    await server.kill();
    await page.locator(".connection.is-problem").waitFor({ state: "attached" });
    await page.locator(".composer textarea").fill(words.away);
    await page.keyboard.press("Enter");
    await page.locator(".is-pending").waitFor();
    await album.take("away");
  } finally {
    await context.close();
    await server.end();
  }

  async function image(client) {
    const stored = await client.upload(new File([picture(640, 400)], "p.png", { type: "image/png" }));
    return { url: stored.url, width: stored.width ?? 640, height: stored.height ?? 400 };
  }

  async function file(client, name) {
    const stored = await client.upload(new File([Buffer.from("%PDF-1.4\n1 0 obj\n<<>>\nendobj\n")], name, { type: "application/pdf" }));
    return { url: stored.url, name, size: "48213" };
  }
}

const [binary, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await startBrowser();
try {
  for (const language of Object.keys(WORDS)) await takeAll(browser, binary, folder, language);
} finally {
  await browser.close();
}
// Clients of the other people try for ever to come back.
process.exit(0);
