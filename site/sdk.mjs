// Makes the reference of the JavaScript SDK of the comments in its source, so that the two cannot differ.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What the reference shows: heading, file below web/, and the declaration, or undefined for its functions. */
const PARTS = [
  ["GimletClient", "sdk/src/client.ts", "class GimletClient"],
  ["Options of a client", "sdk/src/client.ts", "interface ClientOptions"],
  ["Events", "sdk/src/sync/client_state.ts", "interface ClientEvents"],
  ["Sign-in and devices", "sdk/src/api/operations.ts", undefined],
  ["client.users", "sdk/src/api/operations.ts", "class UserOperations"],
  ["Conversation", "sdk/src/model.ts", "interface Conversation "],
  ["ConversationRow", "sdk/src/model.ts", "interface ConversationRow"],
  ["StoredMessage", "sdk/src/model.ts", "interface StoredMessage"],
  ["OutgoingMessage", "sdk/src/model.ts", "interface OutgoingMessage"],
  ["FriendRequest", "sdk/src/model.ts", "interface FriendRequest"],
  ["Errors", "sdk/src/errors.ts", "class GimletError"],
  ["Stores", "sdk/src/store/local_store.ts", "interface LocalStore"],
  ["React hooks", "react/src/index.ts", undefined],
];

const DOCUMENTED = /^( *)\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n\1((?:export )?[a-zA-Z][\s\S]*?)(?:;\n| \{\n)/gm;

const proseOf = (comment) => comment.replace(/^\s*\*? ?/gm, "").replace(/\s+/g, " ").trim();
const signatureOf = (text) => text
  .replace(/^export /, "")
  .replace(/^async /, "")
  .replace(/^(readonly|function) /, "")
  .replace(/^get (\w+)\(\)/, "$1")
  .replace(/\s+/g, " ")
  .replaceAll("( ", "(")
  .replace(/,? \)/g, ")")
  .replaceAll("|", "\\|");

/** Returns the lines of a declaration and the comment above it. */
function declaration(text, name) {
  const start = text.indexOf(`export ${name}`);
  if (start < 0) throw new Error(`the SDK has no ${name}: correct site/sdk.mjs`);
  const comment = text.slice(0, start).match(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/);
  return { body: text.slice(start, text.indexOf("\n}\n", start) + 1), comment: comment ? proseOf(comment[1]) : "" };
}

function rowsOf(text, indent) {
  const isType = /^(export )?(class|interface|type|const)\b/;
  return [...text.matchAll(DOCUMENTED)]
    .filter(([, spaces, , signature]) => spaces.length === indent && !isType.test(signature))
    .filter(([, , , signature]) => (indent > 0 ? !signature.includes("#") : signature.startsWith("export ")))
    .map(([, , comment, signature]) => `| \`${signatureOf(signature)}\` | ${proseOf(comment).replaceAll("|", "\\|")} |`);
}

/** Returns the page as Markdown. */
export function sdkReference(root) {
  const parts = PARTS.map(([heading, file, name]) => {
    const text = readFileSync(join(root, "web", file), "utf8");
    const { body, comment } = name ? declaration(text, name) : { body: text, comment: "" };
    const rows = rowsOf(body, name ? 2 : 0);
    if (rows.length === 0) throw new Error(`site/sdk.mjs finds nothing about ${heading} in web/${file}`);
    return `## ${heading}\n\n${comment ? `${comment}\n\n` : ""}| | |\n|---|---|\n${rows.join("\n")}\n`;
  });
  return `# Reference of the JavaScript SDK\n\nMade of the comments in [web/sdk](../web/sdk/src/index.ts) and ` +
    `[web/react](../web/react/src/index.ts). [Web chat and JavaScript](web.md#the-sdk) has an example.\n\n${parts.join("\n")}`;
}
