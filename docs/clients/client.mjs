// A small client of gimlet for Node 18 or later, without packages. Start a server, then run:
//
//   node client.mjs 13800000002
//
// It prints incoming messages and sends the lines you type: "1 hello" sends hello to user 1. The
// device's place in the inbox is kept in 13800000002.json, so the next start gets all missed messages
// once.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { decode, encode, Refused, Session, textOf } from "./gimlet.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tcp: { type: "string", default: "127.0.0.1:8080" },
    grpc: { type: "string", default: "127.0.0.1:50100" },
    code: { type: "string", default: "000000" },
  },
});
const phone = positionals[0];
if (!phone) {
  console.error("usage: node client.mjs PHONE [--tcp HOST:PORT] [--grpc HOST:PORT] [--code CODE]");
  process.exit(64);
}
const file = `${phone}.json`;

// JSON has no BigInt: 64-bit numbers are stored as text.
const save = (state) => {
  writeFileSync(`${file}.new`, JSON.stringify(state, (_, v) => (typeof v === "bigint" ? `${v}n` : v)), { mode: 0o600 });
  renameSync(`${file}.new`, file);
};
const load = () =>
  JSON.parse(readFileSync(file, "utf8"), (_, v) => (/^-?\d+n$/.test(v) ? BigInt(v.slice(0, -1)) : v));

/** Makes one gRPC call. */
function call(method, request, answer, object) {
  return new Promise((resolve, reject) => {
    const client = http2.connect(`http://${values.grpc}`);
    client.on("error", reject);
    const stream = client.request({ ":method": "POST", ":path": `/pb.${method}`, "content-type": "application/grpc", te: "trailers" });
    const body = Buffer.from(encode(request, object));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    const got = [];
    let trailers = {};
    // A refusal has its status in the headers, a success in the trailers.
    stream.on("response", (headers) => (trailers = headers));
    stream.on("trailers", (headers) => (trailers = headers));
    stream.on("data", (chunk) => got.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => {
      client.close();
      const code = Number(trailers["grpc-status"] ?? 2);
      if (code) reject(new Refused(code, decodeURIComponent(trailers["grpc-message"] ?? "")));
      else resolve(decode(answer, Buffer.concat(got).subarray(5)));
    });
    stream.end(Buffer.concat([head, body]));
  });
}

/** Registers this device once and signs in on it. */
async function signUp() {
  const device = { type: 5, brand: "node", model: "example", system_version: process.version, sdk_version: "1" };
  const { device_id } = await call("LogicExt/RegisterDevice", "RegisterDeviceReq", "RegisterDeviceResp", device);
  const signIn = { phone_number: phone, code: values.code, device_id };
  const { user_id, token } = await call("BusinessExt/SignIn", "SignInReq", "SignInResp", signIn);
  return { account: { user_id, device_id, token }, place: { epoch: 0n, seq: 0n } };
}

const state = existsSync(file) ? load() : await signUp();
save(state);

const [SHORTEST_MS, LONGEST_MS] = [200, 15_000];
let delay = SHORTEST_MS; // before the next connection; doubles until one is live
let session;
let leaving = false;
const waiting = []; // typed lines that are not stored yet

function connect() {
  const [host, port] = values.tcp.split(":");
  const socket = net.connect(Number(port), host);
  socket.setNoDelay(true);
  const write = (frame) => {
    const head = Buffer.alloc(2);
    head.writeUInt16BE(frame.length);
    socket.write(Buffer.concat([head, frame]));
  };
  const onMessage = (message) => {
    console.log(`#${message.seq} from ${message.sender.sender_id}: ${textOf(message) ?? "(something else)"}`);
    save(state);
  };
  const current = new Session({ ...state, write, onMessage, onClose: (close) => console.log(`closing: ${close.message}`) });
  let buffer = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    // A chunk may contain part of a frame, or several frames.
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE()) {
      const end = 2 + buffer.readUInt16BE();
      current.receive(buffer.subarray(2, end));
      buffer = buffer.subarray(end);
    }
  });
  socket.on("connect", async () => {
    try {
      await current.start();
      save(state);
      session = current;
      delay = SHORTEST_MS;
      console.log(`you are user ${state.account.user_id}`);
      flush();
    } catch (error) {
      console.error(error.message);
      // 10000: this token will not work later either. Other errors may be temporary.
      if (error.code === 10000) process.exit(1);
      socket.destroy();
    }
  });
  socket.on("error", (error) => console.error(error.message));
  socket.on("close", () => {
    session = undefined;
    current.end();
    // A random part of the delay, so that many clients do not come back at the same time.
    if (!leaving) setTimeout(connect, Math.random() * delay);
    delay = Math.min(delay * 2, LONGEST_MS);
  });
  return socket;
}

let flushing = false;
async function flush() {
  if (flushing) return;
  flushing = true;
  while (session && waiting.length) {
    const { to, text, id } = waiting[0];
    try {
      const { seq } = await session.send(to, text, id);
      save(state);
      console.log(`stored as #${seq}: ${text}`);
      waiting.shift();
    } catch (error) {
      // Repeat with the same id after 8 (too fast), 14 (not stored), 4 (outcome unknown) or a broken
      // connection.
      if (error instanceof Refused && ![4, 8, 14].includes(error.code)) {
        console.log(`not sent: ${error.message}`);
        waiting.shift();
      } else {
        const pause = Math.max(500, error.retryAfterMs ?? 0) * (1 + Math.random());
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }
  flushing = false;
  if (leaving && !waiting.length) {
    socket.end();
    process.exit(0);
  }
}

const socket = connect();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [, to, text] = line.match(/^(\d+) (.+)$/) ?? [];
  if (!to) return console.log('type a user id and a text: "1 hello"');
  waiting.push({ to: BigInt(to), text, id: randomUUID() });
  flush();
});
lines.on("close", () => {
  leaving = true;
  flush();
});
