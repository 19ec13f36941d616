// Tells the stories of the SDK over WebSockets and over server-sent events, on servers in memory and on
// disk, in Node and in a browser: conformance.mjs BINARY [node] [chromium] [firefox]. Node before 22
// needs --experimental-websocket.
import { readFileSync } from "node:fs";
import * as sdk from "../sdk/dist/index.js";
import { BROWSERS, newContext, startBrowser } from "./browser.mjs";
import { TestServer } from "./server.mjs";
import { tell } from "./stories.mjs";

/** Longest time for all stories of one combination, in milliseconds; they take a few seconds. */
const MAX_MS = 60_000;

/** Fails if the stories take too long, for example because a message does not arrive. */
function timely(work, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end in ${MAX_MS} ms`)), MAX_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function inNode(server, fields) {
  const store = () => new sdk.MemoryStore();
  return tell({
    ...fields,
    sdk,
    server: server.address,
    store,
    privateStore: store,
    kill: () => server.kill(),
    restart: () => server.restart(),
  });
}

/**
 * Tells the stories in the page of the web chat, so that its content security policy holds for them.
 * The modules come from here, in the name of the server.
 */
async function inBrowser(browser, server, fields) {
  const context = await newContext(browser, { serviceWorkers: "block" });
  const page = await context.newPage();
  if (process.env.VERBOSE) page.on("console", (line) => console.log(line.text()));
  const files = {
    "/stories.mjs": readFileSync(new URL("stories.mjs", import.meta.url), "utf8"),
    "/sdk.mjs": readFileSync(new URL("../sdk/dist/index.js", import.meta.url), "utf8"),
  };
  for (const [path, body] of Object.entries(files)) {
    await page.route(server.address + path, (route) =>
      route.fulfill({ contentType: "text/javascript", body }),
    );
  }
  await page.exposeFunction("killServer", () => server.kill());
  await page.exposeFunction("restartServer", () => server.restart());
  await page.goto(`${server.address}/`);
  const told = await page.evaluate(async (given) => {
    const [sdk, { tell }] = await Promise.all([import("/sdk.mjs"), import("/stories.mjs")]);
    let stores = 0;
    // Each client has a database of its own; clients of one store are tabs of one browser.
    const store = () => new sdk.IndexedDbStore(`story${(stores += 1)}`);
    return tell({
      ...given,
      sdk,
      server: location.origin,
      store,
      privateStore: () => new sdk.MemoryStore(),
      kill: () => globalThis.killServer(),
      restart: () => globalThis.restartServer(),
    });
  }, fields);
  await context.close();
  return told;
}

const [binary, ...wanted] = process.argv.slice(2);
const runtimes = wanted.length > 0 ? wanted : ["node", ...BROWSERS];
for (const runtime of runtimes) {
  const browser = runtime === "node" ? undefined : await startBrowser(runtime);
  try {
    for (const storage of ["memory", "sled"]) {
      for (const transport of ["websocket", "sse"]) {
        const server = await TestServer.start(binary, storage, { GIMLET_LIMITS__SEND_RATE: "100000" });
        try {
          const fields = { transport, isDurable: storage === "sled", isVerbose: "VERBOSE" in process.env };
          const work = browser ? inBrowser(browser, server, fields) : inNode(server, fields);
          const told = await timely(work, `${runtime}, ${transport}, ${storage}`);
          const ms = told.reduce((sum, [, each]) => sum + each, 0);
          console.log(`${runtime}, ${transport}, ${storage}: ${told.length} stories in ${ms} ms`);
          if (process.env.VERBOSE) for (const [name, each] of told) console.log(`  ${each} ms  ${name}`);
        } finally {
          await server.end();
        }
      }
    }
  } finally {
    await browser?.close();
  }
}
