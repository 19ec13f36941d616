import { type Language, language, preferredLanguage, useLanguage } from "./texts.ts";

/** Appearance of the page. */
export type Theme = "system" | "light" | "dark";

/** The user's choices on this device. */
export interface Preferences {
  theme: Theme;
  language: Language;
  notifications: boolean;
}

const KEY = "gimlet.preferences";

/** Reads the choices; those of an older or damaged form are replaced by defaults. */
export function loadPreferences(): Preferences {
  const fallback: Preferences = {
    theme: "system",
    language: preferredLanguage(),
    notifications: false,
  };
  try {
    return { ...fallback, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as object) };
  } catch {
    return fallback;
  }
}

/** Event of the window when another language was chosen. */
export const LANGUAGE_EVENT = "gimlet:language";

/** Keeps the choices and applies them to the page. */
export function applyPreferences(preferences: Preferences): void {
  localStorage.setItem(KEY, JSON.stringify(preferences));
  const isOther = language() !== preferences.language;
  useLanguage(preferences.language);
  if (isOther) dispatchEvent(new Event(LANGUAGE_EVENT));
  const root = document.documentElement;
  if (preferences.theme === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = preferences.theme;
}
