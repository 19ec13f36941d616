// An operator uses the console: console.mjs BINARY [FOLDER]. The numbers move while people talk, a user is
// looked up, signed out and banned, dead letters are delivered again, each change has its line in the audit
// log, and a killed node is seen to be away within five seconds. With a folder it leaves pictures there.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import * as sdk from "../sdk/dist/index.js";
import { Album } from "./album.mjs";
import { isAccessible, newContext, openPage, startBrowser } from "./browser.mjs";
import { TestServer } from "./server.mjs";

const KEY = randomBytes(32).toString("hex");
const MARKUP = "<b>Bob</b>";

/** A program that gets events, and refuses them until `isWell` is set. */
async function startReceiver() {
  const receiver = { isWell: false, events: 0 };
  receiver.server = createServer((request, response) => {
    request.resume().on("end", () => {
      if (receiver.isWell) receiver.events += 1;
      response.writeHead(receiver.isWell ? 204 : 500).end();
    });
  });
  await new Promise((resolve) => receiver.server.listen(0, "127.0.0.1", resolve));
  receiver.url = `http://127.0.0.1:${receiver.server.address().port}/`;
  return receiver;
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
  client.isSignedOut = new Promise((resolve) =>
    client.on("connection", (state) => state.kind === "signed-out" && resolve()),
  );
  await client.start();
  await client.users.changeMe({ nickname });
  return client;
}

