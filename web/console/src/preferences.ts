import { type Language, LANGUAGES, preferredLanguage, useLanguage } from "./texts.ts";

/** Appearance of the page. */
export type Theme = "system" | "light" | "dark";

/** The operator's choices in this browser. */
export interface Preferences {
  theme: Theme;
  language: Language;
}

const KEY = "gimlet.console.preferences";

/** Reads the choices; those of an older or damaged form are replaced by defaults. */
export function loadPreferences(): Preferences {
  const preferences: Preferences = { theme: "system", language: preferredLanguage() };
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Preferences>;
    if (kept.theme === "light" || kept.theme === "dark") preferences.theme = kept.theme;
    if (kept.language && kept.language in LANGUAGES) preferences.language = kept.language;
  } catch {
    // The defaults are used.
  }
  return preferences;
}

/** Applies the choices to the page. */
export function applyPreferences(preferences: Preferences): void {
  useLanguage(preferences.language);
  const root = document.documentElement;
  if (preferences.theme === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = preferences.theme;
}

/** Keeps the choices and applies them to the page. */
export function keepPreferences(preferences: Preferences): void {
  localStorage.setItem(KEY, JSON.stringify(preferences));
  applyPreferences(preferences);
}
