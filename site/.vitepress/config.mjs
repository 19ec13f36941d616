// The configuration of VitePress. The site loads nothing from other servers: fonts, search and icons are part
// of it.

import { join } from "node:path";
import { NAVIGATION } from "../pages.mjs";
import { HTML, PAGES, TARGET } from "../stage.mjs";

const address = (page) => "/" + page.replace(/(^|\/)index\.md$/, "$1").replace(/\.md$/, "");

/** Anchors as GitHub makes them, because links between pages are written for it. */
const anchor = (heading) =>
  heading.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");

/** Splits at spaces and punctuation, and Chinese, which has no spaces, into pairs of characters. Runs in the browser. */
function tokenize(text) {
  return text.split(/[\s\p{P}\p{S}]+/u).flatMap((word) => {
    if (!/\p{Script=Han}/u.test(word)) return word ? [word] : [];
    const runs = word.match(/\p{Script=Han}+|\P{Script=Han}+/gu);
    return runs.flatMap((run) =>
      /\p{Script=Han}/u.test(run) && run.length > 1 ? Array.from(run.slice(1), (_, at) => run.slice(at, at + 2)) : [run]);
  });
}

export default {
  title: "gimlet",
  description: "An instant-messaging server that runs next to your own backend",
  lang: "en",
  base: process.env.SITE_BASE ?? "/",
  srcDir: PAGES,
  outDir: HTML,
  cacheDir: join(TARGET, "cache"),
  // check.mjs follows these: they are files, not pages.
  ignoreDeadLinks: [/^\/files\//],
  cleanUrls: false,
  metaChunk: true,
  head: [["link", { rel: "icon", href: "data:," }]],
  // The language of a page chooses the font of its characters, and how a screen reader speaks it.
  transformHtml: (html, _file, { page }) => page.includes("zh-CN") ? html.replace('lang="en"', 'lang="zh-CN"') : html,
  markdown: {
    // Pages are Markdown only: a "<" in a sentence is a "<".
    html: false,
    anchor: { slugify: anchor },
    toc: { slugify: anchor },
    headers: { slugify: anchor },
    // The plain themes have comments that are too pale to read.
    theme: { light: "github-light-high-contrast", dark: "github-dark-default" },
    languageAlias: { "rust,ignore": "rust" },
  },
  themeConfig: {
    search: { provider: "local", options: { miniSearch: { options: { tokenize } } } },
    outline: { level: [2, 3] },
    externalLinkIcon: true,
    nav: [
      { text: "Start", link: address("readme.md") },
      { text: "Tutorials", link: address("tutorials/web-page.md") },
      { text: "Reference", link: address("http.md") },
      { text: "Operations", link: address("operations.md") },
    ],
    sidebar: NAVIGATION.map(({ text, items }) => ({
      text,
      items: items.map(([title, page]) => ({ text: title, link: address(page) })),
    })),
    footer: { message: "Licensed under MIT or Apache-2.0, at your option." },
  },
};
