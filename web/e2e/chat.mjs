// Two people use the web chat as people do, while the server is killed before their eyes:
// chat.mjs BINARY [chromium] [firefox]. Nothing is lost, doubled or out of order, and the console stays
// empty.
import assert from "node:assert/strict";
import { BROWSERS, isAccessible, newContext, openPage, sees, signIn, startBrowser, texts, write } from "./browser.mjs";
import { TestServer } from "./server.mjs";

const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

const link = (page, name) => page.getByRole("link", { name, exact: true }).click();
const section = (page, name) => page.locator("nav").getByRole("link", { name }).click();

/** The whole story, in one browser. */
async function talk(browser, server) {
  const desktop = await newContext(browser, { viewport: { width: 1280, height: 800 } });
  const phone = await newContext(browser, { viewport: { width: 390, height: 844 } });
  const alice = await openPage(desktop, `${server.address}/`);
  const bob = await openPage(phone, `${server.address}/`);
  await isAccessible(alice, "the sign-in");
  await signIn(alice, "13800000001", "Alice");
  await signIn(bob, "13800000002", "Bob");
  await isAccessible(bob, "the settings");

  // They become friends.
  await section(alice, "Contacts");
  await alice.getByLabel("Find people").fill("13800000002");
  await alice.getByLabel("Find people").press("Enter");
  await alice.getByRole("button", { name: "Add friend" }).click();
  await section(bob, "Contacts");
  await bob.getByRole("button", { name: "Accept" }).click();
  await bob.locator("a.row", { hasText: "Alice" }).click();
  await isAccessible(alice, "the contacts");

  // They talk; markup is text, and a script in a message does not run.
  await alice.getByRole("button", { name: "Message" }).click();
  const markup = '<img src=x onerror="document.title=1"><b>bold</b> https://example.com/a';
  await write(alice, markup);
  await sees(bob, "<b>bold</b>");
  assert.equal(await bob.locator(".bubble a").getAttribute("href"), "https://example.com/a");
  assert.equal(await bob.locator(".bubble b, .bubble img").count(), 0);
  const expected = [markup];
  for (let count = 0; count < 60; count += 1) {
    const [page, name] = count % 2 === 0 ? [bob, "bob"] : [alice, "alice"];
    expected.push(`${name} ${count}`);
    await write(page, `${name} ${count}`);
    await sees(count % 2 === 0 ? alice : bob, `${name} ${count}`);
  }
  await isAccessible(alice, "a conversation");

  // A picture.
  await bob.locator("input[type=file]").setInputFiles({
    name: "dot.png",
    mimeType: "image/png",
    buffer: PICTURE,
  });
  await alice.locator(".bubble .image img").waitFor();

  // The server dies before their eyes. What they write is kept, and sent when it is back.
  await server.kill();
  await alice.getByText("The server cannot be reached").waitFor();
  for (let count = 0; count < 3; count += 1) {
    await write(alice, `while it was away ${count}`);
    expected.push(`while it was away ${count}`);
  }
  await alice.reload();
  await alice.locator(".is-pending").nth(2).waitFor().catch(() => undefined);
  await server.restart();
  if (!(await alice.locator(".thread").count())) await alice.goto(alice.url());
  await sees(bob, "while it was away 2");

  // A reload shows the same, once and in order, from the beginning.
  for (const page of [alice, bob]) {
    await page.reload();
    await sees(page, "while it was away 2");
    while ((await page.getByText("This is the beginning").count()) === 0) {
      await page.locator(".messages").evaluate((list) => (list.scrollTop = 0));
      await page.locator(".messages").hover();
      await page.mouse.wheel(0, -4_000);
    }
    assert.deepEqual(await texts(page), expected);
  }

  // A group, with a mention.
  await alice.getByRole("button", { name: "New group" }).click();
  await alice.getByLabel("Group name").fill("Hiking");
  await alice.getByRole("checkbox", { name: "Bob" }).check();
  await isAccessible(alice, "a dialog");
  await alice.getByRole("button", { name: "Create" }).click();
  await alice.locator(".thread-header", { hasText: "Hiking" }).waitFor();
  await alice.getByLabel("Write a message").pressSequentially("who comes? @B");
  await alice.getByRole("option", { name: "@Bob" }).click();
  await alice.getByLabel("Write a message").press("Enter");
  await link(bob, "Back");
  await bob.locator("a.row", { hasText: "Hiking" }).locator(".is-mention").waitFor();
  await isAccessible(bob, "the list of chats");
  await bob.locator("a.row", { hasText: "Hiking" }).click();
  await write(bob, "me");
  await sees(alice, "me");

  // A second tab of Alice shares the connection of the first.
  const second = await openPage(desktop, alice.url());
  await sees(second, "me");
  await write(second, "from the second tab");
  await sees(alice, "from the second tab");
  await alice.close();
  await write(bob, "to the second tab");
  await sees(second, "to the second tab");

  // A room.
  await section(second, "Rooms");
  await second.getByLabel("Room number").fill("5");
  await second.getByRole("button", { name: "Join" }).click();
  await write(second, "hello, room");
  await sees(second, "hello, room");

  // Everything by keyboard: from the top of the page to the settings.
  await second.locator("nav a").last().focus();
  await second.keyboard.press("Enter");
  await second.getByLabel("Language").selectOption("zh");
  await second.getByRole("heading", { name: "设置" }).waitFor();
  await isAccessible(second, "the settings in Chinese");

  for (const [name, page] of [["Alice", alice], ["Bob", bob], ["the second tab", second]]) {
    assert.deepEqual(page.problems, [], `problems of the page of ${name}`);
  }
}

const [binary, ...wanted] = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : BROWSERS) {
  const server = await TestServer.start(binary);
  const browser = await startBrowser(name);
  try {
    await talk(browser, server);
    console.log(`two people chatted in ${name}: nothing lost, doubled or out of order`);
  } finally {
    await browser.close();
    await server.end();
  }
}
