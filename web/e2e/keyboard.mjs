// A person uses the whole web chat without a mouse: keyboard.mjs BINARY [chromium] [firefox]. Every step
// is made by Tab, arrows, Enter, Space and Escape; what has the focus must be seen to have it. Then a long
// conversation is read to its beginning: it stays small in the document, and what is read does not move.
import assert from "node:assert/strict";
import * as sdk from "../sdk/dist/index.js";
import { BROWSERS, isAccessible, newContext, openPage, sees, startBrowser, useBuiltFiles } from "./browser.mjs";
import { TestServer } from "./server.mjs";

/** Most presses of Tab between two steps. */
const MAX_TABS = 60;

/** Messages of the long conversation. */
const LONG_COUNT = 600;

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

/** Waits until everything that was sent is stored. */
const sent = (client) =>
  new Promise((resolve) => {
    const look = () => client.outgoing().length === 0 && resolve();
    client.on("outgoing", look);
    look();
  });

/**
 * Presses Tab, or Shift and Tab if it is the shorter way, until the element of a locator has the focus. Around
 * the end of the document the focus would pass through the browser's own window, which a driver's keys do not.
 */
async function tabTo(page, locator) {
  await locator.waitFor();
  for (let count = 0; count < MAX_TABS; count += 1) {
    const where = await locator.evaluate((it) => {
      const active = document.activeElement;
      if (it === active) return "here";
      return active.compareDocumentPosition(it) & Node.DOCUMENT_POSITION_PRECEDING ? "before" : "behind";
    });
    if (where === "here") {
      const style = await locator.evaluate((it) => getComputedStyle(it).outlineStyle);
      assert.notEqual(style, "none", `${locator} shows no focus`);
      return;
    }
    await page.keyboard.press(where === "before" ? "Shift+Tab" : "Tab");
  }
  assert.fail(`Tab does not reach ${locator}`);
}

async function press(page, locator, key = "Enter") {
  await tabTo(page, locator);
  await page.keyboard.press(key);
}

async function type(page, locator, text) {
  await tabTo(page, locator);
  await page.keyboard.type(text);
}

/** Waits until an element has the focus. */
const hasFocus = (page, selector) =>
  page.waitForFunction((it) => document.activeElement?.matches(it), selector);

