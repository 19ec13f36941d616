// Forms that send a request, and show its answer and the curl line for it.
import { credentials, make } from "/docs/dom.js";

/** Characters of a stream that stay on the page. */
const MAX_SHOWN = 64 * 1024;

function inputs(operation, place) {
  const parameters = (operation.parameters ?? []).filter((one) => one.in === place);
  // The credentials at the top of the page set it.
  return parameters.filter((one) => one.name !== "gimlet-user").map((one) => {
    const input = make("input", { spellcheck: "false", autocapitalize: "off", required: one.required });
    return { name: one.name, input, label: make("label", {}, one.required ? one.name : `${one.name} (optional)`, input) };
  });
}

function request(operation, fields, body) {
  let path = operation.path;
  for (const { name, input } of fields.path) {
    path = path.replace(`{${name}}`, encodeURIComponent(input.value.trim()));
  }
  const query = new URLSearchParams();
  for (const { name, input } of fields.query) {
    if (input.value !== "") query.append(name, input.value);
  }
  const url = query.size > 0 ? `${path}?${query}` : path;
  const headers = {};
  if (credentials.token) headers.Authorization = `Bearer ${credentials.token}`;
  if (credentials.acting) headers["Gimlet-User"] = credentials.acting;
  for (const { name, input } of fields.header) {
    if (input.value !== "") headers[name] = input.value;
  }
  const init = { method: operation.method.toUpperCase(), headers, cache: "no-store" };
  if (body && body.value.trim() !== "") {
    headers["Content-Type"] = "application/json";
    init.body = body.value;
  }
  return { url, init };
}

const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function curl({ url, init }) {
  const parts = ["curl", "-s"];
  if (init.method !== "GET") parts.push("-X", init.method);
  for (const [name, value] of Object.entries(init.headers)) {
    // The token does not belong on a screen.
    const shown = name === "Authorization" ? "Authorization: Bearer $TOKEN" : `${name}: ${value}`;
    parts.push("-H", name === "Authorization" ? `"${shown}"` : quoted(shown));
  }
  if (init.body) parts.push("--data", quoted(init.body));
  parts.push(quoted(location.origin + url));
  return parts.join(" ");
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function read(answer, shown) {
  const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream");
  if (!isStream) {
    shown.textContent = pretty(await answer.text()) || "(no content)";
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    shown.textContent = (shown.textContent + value).slice(-MAX_SHOWN);
    shown.scrollTop = shown.scrollHeight;
  }
}

/** Makes the form of an operation. `example` is the example of its body, if it has one. */
export function tryForm(operation, example) {
  const fields = {
    path: inputs(operation, "path"),
    query: inputs(operation, "query"),
    header: inputs(operation, "header"),
  };
  const body = example === undefined ? undefined : make("textarea", { spellcheck: "false", rows: 8 });
  if (body) body.value = JSON.stringify(example, null, 2);
  const send = make("button", { class: "main" }, "Send");
  const stop = make("button", { type: "button", disabled: true }, "Stop");
  const status = make("p", { role: "status" });
  const line = make("pre", { hidden: true });
  const shown = make("pre", { hidden: true, tabindex: 0 });
  let running;
  stop.addEventListener("click", () => running?.abort());
  const form = make("form", {
    autocomplete: "off",
    onsubmit: async (event) => {
      event.preventDefault();
      running = new AbortController();
      const sent = request(operation, fields, body);
      send.disabled = true;
      stop.disabled = false;
      status.className = "";
      status.textContent = "Sent …";
      line.hidden = shown.hidden = false;
      line.textContent = curl(sent);
      shown.textContent = "";
      try {
        const begun = performance.now();
        const answer = await fetch(sent.url, { ...sent.init, signal: running.signal });
        const took = Math.round(performance.now() - begun);
        status.className = answer.ok ? "good" : "bad";
        status.textContent = `${answer.status} ${answer.statusText} after ${took} ms`;
        await read(answer, shown);
      } catch (error) {
        status.textContent += error.name === "AbortError" ? " Stopped." : ` Failed: ${error.message}`;
      } finally {
        send.disabled = false;
        stop.disabled = true;
      }
    },
  },
  ...Object.values(fields).flat().map((field) => field.label),
  ...(body ? [make("label", {}, "Body", body)] : []),
  make("div", { class: "row" }, send, stop));
  return make("div", {}, form, status, line, shown);
}
