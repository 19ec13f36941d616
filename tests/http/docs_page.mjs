// Drives the page /docs in a headless Chromium: it shows every operation, fits a phone and a desktop, in light
// and dark, calls the API, and loads nothing from elsewhere.
//
//   node --experimental-websocket tests/http/docs_page.mjs http://127.0.0.1:8085 [FOLDER FOR SCREENSHOTS]
//
// Needs Node 20 and chromium-headless-shell.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [server, folder] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "gimlet-docs-"));

/** Starts a browser; resolves to it and the address of its debugger. */
function browser(program) {
  const child = spawn(program, ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    `--user-data-dir=${profile}`, "--remote-debugging-port=0", "about:blank"],
  { stdio: ["ignore", "ignore", "pipe"], detached: true });
  return new Promise((resolve, reject) => {
    let text = "";
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${program} exited with ${code}: ${text}`)));
    child.stderr.on("data", (data) => {
      text += data;
      const address = text.match(/ws:\/\/\S+/);
      if (address) resolve({ child, address: address[0] });
    });
  });
}

/** A page, over the protocol of the developer tools. */
class Page {
  constructor(socket, session) {
    Object.assign(this, { socket, session, next: 0, waiting: new Map(), requests: [], errors: [] });
    socket.addEventListener("message", ({ data }) => this.receive(JSON.parse(data)));
  }

  receive({ id, result, error, method, params }) {
    if (id !== undefined) {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      return error ? reject(new Error(error.message)) : resolve(result);
    }
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    if (method === "Runtime.exceptionThrown") this.errors.push(params.exceptionDetails.text);
    if (method === "Log.entryAdded" && params.entry.level === "error") this.errors.push(params.entry.text);
  }

  call(method, params = {}) {
    const id = ++this.next;
    this.socket.send(JSON.stringify({ id, method, params, sessionId: this.session }));
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  async run(script) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression: `(async () => { ${script} })()`, awaitPromise: true, returnByValue: true,
    });
    assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
    return result.value;
  }

  /** Waits until the expression is true. */
  async until(expression) {
    const script = `for (let n = 0; n < 600; n++) { if (${expression}) return true;
      await new Promise((done) => setTimeout(done, 25)); } return false;`;
    assert.ok(await this.run(script), `not within 15 s: ${expression}`);
  }

  async screenshot(name) {
    if (!folder) return;
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    writeFileSync(join(folder, `${name}.png`), Buffer.from(data, "base64"));
  }
}

async function open(address) {
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("no debugger")));
  });
  const root = new Page(socket);
  const { targetId } = await root.call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await root.call("Target.attachToTarget", { targetId, flatten: true });
  const page = new Page(socket, sessionId);
  page.next = 1_000_000;
  // Two readers of one socket: each knows its own calls.
  root.receive = () => {};
  for (const domain of ["Page", "Runtime", "Network", "Log"]) await page.call(`${domain}.enable`);
  return page;
}

async function show(page, width, height, scheme) {
  await page.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await page.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  await page.call("Page.navigate", { url: `${server}/docs#sendMessage` });
  await page.until("document.querySelector('#sendMessage[open] form')");
  const wide = await page.run("return document.documentElement.scrollWidth - innerWidth;");
  assert.ok(wide <= 0, `${wide} pixels wider than ${width}`);
  await page.screenshot(`${width}-${scheme}-operation`);
  await page.run("scrollTo(0, 0);");
  await page.screenshot(`${width}-${scheme}`);
}

async function story(page) {
  const api = await (await fetch(`${server}/v1/openapi.json`)).json();
  const ids = Object.values(api.paths).flatMap((methods) => Object.values(methods).map((one) => one.operationId));
  for (const scheme of ["light", "dark"]) {
    await show(page, 390, 844, scheme);
    await show(page, 1280, 800, scheme);
  }
  const shown = await page.run("return [...document.querySelectorAll('.operation')].map((one) => one.id);");
  assert.deepEqual(shown.toSorted(), ids.toSorted());
  // Every operation can be opened, and names its answers.
  await page.run("for (const one of document.querySelectorAll('.operation')) one.open = true;");
  await page.until(`document.querySelectorAll('.operation form').length === ${ids.length}`);
  // Sign in, and send a message to oneself.
  await page.run(`const form = document.querySelector("#sign-in form"); document.querySelector("#sign-in").open = true;
    form.phone_number.value = "13800000001"; form.code.value = "000000"; form.requestSubmit();`);
  await page.until("document.querySelector('#token').value !== ''");
  await page.run(`const form = document.querySelector("#sendMessage form");
    form.querySelector("textarea").value = JSON.stringify({ to_user: document.querySelector("#token").value.split(".")[0],
      content: { type: "text", text: "<b>not bold</b>" } }); form.requestSubmit();`);
  await page.until("document.querySelector('#sendMessage [role=status]').textContent.startsWith('200')");
  await page.screenshot("sent");
  // A stream shows the message as text, and can be stopped.
  await page.run(`document.querySelector("#followInbox form").requestSubmit();`);
  await page.until("document.querySelector('#followInbox pre:last-child').textContent.includes('not bold')");
  assert.equal(await page.run("return document.querySelectorAll('#followInbox b').length;"), 0);
  await page.run(`document.querySelector("#followInbox button[type=button]").click();`);
  await page.until("document.querySelector('#followInbox [role=status]').textContent.includes('Stopped')");
  // A refusal is shown, and the filter leaves what fits.
  await page.run(`const form = document.querySelector("#getGroup form");
    form.querySelector("input").value = "999"; form.requestSubmit();`);
  await page.until("document.querySelector('#getGroup [role=status]').textContent.startsWith('404')");
  await page.run(`const filter = document.querySelector("#filter"); filter.value = "ban put";
    filter.dispatchEvent(new Event("input"));`);
  const left = await page.run("return [...document.querySelectorAll('.operation:not([hidden])')].map((one) => one.id);");
  assert.deepEqual(left, ["banUser"]);
  await page.screenshot("filtered");
  const elsewhere = page.requests.filter((url) => !url.startsWith(server) && !url.startsWith("data:") && url !== "about:blank");
  assert.deepEqual(elsewhere, []);
  // The refusal of getGroup is the only error.
  const errors = page.errors.filter((text) => !text.includes("404"));
  assert.deepEqual(errors, []);
}

const { child, address } = await browser("chromium-headless-shell");
try {
  await story(await open(address));
  console.log("the page /docs works");
} finally {
  child.removeAllListeners("exit");
  // The whole process group: Debian's Chromium is a script that starts the browser.
  process.kill(-child.pid, "SIGKILL");
  rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
process.exit(0);
