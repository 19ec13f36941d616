// A receiver of webhooks that trusts nobody: it verifies signatures as Standard Webhooks says, with nothing
// of gimlet's code, and prints each event before it accepts it, so that a kill loses no accepted event.
//
// It fails at times on purpose, after it has printed the events: gimlet must send them again.
//
//     event ID RECEIVER TEXT     an event of a genuine request
//     forged                     a request whose signature is wrong

import { createHmac, timingSafeEqual } from "node:crypto";
import { writeSync } from "node:fs";
import { createServer } from "node:http";

const { WEBHOOK_SECRET, PORT } = process.env;
const key = Buffer.from(WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
// Every so many requests one is answered with 500, and one with a closed connection; 0 is never.
const failEvery = Number(process.env.FAIL_EVERY ?? 0);
// A fault that a judge must find: "disorder" prints an event behind the next one of its receiver.
let planted = process.env.PLANTED ?? "";
let held;
let requests = 0;

function isGenuine(headers, body) {
  const { "webhook-id": id = "", "webhook-timestamp": at = "", "webhook-signature": given = "" } = headers;
  if (!id || !/^\d+$/.test(at) || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false;
  const right = createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest();
  return given.split(" ").some((signature) => {
    const [version, value = ""] = signature.split(",");
    const bytes = Buffer.from(value, "base64");
    return version === "v1" && bytes.length === right.length && timingSafeEqual(bytes, right);
  });
}

function write(lines) {
  let data = Buffer.from(lines.map((line) => `${line}\n`).join(""));
  while (data.length > 0) data = data.subarray(writeSync(1, data));
}

function lineOf({ id, data: { message } }) {
  const { type, user_id = "", group_id = "" } = message.receiver;
  return { receiver: type + user_id + group_id, text: `event ${id} ${type}${user_id}${group_id} ${message.content.text ?? "-"}` };
}

function disordered(events) {
  const lines = [];
  for (const event of events) {
    if (planted === "disorder" && requests > 10) {
      planted = "";
      held = event;
      continue;
    }
    lines.push(event.text);
    if (held?.receiver === event.receiver) {
      lines.push(held.text);
      held = undefined;
    }
  }
  return lines;
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  requests += 1;
  const number = requests;
  const genuine = isGenuine(request.headers, body);
  write(genuine ? disordered(JSON.parse(body).events.map(lineOf)) : ["forged"]);
  if (failEvery && number % failEvery === 1) return request.socket.destroy();
  const status = failEvery && number % failEvery === 2 ? 500 : 204;
  response.writeHead(genuine ? status : 401).end();
});
server.listen(Number(PORT), "127.0.0.1", () => write(["listening"]));
