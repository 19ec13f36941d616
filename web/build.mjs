// Builds the SDK (sdk/dist), the React hooks, the web chat and the console. The files of the two pages are
// embedded in the server and kept in the repository, so that the server builds without Node:
// server/web/assets. `--check` builds to a temporary place and compares; `--tests` builds the tests.
import { build } from "esbuild";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";

/** Largest size of the SDK, compressed, in bytes. */
const SDK_MAX_BYTES = 40_000;

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const assets = at("../server/web/assets");
const isCheck = process.argv.includes("--check");

const common = {
  bundle: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none",
  logLevel: "warning",
  alias: { "@gimlet/client": at("sdk/src/index.ts") },
};

async function buildTests() {
  const entries = ["sdk/test", "console/test"].flatMap((folder) => {
    const names = readdirSync(at(folder)).filter((name) => name.endsWith(".test.ts"));
    return names.map((name) => [name.replace(/\.ts$/, ""), at(`${folder}/${name}`)]);
  });
  await build({
    ...common,
    platform: "node",
    entryPoints: Object.fromEntries(entries),
    outdir: at("target/tests"),
    outExtension: { ".js": ".mjs" },
    sourcemap: "inline",
    external: ["fake-indexeddb", "fake-indexeddb/auto"],
  });
}

async function buildSdk() {
  const outfile = at("sdk/dist/index.js");
  await build({ ...common, entryPoints: [at("sdk/src/index.ts")], outfile, sourcemap: true });
  const small = await build({
    ...common,
    entryPoints: [at("sdk/src/index.ts")],
    minify: true,
    write: false,
  });
  const bytes = gzipSync(small.outputFiles[0].contents).length;
  console.log(`@gimlet/client: ${bytes} bytes compressed (at most ${SDK_MAX_BYTES})`);
  if (bytes > SDK_MAX_BYTES) throw new Error("@gimlet/client is too large");
}

/** The pages, and their scripts beside `app`. */
const PAGES = {
  chat: { service_worker: "chat/src/service_worker.ts" },
  console: {},
};

async function buildPage(name, scripts, outdir) {
  mkdirSync(outdir, { recursive: true });
  const others = Object.entries(scripts).map(([script, path]) => [script, at(path)]);
  await build({
    ...common,
    entryPoints: { app: at(`${name}/src/main.tsx`), ...Object.fromEntries(others) },
    outdir,
    minify: true,
    jsx: "automatic",
    jsxImportSource: "preact",
  });
  const style = at(`${name}/src/app.css`);
  await build({ entryPoints: [style], outdir, bundle: true, minify: true, logLevel: "warning" });
  cpSync(at(`${name}/src/index.html`), join(outdir, "index.html"));
  cpSync(at("shared/icon.svg"), join(outdir, "icon.svg"));
}

async function buildPages(outdir) {
  for (const [name, scripts] of Object.entries(PAGES)) await buildPage(name, scripts, join(outdir, name));
}

function filesOf(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();
}

if (process.argv.includes("--tests")) {
  await buildTests();
} else if (isCheck) {
  await buildSdk();
  const fresh = mkdtempSync(join(tmpdir(), "gimlet-web-"));
  await buildPages(fresh);
  const same =
    filesOf(fresh).join() === filesOf(assets).join() &&
    filesOf(fresh).every((name) =>
      readFileSync(join(fresh, name)).equals(readFileSync(join(assets, name))),
    );
  rmSync(fresh, { recursive: true });
  if (!same) {
    console.error(`${relative(at(".."), assets)} is not built from web/chat and web/console: npm run build`);
    process.exit(1);
  }
} else {
  await buildSdk();
  rmSync(assets, { recursive: true, force: true });
  await buildPages(assets);
  for (const name of filesOf(assets)) {
    console.log(`${name}: ${gzipSync(readFileSync(join(assets, name))).length} bytes compressed`);
  }
}
