// Checks the built site: each link of a page leads to a page or file of the site and to a heading that
// exists, and no page loads anything from another server.

import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const FEWEST_PAGES = 30;
const FEWEST_LINKS = 2000;

function filesOf(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

const decoded = (text) => text.replaceAll("&amp;", "&").replaceAll("&#x27;", "'").replaceAll("&quot;", '"');

/** Returns the addresses in a page: those that a reader may follow, and those that the browser loads. */
function addressesOf(html) {
  const found = { followed: [], loaded: [] };
  for (const [, tag, attributes] of html.matchAll(/<(\w+)((?:\s+[^<>]*?)?)>/g)) {
    for (const [, name, value] of attributes.matchAll(/\s(href|src|srcset|poster|data)="([^"]*)"/g)) {
      const isFollowed = tag === "a" && name === "href";
      (isFollowed ? found.followed : found.loaded).push(decoded(value));
    }
  }
  return found;
}

const idsOf = (html) => new Set([...html.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => decoded(id)));

/** Returns the file that an address of the site means, or undefined. */
function fileOf(address, page, root, base) {
  const path = decodeURIComponent(address);
  const inside = path.startsWith("/") ? join(root, path.slice(base.length - 1)) : join(dirname(page), path);
  const choices = [inside, `${inside}.html`, join(inside, "index.html")];
  return choices.find((it) => existsSync(it) && statSync(it).isFile());
}

export function checkSite(root, base = process.env.SITE_BASE ?? "/") {
  const files = filesOf(root);
  // Files below files/ are copies of examples, not pages of the site.
  const pages = files.filter((it) => it.endsWith(".html") && !it.startsWith(join(root, "files/")));
  const texts = new Map(pages.map((page) => [page, readFileSync(page, "utf8")]));
  const ids = new Map([...texts].map(([page, html]) => [page, idsOf(html)]));
  const mistakes = [];
  let links = 0;
  for (const [page, html] of texts) {
    const name = relative(root, page);
    const { followed, loaded } = addressesOf(html);
    for (const address of loaded.filter((it) => /^(https?:)?\/\//.test(it))) {
      mistakes.push(`${name} loads ${address} from another server`);
    }
    for (const address of [...followed, ...loaded]) {
      if (/^([a-z]+:|\/\/)/.test(address)) continue;
      links += 1;
      const [path, anchor] = address.split("#");
      const target = path === "" ? page : fileOf(path, page, root, base);
      if (!target) mistakes.push(`${name} links to ${address}, which does not exist`);
      else if (anchor && ids.has(target) && !ids.get(target).has(decodeURIComponent(anchor))) {
        mistakes.push(`${name} links to ${address}, which is not a heading`);
      }
    }
  }
  for (const file of files.filter((it) => it.endsWith(".css"))) {
    for (const [, address] of readFileSync(file, "utf8").matchAll(/url\(["']?((?:https?:)?\/\/[^)"']+)/g)) {
      mistakes.push(`${relative(root, file)} loads ${address} from another server`);
    }
  }
  if (pages.length < FEWEST_PAGES) mistakes.push(`the search for pages is broken: ${pages.length}`);
  if (links < FEWEST_LINKS) mistakes.push(`the search for links is broken: ${links}`);
  return { pages: pages.length, links, mistakes };
}
