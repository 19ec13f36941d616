// Starts a browser and pages of the web chat, for the tests beside this file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, firefox } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Flags without which Chromium calls its maker's hosts. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Preferences without which Firefox calls its maker's hosts, and asks before a first run. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.search.update": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.enabled": false,
};

/** Browsers that can be started. */
export const BROWSERS = ["chromium", "firefox"];

/** Starts a browser; `CHROMIUM` and `FIREFOX` name other programs than Debian's. */
export function startBrowser(name = "chromium") {
  switch (name) {
    case "chromium": {
      const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell";
      return chromium.launch({ executablePath, args: FLAGS });
    }
    case "firefox": {
      const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
      // This channel is an unchanged Firefox, which is driven by WebDriver BiDi.
      return firefox.launch({ channel: "moz-firefox", executablePath, firefoxUserPrefs: PREFERENCES });
    }
    default:
      throw new Error(`"${name}" is not one of ${BROWSERS.join(", ")}`);
  }
}

/** Opens a separate profile. Firefox emulates no preferences of a user, and says so if asked to. */
export function newContext(browser, options = {}) {
  const isFirefox = browser.browserType().name() === "firefox";
  const plain = { colorScheme: null, reducedMotion: null, forcedColors: null, contrast: null };
  return browser.newContext({ ...options, ...(isFirefox ? plain : {}) });
}

/** Answers with the files as they are built now, in place of those that are embedded in the program. */
export async function useBuiltFiles(context, folder) {
  for (const name of ["app.js", "app.css"]) {
    const body = readFileSync(new URL(`../../server/web/assets/${folder}/${name}`, import.meta.url));
    await context.route(`**/${name}`, async (route) =>
      route.fulfill({ response: await route.fetch(), body }),
    );
  }
}

/** Opens a page whose errors of any kind are collected in `page.problems`. */
export async function openPage(context, address) {
  const page = await context.newPage();
  page.problems = [];
  // A server that is away is part of the test; the browser reports each failed request and connection.
  const isAway = (text) =>
    /ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE|502|503|establish a connection to the server at ws/.test(text);
  page.on("pageerror", ({ message }) => {
    if (!isAway(message)) page.problems.push(`error: ${message}`);
  });
  page.on("console", (line) => {
    if (line.type() === "error" && !isAway(line.text())) page.problems.push(`console: ${line.text()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    const isOwn = url.origin === new URL(address).origin || ["blob:", "data:"].includes(url.protocol);
    if (!isOwn) page.problems.push(`a request to ${url.origin}`);
  });
  await page.goto(address);
  return page;
}

/** Fails for any fault of accessibility that axe finds. */
export async function isAccessible(page, where) {
  // The policy of the page forbids inline scripts; this one comes from the debugger.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const told = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(told, [], `accessibility of ${where}`);
}

/** Signs a person in and names it. */
export async function signIn(page, phoneNumber, name) {
  await page.getByLabel("Phone number").fill(phoneNumber);
  await page.getByLabel("Verification code").fill("000000");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Save" }).and(page.locator(":disabled")).waitFor();
}

/** Writes a message in the open conversation. */
export async function write(page, text) {
  await page.getByLabel("Write a message").fill(text);
  await page.getByLabel("Write a message").press("Enter");
}

/** Waits until the open conversation ends with this message. */
export async function sees(page, text) {
  await page.locator(".bubble .text", { hasText: text }).last().waitFor();
}

/** Returns the texts of the open conversation; lines out of sight have no inner text, but content. */
export function texts(page) {
  return page.locator(".bubble .text").allTextContents();
}
