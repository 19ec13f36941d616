import { render } from "preact";
import { App } from "./app.tsx";
import { applyPreferences, loadPreferences } from "./preferences.ts";

applyPreferences(loadPreferences());
render(<App />, document.getElementById("app")!);

// Missing on a page without a secure context; then the page needs the server to open.
navigator.serviceWorker?.register("service_worker.js").catch(() => undefined);
// A notification was clicked.
navigator.serviceWorker?.addEventListener("message", ({ data }) => {
  if (data?.kind === "show") location.hash = `/${data.route}`;
});
