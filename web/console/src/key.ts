import { HttpApi } from "@gimlet/client";

const KEY = "gimlet.console.key";

/** Returns the calls with the key of this tab, or undefined without one. */
export function loadApi(): HttpApi | undefined {
  const key = sessionStorage.getItem(KEY);
  return key ? new HttpApi("", key) : undefined;
}

/** Keeps a key until the tab is closed. */
export function keepKey(key: string): HttpApi {
  sessionStorage.setItem(KEY, key);
  return new HttpApi("", key);
}

/** Forgets the key. */
export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
}
