// A client of gimlet without dependencies, for browsers and Node: the packets, and the rules by
// which a device keeps its place in the inbox. The caller provides the transport: client.mjs uses a
// TCP socket, page.html a WebSocket.
//
// In your own program, generate the messages from proto/proto/pb with protobuf-es, protobufjs or
// protoc. This file shows the order of calls; docs/client.md explains it.

// ---- the part of protobuf that the packets need -----------------------------------------------

// Field: [number, kind]. int64 is a BigInt: ids and seqs can exceed 2^53.
const M = {
  Input: { type: [1, "int"], request_id: [2, "int64"], data: [3, "bytes"] },
  Output: { type: [1, "int"], request_id: [2, "int64"], code: [3, "int"], message: [4, "string"], data: [5, "bytes"], retry_after_ms: [20, "int64"] },
  SignInInput: { device_id: [1, "int64"], user_id: [2, "int64"], token: [3, "string"], protocol: [20, "int"] },
  SignInOutput: { epoch: [1, "int64"], head: [2, "int64"] },
  HeartbeatOutput: { epoch: [1, "int64"], head: [2, "int64"] },
  SyncInput: { seq: [1, "int64"] },
  SyncOutput: { messages: [1, "Message", "repeated"], has_more: [2, "int"], epoch: [20, "int64"], head: [21, "int64"], floor: [22, "int64"] },
  MessageACK: { device_ack: [2, "int64"], receive_time: [3, "int64"] },
  MessageSend: { message: [1, "Message"] },
  Message: {
    sender: [1, "Sender"], receiver_type: [2, "int"], receiver_id: [3, "int64"], message_type: [5, "int"],
    message_content: [6, "bytes"], seq: [7, "int64"], send_time: [8, "int64"], message_id: [20, "bytes"],
  },
  Sender: { sender_type: [1, "int"], sender_id: [2, "int64"], device_id: [3, "int64"], avatar_url: [4, "string"], nickname: [5, "string"], extra: [6, "string"] },
  SendMessageReq: {
    receiver_type: [1, "int"], receiver_id: [2, "int64"], message_type: [4, "int"], message_content: [5, "bytes"],
    send_time: [6, "int64"], is_persist: [7, "int"], client_message_id: [20, "string"],
  },
  SendMessageResp: { seq: [1, "int64"], message_id: [20, "bytes"], repeated: [21, "int"] },
  CloseOutput: { code: [1, "int"], message: [2, "string"], come_back: [3, "int"], after_ms: [4, "int64"] },
  Text: { text: [1, "string"] },
  RegisterDeviceReq: { type: [2, "int"], brand: [3, "string"], model: [4, "string"], system_version: [5, "string"], sdk_version: [6, "string"] },
  RegisterDeviceResp: { device_id: [1, "int64"] },
  SignInReq: { phone_number: [1, "string"], code: [2, "string"], device_id: [3, "int64"] },
  SignInResp: { is_new: [1, "int"], user_id: [2, "int64"], token: [3, "string"] },
};

function varint(out, value) {
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
}

export function encode(name, object) {
  const out = [];
  for (const [field, [number, kind]] of Object.entries(M[name])) {
    const value = object[field];
    if (value === undefined || value === 0 || value === 0n || value.length === 0) continue;
    const plain = kind === "int" || kind === "int64";
    varint(out, (number << 3) | (plain ? 0 : 2));
    if (plain) {
      varint(out, value);
    } else {
      const bytes = kind === "bytes" ? value : kind === "string" ? new TextEncoder().encode(value) : encode(kind, value);
      varint(out, bytes.length);
      for (const byte of bytes) out.push(byte);
    }
  }
  return Uint8Array.from(out);
}

