// Pictures of a page in each size and mode. A page that is wider than its window fails, and one in which axe
// finds a fault.
import assert from "node:assert/strict";
import { join } from "node:path";
import { isAccessible } from "./browser.mjs";

const SIZES = { desktop: { width: 1180, height: 760 }, phone: { width: 390, height: 844 } };

/** A page, and the pictures that are taken of it in these modes: light, dark, rtl. */
export class Album {
  constructor(page, folder, language, modes) {
    Object.assign(this, { page, folder, language, modes });
  }

  /** Takes a state in both sizes and all modes. */
  async take(name) {
    const { page, language, modes } = this;
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      for (const theme of modes) {
        await page.emulateMedia({ colorScheme: theme === "dark" ? "dark" : "light" });
        await page.evaluate((dir) => (document.documentElement.dir = dir), theme === "rtl" ? "rtl" : "ltr");
        await page.evaluate(() => document.fonts.ready);
        const wide = await page.evaluate(() => {
          const limit = document.documentElement.clientWidth;
          const parts = [...document.querySelectorAll("body *:not(.hidden)")];
          const outside = parts.filter((it) => {
            const { left, right, width } = it.getBoundingClientRect();
            return width > 0 && (right > limit + 1 || left < -1) && !it.closest(".hidden, .suggestions, .table");
          });
          return outside.map((it) => `${it.tagName}.${it.className}`);
        });
        assert.deepEqual(wide, [], `${name} is wider than a ${size}`);
        await isAccessible(page, `${name} on a ${size}, ${theme}`);
        await page.screenshot({ fullPage: true, path: join(this.folder, `${name}-${language}-${size}-${theme}.png`) });
      }
    }
    await page.evaluate(() => (document.documentElement.dir = "ltr"));
  }
}
