// Builds the site into target/site/html: stages the pages, runs VitePress, and checks the result.
//
//   node build.mjs            the whole
//   node build.mjs --check    only the checks, of what was built before

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { checkSite } from "./check.mjs";
import { HTML, stage } from "./stage.mjs";

// VitePress takes a link to a file with an ending that it does not know for a page.
process.env.VITE_EXTRA_EXTENSIONS = "cfg,proto,py";

if (process.argv[2] !== "--check") {
  stage();
  const { build } = await import("vitepress");
  await build(fileURLToPath(new URL(".", import.meta.url)));
}
const { pages, links, mistakes } = checkSite(HTML);
for (const mistake of mistakes) console.error(mistake);
console.log(`${relative(process.cwd(), HTML)}: ${pages} pages, ${links} links, ${mistakes.length} mistakes`);
process.exit(mistakes.length ? 1 : 0);
