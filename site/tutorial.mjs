// Lets two people talk by the page of docs/tutorials/web-page.md, for tests/tutorials.py: it prints "kill" and
// "start" when the server should be killed and started, and waits for a line each time.
//
//   node tutorial.mjs http://127.0.0.1:8000

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [server] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(what) {
  console.log(what);
  await lines.next();
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });

async function open(name) {
  const page = await (await browser.newContext()).newPage();
  page.on("pageerror", (error) => assert.fail(`${name}: ${error.message}`));
  await page.goto(`${server}/?as=${name}`);
  await page.getByText("connected", { exact: true }).waitFor();
  return page;
}

async function write(page, text) {
  await page.getByLabel("Message").fill(text);
  await page.getByLabel("Message").press("Enter");
}

const sees = (page, text) => page.locator("li").filter({ hasText: text }).waitFor();
const log = (page) => page.locator("li").allTextContents();

const alice = await open("alice");
const bob = await open("bob");
await write(alice, "hi, bob");
await sees(bob, "hi, bob");
await write(bob, "<b>hi</b>, alice");
await sees(alice, "<b>hi</b>, alice");

await ask("kill");
await write(alice, "while you were away");
await write(alice, "and once more");
await alice.reload();
await sees(alice, "and once more …");
await ask("start");
await sees(bob, "and once more");
await bob.reload();
await sees(bob, "and once more");
await write(bob, "all there");
await sees(alice, "all there");

const expected = ["hi, bob", "<b>hi</b>, alice", "while you were away", "and once more", "all there"];
for (const page of [alice, bob]) {
  await page.waitForFunction(() => !document.getElementById("log").textContent.includes("…"));
  assert.deepEqual(await log(page), expected);
}
await browser.close();
process.exit(0);
