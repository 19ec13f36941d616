import { render } from "preact";
import { App } from "./app.tsx";
import { applyPreferences, loadPreferences } from "./preferences.ts";

applyPreferences(loadPreferences());
render(<App />, document.getElementById("app")!);
