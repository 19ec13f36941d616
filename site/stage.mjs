// Copies the pages into target/site/pages and makes their links right for the site. The Markdown in the
// repository is written for a reader of the repository; a link to a file that is not a page leads to a copy
// of the file (docs/, proto/) or to the repository.

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, extname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { NAVIGATION, OUTSIDE, SDK, SECTIONS } from "./pages.mjs";
import { sdkReference } from "./sdk.mjs";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
export const TARGET = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "site");
export const PAGES = join(TARGET, "pages");
export const HTML = join(TARGET, "html");
const REPOSITORY = /^repository = "(.*)"$/m.exec(readFileSync(join(ROOT, "Cargo.toml"), "utf8"))[1];
const IMAGES = [".jpg", ".png", ".svg", ".webp"];

/** Returns all Markdown files below docs/, relative to it. */
function pagesOfDocs(folder = "") {
  return readdirSync(join(ROOT, "docs", folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return pagesOfDocs(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

/** Returns {address on the site: path in the repository} of every page. */
function sources() {
  const found = Object.fromEntries(pagesOfDocs().map((page) => [page, `docs/${page}`]));
  return { ...found, ...OUTSIDE };
}

/** Returns the text of a section, with its heading as the title. */
function section(text, heading) {
  const [, body] = text.split(`\n## ${heading}\n`);
  if (body === undefined) throw new Error(`the heading "${heading}" does not exist`);
  return `# ${heading}\n${body.split(/^## /m)[0]}`.replace(/^###/gm, "##");
}

/** Replaces the target of each link and image outside of code. */
function mapLinks(text, change) {
  const isCode = (part) => part.startsWith("`");
  return text.split(/(```[\s\S]*?```|`[^`\n]*`)/).map((part) =>
    isCode(part) ? part : part.replace(/\]\(([^)\s]+)\)/g, (_, link) => `](${change(link)})`)).join("");
}

/** Copies a file of the repository to the site, once, and returns its address. */
function published(path) {
  const target = join(PAGES, "public/files", path);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(ROOT, path), target);
  return `/files/${path}`;
}

/** Returns the link as the page at `address`, made of the file at `source`, must have it. */
function siteLink(link, source, address, addresses) {
  if (/^[a-z]+:/.test(link) || link.startsWith("#")) return link;
  const [file, anchor] = link.split("#");
  const path = posix.join(posix.dirname(source), file).replace(/\/$/, "");
  const hash = anchor ? `#${anchor}` : "";
  if (addresses.has(path)) {
    const way = posix.relative(posix.dirname(address), addresses.get(path));
    return (way.startsWith(".") ? way : `./${way}`) + hash;
  }
  if (!existsSync(join(ROOT, path))) throw new Error(`${source}: ${link} does not exist`);
  if (statSync(join(ROOT, path)).isDirectory()) return `${REPOSITORY}/tree/main/${path}${hash}`;
  if (IMAGES.includes(extname(path))) {
    const copy = join(PAGES, "images", path);
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(join(ROOT, path), copy);
    return posix.relative(posix.dirname(address), `images/${path}`).replace(/^(?!\.)/, "./");
  }
  if (/^(docs|proto)\//.test(path)) return published(path);
  return `${REPOSITORY}/blob/main/${path}${hash}`;
}

/** Fails unless the navigation lists every page once. */
function checkNavigation(pages) {
  const listed = NAVIGATION.flatMap(({ items }) => items.map(([, page]) => page));
  const twice = listed.filter((page, at) => listed.indexOf(page) !== at);
  const missing = pages.filter((page) => !listed.includes(page));
  const unknown = listed.filter((page) => !pages.includes(page));
  if (twice.length || missing.length || unknown.length) {
    throw new Error(`site/pages.mjs: listed twice: [${twice}]; not listed: [${missing}]; not a page: [${unknown}]`);
  }
}

export function stage() {
  rmSync(PAGES, { recursive: true, force: true });
  mkdirSync(PAGES, { recursive: true });
  // Marks the folder as one that can be made again: backups and this project's own lints leave it out. Cargo
  // does so only if it makes the folder itself.
  writeFileSync(join(dirname(TARGET), "CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
  // Vite looks for vue in the folders above a page.
  const modules = join(TARGET, "node_modules");
  rmSync(modules, { force: true });
  symlinkSync(join(ROOT, "site/node_modules"), modules);
  const all = sources();
  const addresses = new Map(Object.entries(all).map(([address, path]) => [path, address]));
  checkNavigation([...Object.keys(all), ...Object.keys(SECTIONS), SDK]);
  const write = (address, source, text) => {
    const target = join(PAGES, address);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, mapLinks(text, (link) => siteLink(link, source, address, addresses)));
  };
  for (const [address, source] of Object.entries(all)) write(address, source, readFileSync(join(ROOT, source), "utf8"));
  for (const [address, { page, heading }] of Object.entries(SECTIONS)) {
    // Headings that it links to may be in the rest of the page.
    const text = mapLinks(section(readFileSync(join(ROOT, page), "utf8"), heading), (link) =>
      link.startsWith("#") ? posix.basename(page) + link : link);
    write(address, page, text);
  }
  write(SDK, "docs/sdk.md", sdkReference(ROOT));
  return Object.keys(all).length + Object.keys(SECTIONS).length + 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(`${stage()} pages in ${relative(process.cwd(), PAGES)}`);
}