export function decode(name, bytes) {
  const fields = M[name];
  const object = {};
  for (const [field, [, kind, many]] of Object.entries(fields)) {
    object[field] = many ? [] : { int: 0, int64: 0n, string: "", bytes: new Uint8Array() }[kind];
  }
  let at = 0;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error(`${name} is cut off`);
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  const take = (length) => {
    if (at + length > bytes.length) throw new Error(`${name} is cut off`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(read());
    const value = { 0: read, 1: () => take(8), 2: () => take(Number(read())), 5: () => take(4) }[tag & 7]?.();
    if (value === undefined) throw new Error(`${name} has a field of an unknown wire type`);
    // Skip unknown fields: they come from a newer server.
    const known = Object.entries(fields).find(([, [number]]) => number === tag >> 3);
    if (!known) continue;
    const [field, [, kind, many]] = known;
    const convert = { int: Number, int64: (v) => v, bytes: (v) => v.slice(), string: (v) => new TextDecoder().decode(v) };
    const converted = (convert[kind] ?? ((v) => decode(kind, v)))(value);
    if (many) object[field].push(converted);
    else object[field] = converted;
  }
  return object;
}

// ---- the session ------------------------------------------------------------------------------

const SIGN_IN = 1, SYNC = 2, HEARTBEAT = 3, MESSAGE = 4, SEND = 16, CLOSE = 17;
const TO_USER = 1, TO_ROOM = 3, TEXT = 1;
// The server closes a connection after 11 minutes of silence, many proxies after one.
const HEARTBEAT_MS = 30_000;

/** An answer with a code other than 0. */
export class Refused extends Error {
  constructor(code, text, retryAfterMs = 0) {
    super(`${text} (${code})`);
    this.code = code;
    this.retryAfterMs = Number(retryAfterMs);
  }
}

/**
 * One connection of a device.
 *
 * `account` is {user_id, device_id, token} as BigInt, BigInt, string. `place` is {epoch, seq}: store it
 * together with the messages, and pass it to the next session. `write(frame)` sends one frame.
 * `onMessage(message)` is called once for each stored message, in order.
 */
export class Session {
  constructor({ account, place, write, onMessage, onClose = () => {} }) {
    Object.assign(this, { account, place, write, onMessage, onClose });
    this.requests = new Map();
    this.next = 1n;
    this.own = new Set();
    this.syncing = false;
  }

  /** Signs in, fetches missed messages, and goes live. */
  async start() {
    const { user_id, device_id, token } = this.account;
    const answer = await this.ask(SIGN_IN, encode("SignInInput", { device_id, user_id, token, protocol: 1 }));
    const { epoch } = decode("SignInOutput", answer);
    if (epoch !== this.place.epoch) {
      // Another history: seqs of the old one are invalid in it.
      this.place.epoch = epoch;
      this.place.seq = 0n;
    }
    await this.sync();
    this.timer = setInterval(() => this.beat().catch(() => {}), HEARTBEAT_MS);
  }

  /** Sends a text to a user; resolves once it is stored. If it fails, repeat it with the same id. */
  async send(user_id, text, id) {
    const request = {
      receiver_type: TO_USER, receiver_id: user_id, message_type: TEXT,
      message_content: encode("Text", { text }), send_time: BigInt(Date.now()),
      is_persist: 1, // without it nothing is stored
      client_message_id: id,
    };
    const answer = decode("SendMessageResp", await this.ask(SEND, encode("SendMessageReq", request)));
    // The sender's own copy has a seq too, but is not pushed to the sending device.
    this.own.add(answer.seq);
    this.skipOwn();
    return answer;
  }

  /** Processes a frame from the server. */
  receive(frame) {
    const output = decode("Output", frame);
    if (output.type === MESSAGE) return this.push(decode("MessageSend", output.data).message);
    if (output.type === CLOSE) return this.onClose(decode("CloseOutput", output.data));
    const request = this.requests.get(output.request_id);
    this.requests.delete(output.request_id);
    if (!request) return;
    if (output.code) request.reject(new Refused(output.code, output.message, output.retry_after_ms));
    else request.resolve(output.data);
  }

  /** Ends the session after the connection was closed, and rejects all pending requests. */
  end() {
    clearInterval(this.timer);
    for (const { reject } of this.requests.values()) reject(new Error("the connection was closed"));
    this.requests.clear();
  }

  ask(type, data) {
    const request_id = this.next++;
    this.write(encode("Input", { type, request_id, data }));
    return new Promise((resolve, reject) => this.requests.set(request_id, { resolve, reject }));
  }

  async beat() {
    const { head } = decode("HeartbeatOutput", await this.ask(HEARTBEAT, new Uint8Array()));
    // A push was lost or is still in flight.
    if (head > this.place.seq) await this.sync();
  }

  async sync() {
    if (this.syncing) return;
    this.syncing = true;
    try {
      for (let more = true; more; ) {
        const from = this.place.seq;
        const page = decode("SyncOutput", await this.ask(SYNC, encode("SyncInput", { seq: from })));
        for (const message of page.messages) this.take(message);
        this.ack();
        more = page.has_more && this.place.seq > from;
      }
    } finally {
      this.syncing = false;
    }
  }

  push(message) {
    // Rooms, broadcasts and non-persistent messages have no seq in the inbox.
    if (message.receiver_type === TO_ROOM || message.seq === 0n) return this.onMessage(message);
    if (message.seq > this.place.seq + 1n) return void this.sync().catch(() => {});
    this.take(message);
    this.ack();
  }

  /** Takes a stored message unless it was already taken. */
  take(message) {
    if (message.seq <= this.place.seq) return;
    this.place.seq = message.seq;
    this.onMessage(message);
    this.skipOwn();
  }

  skipOwn() {
    while (this.own.delete(this.place.seq + 1n)) this.place.seq += 1n;
  }

  /** Acknowledges all messages up to the current place. An ack has no answer. */
  ack() {
    const data = encode("MessageACK", { device_ack: this.place.seq, receive_time: BigInt(Date.now()) });
    this.write(encode("Input", { type: MESSAGE, request_id: 0n, data }));
  }
}

/** Returns the text of a message, or undefined if it has other content. */
export function textOf(message) {
  return message.message_type === TEXT ? decode("Text", message.message_content).text : undefined;
}
