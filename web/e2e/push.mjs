// The web chat asks for Web Push and shows what comes: push.mjs BINARY. The push service itself is left
// out: the browser's subscription is a stand-in, and the debugger delivers the message to the service
// worker. That the server sends what browsers can read is tested by tests/run push.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newContext, openPage, signIn, startBrowser } from "./browser.mjs";
import { TestServer } from "./server.mjs";

const [binary] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "gimlet-push-"));
const key = join(folder, "vapid.pem");
writeFileSync(key, execFileSync(binary, ["push", "keys"], { stdio: ["ignore", "pipe", "ignore"] }));
const server = await TestServer.start(binary, "memory", {
  GIMLET_PUSH__WEBPUSH__KEY: key,
  GIMLET_PUSH__WEBPUSH__CONTACT: "mailto:test@example.com",
});
const browser = await startBrowser();
try {
  const context = await newContext(browser, { permissions: ["notifications"] });
  // A point of the curve, as a browser makes one for each subscription.
  await context.addInitScript(() => {
    let current = null;
    PushManager.prototype.getSubscription = async () => current;
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
      const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
      const base64 = (bytes) =>
        btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
      globalThis.asked = { userVisibleOnly, applicationServerKey };
      const keys = { p256dh: base64(raw), auth: base64(crypto.getRandomValues(new Uint8Array(16))) };
      current = {
        toJSON: () => ({ endpoint: "https://fcm.googleapis.com/fcm/send/stand-in", keys }),
        unsubscribe: async () => ((current = null), true),
      };
      return current;
    };
  });
  const page = await openPage(context, `${server.address}/`);
  await signIn(page, "13800000001", "Alice");
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));

  const isPush = (method) => (response) =>
    response.url().endsWith("/push") && response.request().method() === method;
  const registered = page.waitForResponse(isPush("PUT"));
  await page.getByLabel("Notify me").check();
  const answer = await registered;
  assert.equal(answer.status(), 204, await answer.text());
  const { provider, endpoint, locale } = answer.request().postDataJSON();
  assert.deepEqual({ provider, locale }, { provider: "webpush", locale: "en" });
  assert.match(endpoint, /^https:/);
  const asked = await page.evaluate(() => globalThis.asked);
  assert.equal(asked.userVisibleOnly, true);
  assert.match(asked.applicationServerKey, /^[A-Za-z0-9_-]{87}$/, "65 bytes of a point in base64url");

  // A reload registers again, because the subscription may be another one by then.
  const again = page.waitForResponse(isPush("PUT"));
  await page.reload();
  assert.equal((await again).status(), 204);

  // What arrives is shown.
  const debug = await context.newCDPSession(page);
  const registration = new Promise((resolve) =>
    debug.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => resolve(registrations[0])),
  );
  await debug.send("ServiceWorker.enable");
  const { registrationId } = await registration;
  const data = JSON.stringify({ title: "Bob", body: "hi", tag: "t", conversation: "user:2" });
  // A browser without a screen ends itself when it has to show one.
  const worker = context.serviceWorkers()[0];
  await worker.evaluate(() => {
    globalThis.shown = new Promise((resolve) => {
      registration.showNotification = async (title, options) => resolve([title, options]);
    });
  });
  await debug.send("ServiceWorker.deliverPushMessage", { origin: server.address, registrationId, data });
  const [title, { body, tag, data: kept }] = await worker.evaluate(() => globalThis.shown);
  assert.deepEqual([title, body, tag, kept], ["Bob", "hi", "t", { conversation: "user:2" }]);

  // Without the wish the server forgets the address.
  const ended = page.waitForResponse(isPush("DELETE"));
  await page.getByLabel("Notify me").uncheck();
  assert.equal((await ended).status(), 204);
  assert.deepEqual(page.problems, [], "problems of the page");
  console.log("the web chat registered for Web Push and showed a notification");
} finally {
  await browser.close();
  await server.end();
  rmSync(folder, { recursive: true });
}
