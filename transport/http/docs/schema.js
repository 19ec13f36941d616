// Schemas as lists of fields, and as examples of a body.
import { make } from "/docs/dom.js";

/** Depth to which objects inside objects are shown. */
const MAX_DEPTH = 5;

function resolve(api, schema) {
  const name = schema.$ref?.split("/").pop();
  return name === undefined ? { schema } : { schema: api.components.schemas[name], name };
}

function kindOf(api, field) {
  const { schema, name } = resolve(api, field);
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
  if (schema.type === "array") return `array of ${kindOf(api, schema.items)}`;
  if (name !== undefined) return name;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return `one of ${choices.map((one) => kindOf(api, one)).join(", ")}`;
  return schema.pattern ? `${schema.type} ${schema.pattern}` : schema.format ?? schema.type ?? "any value";
}

function nested(api, field, depth) {
  const { schema } = resolve(api, field);
  if (schema.type === "array") return nested(api, schema.items, depth);
  const choices = schema.oneOf ?? schema.anyOf;
  const has = schema.properties || choices;
  return has && depth < MAX_DEPTH ? make("details", {}, make("summary", {}, "Fields"), describeFields(api, field, depth + 1)) : undefined;
}

/** Describes the fields of a schema. */
export function describeFields(api, field, depth = 0) {
  const { schema } = resolve(api, field);
  const list = make("ul", { class: "fields" });
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) {
    for (const one of choices) {
      list.append(make("li", {}, make("span", { class: "kind" }, kindOf(api, one)), describeFields(api, one, depth + 1)));
    }
    return list;
  }
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) {
    return make("p", {}, kindOf(api, field), schema.description ? `: ${schema.description}` : "");
  }
  for (const [name, type] of properties) {
    const about = type.description ?? resolve(api, type).schema.description;
    const item = make("li", {}, make("code", {}, name), make("span", { class: "kind" }, kindOf(api, type)));
    if (schema.required?.includes(name)) item.append(make("span", { class: "required" }, "required"));
    if (about) item.append(make("p", {}, about));
    const inner = nested(api, type, depth);
    if (inner) item.append(inner);
    list.append(item);
  }
  return list;
}

/** Makes an example: the required fields, or all of a body without any. */
export function exampleOf(api, field, depth = 0) {
  const { schema } = resolve(api, field);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return exampleOf(api, choices[0], depth);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.type === "array") return depth < MAX_DEPTH ? [exampleOf(api, schema.items, depth + 1)] : [];
  if (schema.type === "object" || schema.properties) {
    const names = Object.keys(schema.properties ?? {});
    const required = schema.required ?? [];
    const shown = required.length > 0 ? required : names;
    const fields = shown.map((name) => [name, exampleOf(api, schema.properties[name], depth + 1)]);
    return depth < MAX_DEPTH ? Object.fromEntries(fields) : {};
  }
  const plain = { integer: 0, number: 0, boolean: false };
  if (schema.type in plain) return plain[schema.type];
  return schema.pattern?.includes("[0-9]") ? "1" : "";
}
