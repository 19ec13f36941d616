// Writes src/api/types.ts from docs/openapi.json: one type for each schema. `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const api = JSON.parse(readFileSync(at("../../../docs/openapi.json"), "utf8"));
const target = at("../src/api/types.ts");

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.oneOf) return schema.oneOf.map(typeOf).join(" | ");
  switch (schema.type) {
    case "array":
      return `${/^\w+$/.test(typeOf(schema.items)) ? typeOf(schema.items) : `(${typeOf(schema.items)})`}[]`;
    case "integer":
    case "number":
      return "number";
    case "boolean":
    case "string":
      return schema.type;
    default:
      return "unknown";
  }
}

const doc = (text, indent = "") => (text ? `${indent}/** ${text} */\n` : "");

let text = "// Generated from docs/openapi.json by scripts/generate.mjs; do not edit.\n";
for (const [name, schema] of Object.entries(api.components.schemas)) {
  text += `\n${doc(schema.description)}`;
  if (schema.type !== "object" || !schema.properties) {
    text += `export type ${name} =\n  | ${typeOf(schema).split(" | ").join("\n  | ")};\n`;
    continue;
  }
  text += `export interface ${name} {\n`;
  const required = new Set(schema.required ?? []);
  for (const [field, value] of Object.entries(schema.properties)) {
    text += doc(value.description, "  ");
    text += `  ${field}${required.has(field) ? "" : "?"}: ${typeOf(value)};\n`;
  }
  text += "}\n";
}

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("web/sdk/src/api/types.ts is not current: npm run generate");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
