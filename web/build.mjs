// Builds the SDK (sdk/dist), the React hooks and the web chat. The chat's files are embedded in the
// server and kept in the repository, so that the server builds without Node: server/web/assets/chat.
// `--check` builds to a temporary place and compares; `--tests` builds the tests of the SDK.
import { build } from "esbuild";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";

/** Largest size of the SDK, compressed, in bytes. */
const SDK_MAX_BYTES = 40_000;

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const assets = at("../server/web/assets/chat");
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
  const folder = at("sdk/test");
  const entries = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...common,
    platform: "node",
    entryPoints: entries.map((name) => join(folder, name)),
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

async function buildChat(outdir) {
  mkdirSync(outdir, { recursive: true });
  await build({
    ...common,
    entryPoints: {
      app: at("chat/src/main.tsx"),
      service_worker: at("chat/src/service_worker.ts"),
    },
    outdir,
    minify: true,
    jsx: "automatic",
    jsxImportSource: "preact",
  });
  await build({ entryPoints: [at("chat/src/app.css")], outdir, minify: true, logLevel: "warning" });
  for (const name of ["index.html", "icon.svg"]) cpSync(at(`chat/src/${name}`), join(outdir, name));
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
  await buildChat(fresh);
  const same =
    filesOf(fresh).join() === filesOf(assets).join() &&
    filesOf(fresh).every((name) =>
      readFileSync(join(fresh, name)).equals(readFileSync(join(assets, name))),
    );
  rmSync(fresh, { recursive: true });
  if (!same) {
    console.error(`${relative(at(".."), assets)} is not built from web/chat: npm run build`);
    process.exit(1);
  }
} else {
  await buildSdk();
  rmSync(assets, { recursive: true, force: true });
  await buildChat(assets);
  for (const name of filesOf(assets)) {
    console.log(`${name}: ${gzipSync(readFileSync(join(assets, name))).length} bytes compressed`);
  }
}