async function useKeyboard(page, bob) {
  const button = (name) => page.getByRole("button", { name, exact: true });
  const section = (name) => page.locator("nav").getByRole("link", { name });
  const field = page.getByLabel("Write a message");

  // Sign-in, and a name.
  await type(page, page.getByLabel("Phone number"), "13800000001");
  await type(page, page.getByLabel("Verification code"), "000000");
  await page.keyboard.press("Enter");
  await press(page, section("Settings"));
  await type(page, page.getByLabel("Name"), "Alice");
  await page.keyboard.press("Enter");

  // Friends.
  await press(page, section("Contacts"));
  await type(page, page.getByLabel("Find people"), "13800000002");
  await page.keyboard.press("Enter");
  await press(page, button("Add friend"));
  const me = await bob.users.search("13800000001");
  const alice = me[0].user_id;
  await page.getByRole("button", { name: "Request sent" }).waitFor();
  await bob.users.acceptFriend(alice);

  // A conversation: its field has the focus at once.
  await press(page, button("Message"));
  await hasFocus(page, "textarea");
  await page.keyboard.type("first line");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await sees(page, "second line");

  // A group, by the dialog; Escape closes it and gives the focus back.
  await press(page, section("Chats"));
  const create = page.getByRole("button", { name: "New group" });
  await press(page, create);
  await page.locator("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await hasFocus(page, ".side-header button");
  await page.keyboard.press("Enter");
  await type(page, page.getByLabel("Group name"), "Hiking");
  await press(page, page.getByRole("checkbox", { name: "Bob" }), "Space");
  await press(page, button("Create"));

  // A mention: the arrows choose a name, Escape puts the names aside.
  await hasFocus(page, "textarea");
  await page.keyboard.type("who comes? @");
  await page.getByRole("option", { name: "@Bob" }).waitFor();
  await isAccessible(page, "the names to mention");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Escape");
  await page.getByRole("option").waitFor({ state: "detached" });
  await page.keyboard.type("B");
  await page.getByRole("option", { name: "@Bob" }).waitFor();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await sees(page, "who comes? @Bob");
  const group = (await bob.users.groups())[0].group_id;

  // Rows of the list, by the arrows.
  await tabTo(page, page.getByLabel("Search chats"));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await page.locator(".thread-header", { hasText: "Hiking" }).waitFor();

  // The members; whoever left cannot write, tries again, and gives up.
  await press(page, page.getByRole("button", { name: "Group details" }));
  await press(page, button("Leave group"));
  await page.getByRole("status").getByText("the last admin cannot leave").waitFor();
  await isAccessible(page, "the details of a group");
  await press(page, button("Make admin"));
  await page.locator("dialog .tag").nth(1).waitFor();
  await press(page, button("Leave group"));
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.goto(`${page.url().split("#")[0]}#/chats/${encodeURIComponent(`group:${group}`)}`);
  await type(page, field, "still here?");
  await page.keyboard.press("Enter");
  await page.getByText("you are not a member").waitFor();
  await isAccessible(page, "a message that was refused");
  await press(page, button("Try again"));
  await page.locator(".has-failed").waitFor();
  await press(page, button("Discard"));
  await page.locator(".has-failed").waitFor({ state: "detached" });
  return { alice };
}

/** Reads a long conversation to its beginning and back. */
async function readLong(page, bob, alice) {
  for (let count = 0; count < LONG_COUNT; count += 1) await bob.send(`user:${alice}`, `long ${count}`);
  await sent(bob);
  await page.goto(`${page.url().split("#")[0]}#/chats/${encodeURIComponent(`user:${bob.userId}`)}`);
  await sees(page, `long ${LONG_COUNT - 1}`);
  const list = page.locator(".messages");
  const counts = [];
  const firstSeen = () =>
    list.evaluate((it) => {
      const top = it.getBoundingClientRect().top;
      const lines = [...it.querySelectorAll(".bubble")];
      const first = lines.find((line) => line.getBoundingClientRect().top >= top);
      return { text: first?.querySelector(".text")?.textContent, y: first?.getBoundingClientRect().top };
    });
  await list.focus();
  while ((await page.getByText("This is the beginning").count()) === 0) {
    await page.keyboard.press("Home");
    await page.waitForFunction(() => document.querySelector(".messages").scrollTop > 0 || document.querySelector(".centered-line").textContent.includes("beginning"));
    counts.push(await page.locator(".bubble").count());
  }
  await page.keyboard.press("Home");
  await sees(page, "first line");
  counts.push(await page.locator(".bubble").count());
  assert.ok(Math.max(...counts) < LONG_COUNT / 2, `the document has ${Math.max(...counts)} messages`);
  await page.waitForFunction(() => document.querySelector(".messages").scrollTop === 0);
  // What is read stays where it is when a message arrives.
  const before = await firstSeen();
  await bob.send(`user:${alice}`, "one more");
  await page.getByRole("button", { name: "Jump to the newest" }).waitFor();
  assert.deepEqual(await firstSeen(), before, "what is read moved");
  await tabTo(page, page.getByRole("button", { name: "Jump to the newest" }));
  await page.keyboard.press("Enter");
  await sees(page, "one more");
}

const [binary, ...wanted] = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : BROWSERS) {
  const server = await TestServer.start(binary, "sled", { GIMLET_LIMITS__SEND_RATE: "100000" });
  const browser = await startBrowser(name);
  const bob = await person(server, "13800000002", "Bob");
  try {
    const context = await newContext(browser, {
      viewport: { width: 1280, height: 800 },
      serviceWorkers: "block",
    });
    await useBuiltFiles(context, "chat");
    const page = await openPage(context, `${server.address}/`);
    const { alice } = await useKeyboard(page, bob);
    await readLong(page, bob, alice);
    // The browser reports the refusal of the last admin's leave.
    const problems = page.problems.filter((it) => !it.includes("status of 403"));
    assert.deepEqual(problems, [], "problems of the page");
    console.log(`the whole chat was used by keyboard in ${name}, and ${LONG_COUNT} messages were read`);
  } finally {
    await browser.close();
    await bob.close();
    await server.end();
  }
}
