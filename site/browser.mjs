// Opens every page of the built site in a headless browser, as wide as a phone: no page is wider than its
// window, loads anything from another server, or reports an error; the search finds a page; and axe finds no
// barrier in a page of each kind, light and dark.
//
//   node browser.mjs [--screenshots FOLDER]

import { createReadStream, existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, relative } from "node:path";
import { chromium } from "playwright-core";
import { HTML } from "./stage.mjs";

const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 900 };
const TABS = 4;
/** Pages that a person looks at: --screenshots writes them at both widths, light and dark. */
const SEEN = ["index.html", "concepts/cursor.html", "concepts/diffusion.html", "tutorials/web-page.html", "errors.html", "faq.html",
  "operations.html", "sdk.html", "readme.zh-CN.html"];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" };

const [flag, folder] = process.argv.slice(2);
const screenshots = flag === "--screenshots" ? folder : undefined;

const server = createServer((request, response) => {
  const file = join(HTML, decodeURIComponent(new URL(request.url, "http://127.0.0.1").pathname).replace(/\/$/, "/index.html"));
  if (!file.startsWith(HTML) || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `http://127.0.0.1:${server.address().port}`;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const mistakes = [];

function watched(page) {
  page.on("pageerror", (error) => mistakes.push(`${page.url()}: ${error.message}`));
  page.on("console", (line) => line.type() === "error" && mistakes.push(`${page.url()}: ${line.text()}`));
  page.on("request", (request) => {
    const isOwn = request.url().startsWith(origin) || /^(data|blob):/.test(request.url());
    if (!isOwn) mistakes.push(`${page.url()} loads ${request.url()}`);
  });
  return page;
}

const pages = readdirSync(HTML, { recursive: true }).map(String)
  .filter((name) => name.endsWith(".html") && !name.startsWith("files/") && name !== "404.html");
/** Opens a page as wide as a phone, and notes what is wider. */
async function openOnPhone(phone, name) {
  await phone.goto(`${origin}/${name}`);
  const wide = await phone.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= limit) return undefined;
    const wider = [...document.querySelectorAll(".vp-doc *")].filter((it) => it.getBoundingClientRect().right > limit);
    return wider.slice(0, 2).map((it) => `${it.tagName} ${it.textContent.slice(0, 60)}`).join("; ");
  });
  if (wide !== undefined) mistakes.push(`${name} is wider than a phone: ${wide}`);
}

const waiting = [...pages];
const phones = await Promise.all(Array.from({ length: TABS }, () => browser.newPage({ viewport: PHONE })));
await Promise.all(phones.map(async (phone) => {
  watched(phone);
  while (waiting.length) await openOnPhone(phone, waiting.pop());
}));
const [phone] = phones;

const desktop = watched(await browser.newPage({ viewport: DESKTOP }));
await desktop.goto(`${origin}/index.html`);
await desktop.locator(".VPNavBarSearch button").first().click();
for (const [words, address] of [["write-diffusion", "concepts/diffusion"], ["消息同步", "readme.zh-CN"]]) {
  await desktop.getByPlaceholder("Search").fill(words);
  const found = desktop.locator(`.result[href*="${address}"]`).first();
  await found.waitFor().catch(() => mistakes.push(`the search for ${words} does not find ${address}`));
}
await desktop.keyboard.press("Escape");

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
for (const colorScheme of ["light", "dark"]) {
  await desktop.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  for (const address of SEEN) {
    await desktop.goto(`${origin}/${address}`);
    await desktop.evaluate(axe);
    const { violations } = await desktop.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa"] }));
    for (const { id, nodes } of violations) {
      mistakes.push(`${address}, ${colorScheme}: ${id}, ${nodes.length} times: ${nodes[0].html.slice(0, 120)}`);
    }
  }
}

if (screenshots) {
  for (const [name, page] of [["phone", phone], ["desktop", desktop]]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const address of SEEN) {
        await page.goto(`${origin}/${address}`);
        await page.screenshot({ path: join(screenshots, `${address.replaceAll("/", "-")}-${name}-${colorScheme}.png`), fullPage: name === "phone" && address === "concepts/cursor.html" });
      }
    }
  }
}
await browser.close();
server.close();
for (const mistake of mistakes) console.error(mistake);
console.log(`${relative(process.cwd(), HTML)} in a browser: ${pages.length} pages, ${mistakes.length} mistakes`);
process.exit(mistakes.length ? 1 : 0);
