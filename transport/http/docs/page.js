// The documentation page: renders openapi.json and sends requests of the reader. Texts of the document
// and of answers are set as text, never as markup.
import { byId, make } from "/docs/dom.js";
import { describeFields, exampleOf } from "/docs/schema.js";
import { tryForm } from "/docs/try.js";

function operationsOf(api) {
  const operations = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      operations.push({ ...operation, path, method });
    }
  }
  return operations;
}

function callersOf(operation) {
  const names = { userToken: "a user's token", queryToken: "the token as access_token in the query", apiKey: "an API key" };
  const schemes = (operation.security ?? []).flatMap((one) => Object.keys(one));
  if (schemes.length === 0) return "Everybody may call it.";
  return `Needs ${schemes.map((scheme) => names[scheme] ?? scheme).join(", or ")}.`;
}

function section(title, content) {
  return content === undefined ? undefined : make("section", {}, make("h3", {}, title), content);
}

function parametersOf(operation, place) {
  return (operation.parameters ?? []).filter((one) => one.in === place);
}

function parameterList(api, operation, place) {
  const parameters = parametersOf(operation, place);
  if (parameters.length === 0) return undefined;
  const schema = { properties: {}, required: [] };
  for (const { name, description, required, schema: type } of parameters) {
    schema.properties[name] = { ...type, description };
    if (required) schema.required.push(name);
  }
  return describeFields(api, schema);
}

function answers(api, operation) {
  const list = make("div");
  for (const [status, answer] of Object.entries(operation.responses)) {
    const [kind, media] = Object.entries(answer.content ?? {})[0] ?? [];
    list.append(make("p", {}, make("code", {}, status), ` ${answer.description} `, make("span", { class: "kind" }, kind ?? "no content")));
    if (media !== undefined) {
      list.append(make("details", {}, make("summary", {}, "Fields"), describeFields(api, media.schema)));
    }
  }
  return list;
}

function fill(api, operation, into) {
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  into.append(make("p", { class: "note" }, callersOf(operation)));
  const parts = [
    section("Path", parameterList(api, operation, "path")),
    section("Query", parameterList(api, operation, "query")),
    section("Headers", parameterList(api, operation, "header")),
    section("Body", body && describeFields(api, body)),
    section("Answers", answers(api, operation)),
    section("Try it", tryForm(operation, body && exampleOf(api, body))),
  ];
  into.append(...parts.filter((part) => part !== undefined));
}

function rendered(api, operation) {
  const content = make("div");
  // Filled when it is first opened: most operations are not.
  const details = make("details", {
    class: "operation",
    id: operation.operationId,
    ontoggle: () => {
      if (details.open && content.childElementCount === 0) fill(api, operation, content);
    },
  },
  make("summary", {},
    make("span", { class: `method ${operation.method}` }, operation.method.toUpperCase()),
    make("span", { class: "path" }, operation.path),
    make("span", { class: "about" }, operation.summary)),
  content);
  return details;
}

function reveal() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

function show(api) {
  byId("version").textContent = `HTTP API, version ${api.info.version}`;
  byId("description").textContent = api.info.description;
  const operations = operationsOf(api);
  const topics = [...new Set(operations.map((one) => one.tags[0]))];
  const entries = [];
  for (const topic of topics) {
    const heading = make("h2", {}, topic);
    const list = make("ul");
    const main = make("section", {}, make("h2", {}, topic));
    for (const operation of operations.filter((one) => one.tags[0] === topic)) {
      const link = make("li", {}, make("a", { href: `#${operation.operationId}` },
        make("span", { class: `method ${operation.method}` }, operation.method.toUpperCase()),
        make("span", {}, operation.operationId)));
      const details = rendered(api, operation);
      list.append(link);
      main.append(details);
      const words = JSON.stringify([operation.method, operation.path, operation.operationId, operation.summary,
        operation.parameters, operation.requestBody]).toLowerCase();
      entries.push({ words, shown: [link, details] });
    }
    byId("index").append(heading, list);
    byId("operations").append(main);
  }
  byId("filter").addEventListener("input", ({ target }) => {
    const wanted = target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { words, shown } of entries) {
      const fits = wanted.every((word) => words.includes(word));
      for (const element of shown) element.hidden = !fits;
    }
    for (const main of byId("operations").children) {
      main.hidden = main.querySelector(".operation:not([hidden])") === null;
    }
  });
  addEventListener("hashchange", reveal);
  reveal();
}

function signIn() {
  const form = document.querySelector("#sign-in form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    const body = JSON.stringify(Object.fromEntries(new FormData(form)));
    try {
      const answer = await fetch("/v1/sign-in", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      const content = await answer.json();
      if (answer.ok) byId("token").value = content.token;
      output.textContent = answer.ok ? `Signed in as user ${content.user_id}; the token is set.` : content.detail;
    } catch (error) {
      output.textContent = `The server could not be reached: ${error.message}`;
    }
  });
}

byId("credentials").addEventListener("submit", (event) => event.preventDefault());
signIn();
try {
  const answer = await fetch("/v1/openapi.json");
  show(await answer.json());
} catch (error) {
  byId("operations").append(make("p", { class: "bad" }, `The description could not be loaded: ${error.message}`));
}