/** Waits until the log has a line of an operation about a user, and returns it. */
async function auditLine(server, operation, user) {
  for (;;) {
    // The log of a terminal has colours; this one has none.
    const lines = server.log.split("\n").filter((line) => line.includes("gimlet::audit"));
    const found = lines.filter((line) => line.includes(`operation="${operation}"`));
    const line = found.find((it) => user === undefined || it.includes(`user="${user}"`));
    if (line) return line;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until a number of the page is above zero. */
const isMoving = (page, name) =>
  page.waitForFunction((wanted) => {
    const tiles = [...document.querySelectorAll(".tile")];
    const found = tiles.find((it) => it.querySelector("dt").textContent === wanted);
    return Number.parseFloat(found?.querySelector("dd").textContent.replaceAll(",", "") ?? "") > 0;
  }, name);

async function confirm(page, button, reason) {
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await isAccessible(page, `the question before ${button}`);
  if (reason) await dialog.getByRole("textbox").fill(reason);
  await dialog.getByRole("button", { name: button }).click();
  await page.getByText("Done.").waitFor();
}

const section = (page, name) => page.getByRole("navigation").getByRole("link", { name }).click();

async function story(server, receiver, album) {
  const { page } = album;
  const [alice, bob] = [await person(server, "13800000001", "Alice"), await person(server, "13800000002", MARKUP)];
  await page.getByText("Ready", { exact: true }).waitFor();

  // People talk, and the numbers move.
  await isMoving(page, "Connections");
  await alice.users.requestFriend(bob.userId);
  await bob.users.acceptFriend(alice.userId);
  await alice.users.createGroup("Hiking", [bob.userId]);
  let isTalking = true;
  const talk = (async () => {
    for (let count = 0; isTalking; count += 1) {
      await alice.send(`user:${bob.userId}`, `message ${count}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await isMoving(page, "Sends per second");
  const drawn = () => page.locator("figure", { hasText: "Messages per second" }).locator("path").first().getAttribute("d");
  const before = await drawn();
  await page.waitForFunction(
    ([past]) => ![...document.querySelectorAll("figure path")].some((it) => it.getAttribute("d") === past),
    [before],
  );
  assert.match(await page.locator("figure", { hasText: "Sends in a batch" }).locator("b").textContent(), /^[\d.]+$/);
  await isAccessible(page, "the overview");
  await album.take("console-overview");

  // Without the right key nothing is told.
  await section(page, "Users");
  await isAccessible(page, "the form for the key");
  await album.take("console-key");
  await page.getByLabel("API key").fill("wrong-key-wrong-key-wrong-key-wrong-key");
  await page.getByRole("button", { name: "Use this key" }).click();
  await page.getByRole("textbox", { name: "User id" }).fill(bob.userId);
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByRole("alert").waitFor();
  // The browser reports the refusals, and nothing else.
  assert.deepEqual(page.problems.filter((it) => !it.includes("401")), []);
  page.problems.length = 0;
  await page.getByRole("button", { name: "Forget the key" }).click();
  await page.getByLabel("API key").fill(KEY);
  await page.getByRole("button", { name: "Use this key" }).click();

  // A user, whose name is a text, and its device.
  await page.getByRole("textbox", { name: "User id" }).fill(bob.userId);
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByRole("heading", { name: MARKUP }).waitFor();
  await page.locator("tbody tr", { hasText: bob.deviceId }).getByText("local").waitFor();
  await isAccessible(page, "a user");
  await album.take("console-user");
  await page.locator("tbody tr", { hasText: bob.deviceId }).getByRole("button", { name: "Sign out" }).click();
  await confirm(page, "Sign out");
  await bob.isSignedOut;
  const line = await auditLine(server, "revokeToken", bob.userId);
  assert.match(line, /key=http\.api_keys .*status=204/);
  assert.ok(line.includes(`device="${bob.deviceId}"`), line);
  assert.ok(!server.log.includes(KEY), "the key is not logged");

  await page.getByRole("button", { name: "Ban", exact: true }).click();
  await confirm(page, "Ban", "a test");
  await page.getByText("Banned since").waitFor();
  await album.take("console-banned");
  await page.getByRole("button", { name: "Lift the ban" }).click();
  await confirm(page, "Lift the ban");
  await page.getByRole("button", { name: "Ban", exact: true }).waitFor();
  await auditLine(server, "banUser", bob.userId);
  await auditLine(server, "liftBan", bob.userId);

  isTalking = false;
  await talk;

  // By device.
  await page.getByLabel("Look up by").selectOption("device");
  await page.getByRole("textbox", { name: "Device id" }).fill(alice.deviceId);
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByRole("heading", { name: "Alice" }).waitFor();
  await page.getByRole("button", { name: "Disconnect all devices" }).click();
  await confirm(page, "Disconnect all devices", "maintenance");
  await auditLine(server, "disconnectUser", alice.userId);

  // Dead letters are delivered again once the program is well.
  await section(page, "Webhooks");
  await page.getByRole("heading", { name: "crm" }).waitFor();
  while ((await page.getByRole("button", { name: "Deliver again" }).count()) === 0) {
    await section(page, "Nodes");
    await section(page, "Webhooks");
    await page.getByRole("heading", { name: "crm" }).waitFor();
  }
  await isAccessible(page, "the webhooks");
  await album.take("console-webhooks");
  receiver.isWell = true;
  await page.getByRole("button", { name: "Deliver again" }).click();
  await confirm(page, "Deliver again");
  await auditLine(server, "replayDeadLetters");
  while (receiver.events === 0) await new Promise((resolve) => setTimeout(resolve, 50));

  await section(page, "Nodes");
  await page.getByText("this node").waitFor();
  await isAccessible(page, "the nodes");
  await album.take("console-nodes");

  // A killed node is seen to be away, and to be back.
  await section(page, "Overview");
  await server.kill();
  const killed = Date.now();
  await page.getByText("Does not answer since").waitFor();
  assert.ok(Date.now() - killed < 5_000, "a killed node is seen within 5 s");
  await isAccessible(page, "a node that is away");
  await album.take("console-away");
  await server.restart();
  await page.getByText("Ready", { exact: true }).waitFor();

  await page.getByLabel("Language").selectOption("zh");
  await page.getByRole("link", { name: "概览" }).waitFor();
  await isAccessible(page, "the overview in Chinese");
  album.language = "zh";
  await album.take("console-overview");
  await section(page, "用户");
  await page.getByRole("textbox", { name: "用户 ID" }).fill(bob.userId);
  await page.getByRole("button", { name: "查询" }).click();
  await page.getByRole("heading", { name: MARKUP }).waitFor();
  await album.take("console-user");
  // A reload keeps the key, another tab does not have it.
  await page.reload();
  await page.getByRole("button", { name: "查询" }).waitFor();
  const other = await openPage(page.context(), `${server.opsAddress}/#/users`);
  await other.getByRole("button", { name: "使用此密钥" }).waitFor();
  assert.deepEqual([...page.problems, ...other.problems], []);
}

/** Takes no pictures. */
const nothing = (page) => ({ page, take: () => Promise.resolve() });

const [binary, folder] = process.argv.slice(2);
if (folder) mkdirSync(folder, { recursive: true });
const receiver = await startReceiver();
const server = await TestServer.start(binary, "sled", {
  GIMLET_HTTP__API_KEYS: KEY,
  GIMLET_WEBHOOKS__0__NAME: "crm",
  GIMLET_WEBHOOKS__0__URL: receiver.url,
  GIMLET_WEBHOOKS__0__EVENTS: "group.changed",
  GIMLET_WEBHOOKS__0__SECRETS: `whsec_${randomBytes(32).toString("base64")}`,
  GIMLET_WEBHOOKS__0__ALLOW_PRIVATE: "true",
  GIMLET_WEBHOOKS__0__RETRY_FOR: "1s",
  GIMLET_LIMITS__SEND_RATE: "100000",
});
const browser = await startBrowser();
try {
  const context = await newContext(browser, {
    locale: "en-GB",
    timezoneId: "UTC",
    viewport: { width: 1180, height: 760 },
    // A picture must not show a colour on its way to another.
    reducedMotion: "reduce",
  });
  const page = await openPage(context, `${server.opsAddress}/`);
  await story(server, receiver, folder ? new Album(page, folder, "en", ["light", "dark"]) : nothing(page));
  console.log("an operator used the console: the numbers moved, and every change is in the audit log");
} finally {
  await browser.close();
  await server.end();
  receiver.server.close();
}
// Clients of people try for ever to come back.
process.exit(0);
