// What the SDK promises, as stories that run unchanged in Node and in a browser. A story gets a world:
// the SDK, the address of a server, the transport that is tested, and the power to kill the server.

/** Fails with both values if they differ. */
function same(actual, expected, what) {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: ${left} is not ${right}`);
}

/** Waits until a condition holds; the client's events are the only clock. */
function until(client, isTrue) {
  return new Promise((resolve) => {
    const look = () => isTrue() && (offs.forEach((off) => off()), resolve());
    const names = ["messages", "outgoing", "connection", "conversations", "room"];
    const offs = names.map((name) => client.on(name, look));
    look();
  });
}

const isLive = (client) => until(client, () => client.connection.kind === "live");
const textOf = ({ message }) => message.content.text;
const to = (client) => `user:${client.userId}`;

/** Returns the texts of a conversation, without notices. */
async function texts(client, conversation) {
  const page = await client.history(conversation, undefined, 100_000);
  return page.map(textOf).filter((text) => text !== undefined);
}

/** Waits until a conversation ends with this text. */
const endsWith = (client, conversation, text) =>
  until(client, () => client.conversation(conversation)?.last.content.text === text);

/** Numbers from 0. */
const numbers = (count) => Array.from({ length: count }, (_, at) => String(at));

const STORIES = {
  async "both sides of a talk see the same"(world) {
    const [alice, bob] = [await world.person(), await world.person()];
    await Promise.all([isLive(alice), isLive(bob)]);
    same(alice.connection.transport, world.transport, "the transport of the connection");
    for (const number of numbers(30)) {
      const [from, peer] = number % 2 === 0 ? [alice, bob] : [bob, alice];
      await from.send(to(peer), number);
      await endsWith(peer, to(from), number);
    }
    await until(alice, () => alice.outgoing().length === 0);
    await until(bob, () => bob.outgoing().length === 0);
    same(await texts(alice, to(bob)), numbers(30), "what alice sees");
    same(await texts(bob, to(alice)), numbers(30), "what bob sees");
    same(alice.conversation(to(bob)).unread, 1, "alice's unread messages");
  },

  async "what was missed is read page by page, and once over a reload"(world) {
    const alice = await world.person();
    const account = await world.account();
    const sent = numbers(130);
    for (const number of sent) await alice.send(`user:${account.user_id}`, number);
    await until(alice, () => alice.outgoing().length === 0);
    const store = world.store();
    for (const round of [0, 1]) {
      const bob = await world.open(account, { store });
      await isLive(bob);
      await endsWith(bob, to(alice), round === 0 ? "129" : "after");
      same(await texts(bob, to(alice)), round === 0 ? sent : [...sent, "after"], "what bob sees");
      await bob.close();
      if (round === 0) await alice.send(`user:${account.user_id}`, "after");
    }
  },

  async "all members of a group see one order"(world) {
    const people = [await world.person(), await world.person(), await world.person()];
    await Promise.all(people.map(isLive));
    const [alice, bob, carol] = people;
    const group = await alice.users.createGroup("hiking", [bob.userId, carol.userId]);
    const id = `group:${group}`;
    await Promise.all(
      people.map(async (one, at) => {
        for (const number of numbers(10)) await one.send(id, `${at}.${number}`);
      }),
    );
    for (const one of people) await until(one, () => one.outgoing().length === 0);
    // Last of all, because whoever answers has read what was before.
    await alice.send(id, "who comes?", { mentions: [bob.userId] });
    await until(alice, () => alice.outgoing().length === 0);
    const orders = [];
    for (const one of people) {
      await until(one, () => one.conversation(id)?.others >= (one === alice ? 20 : 21));
      orders.push(await texts(one, id));
    }
    same(orders[1], orders[0], "the order of bob");
    same(orders[2], orders[0], "the order of carol");
    same(orders[0].length, 31, "the number of messages");
    same(bob.conversation(id).unreadMentions, 1, "bob's mentions");
    same(carol.conversation(id).unreadMentions, 0, "carol's mentions");
  },

  async "a room is followed, changed and left"(world) {
    const [alice, bob] = [await world.person(), await world.person()];
    await Promise.all([isLive(alice), isLive(bob)]);
    const room = String(1000 + Math.floor(Math.random() * 1e9));
    const other = String(Number(room) + 1);
    const seen = [];
    bob.on("room", (it) => seen.push(`${it.room_id === room ? "room" : "other"} ${textOf(it)}`));
    const write = (where, text) => alice.users.publish(where, { type: "text", text });
    await write(room, "kept");
    bob.follow({ roomId: room, from: "1" });
    await until(bob, () => seen.length === 1);
    await write(room, "new");
    await until(bob, () => seen.length === 2);
    await write(other, "there");
    bob.follow({ roomId: other, from: "1" });
    await until(bob, () => seen.length === 3);
    await write(room, "unseen");
    bob.follow(undefined);
    await alice.send(to(bob), "done");
    await endsWith(bob, to(alice), "done");
    same(seen, ["room kept", "room new", "other there"], "what bob sees of the rooms");
  },

  async "a newer connection of the device takes over, and gives back"(world) {
    const alice = await world.person();
    const account = await world.account();
    const first = await world.open(account, { store: world.privateStore() });
    await isLive(first);
    const second = await world.open(account, { store: world.privateStore() });
    await isLive(second);
    await until(first, () => first.connection.kind === "replaced");
    await alice.send(to(first), "to the second");
    await endsWith(second, to(alice), "to the second");
    first.reconnect();
    await endsWith(first, to(alice), "to the second");
    await until(second, () => second.connection.kind === "replaced");
    same(await texts(first, to(alice)), ["to the second"], "what the first one sees");
  },

  async "a reader whose store is slow loses and doubles nothing"(world) {
    const account = await world.account();
    const store = world.privateStore();
    let release;
    const gate = new Promise((resolve) => (release = resolve));
    const write = store.write.bind(store);
    store.write = async (change) => {
      if (change.messages) await gate;
      return write(change);
    };
    const bob = await world.open(account, { store });
    await isLive(bob);
    // Together more than a connection keeps.
    const sent = numbers(250).map((number) => `${number} ${"x".repeat(500)}`);
    // A browser opens six HTTP/1 connections to a server: five more event streams would be all of them.
    const { WebSocketTransport } = world.sdk;
    const transports = (api, identity) => [new WebSocketTransport(api, identity)];
    const writers = await Promise.all(numbers(5).map(() => world.person({ transports })));
    await Promise.all(
      writers.map(async (writer) => {
        for (const text of sent) await writer.send(to(bob), text);
        await until(writer, () => writer.outgoing().length === 0);
      }),
    );
    release();
    for (const writer of writers) {
      await endsWith(bob, to(writer), sent.at(-1));
      same(await texts(bob, to(writer)), sent, "what bob sees");
    }
  },

  async "a dead server loses and doubles nothing"(world) {
    const [alice, bob] = [await world.person(), await world.person()];
    await Promise.all([isLive(alice), isLive(bob)]);
    if (!world.isDurable) {
      await world.kill();
      await world.restart();
      // The users are gone with the memory.
      await until(alice, () => alice.connection.kind === "signed-out");
      return;
    }
    const sent = [];
    for (const round of [0, 1, 2]) {
      const killed = world.kill();
      for (const number of numbers(10)) {
        sent.push(`${round}.${number}`);
        await alice.send(to(bob), sent.at(-1));
      }
      await killed;
      await world.restart();
      await endsWith(bob, to(alice), sent.at(-1));
    }
    await until(alice, () => alice.outgoing().length === 0);
    same(await texts(bob, to(alice)), sent, "what bob sees");
    same(await texts(alice, to(bob)), sent, "what alice sees");
  },

  async "where no WebSocket can be had, events are streamed"(world) {
    const account = await world.account();
    const blocked = class extends WebSocket {
      constructor(url, protocols) {
        super(url.replace("/ws", "/v1/nothing"), protocols);
      }
    };
    const { WebSocketTransport, EventStreamTransport } = world.sdk;
    const bob = await world.open(account, {
      transports: (api, identity) => [
        new WebSocketTransport(api, identity, blocked),
        new EventStreamTransport(api),
      ],
    });
    await isLive(bob);
    same(bob.connection.transport, "sse", "the transport of the connection");
    await bob.send(to(bob), "to myself");
    await endsWith(bob, to(bob), "to myself");
    await until(bob, () => bob.outgoing().length === 0);
    same(await texts(bob, to(bob)), ["to myself"], "what bob sees");
  },
};

/** Tells all stories; returns their names and durations in milliseconds. */
export async function tell(world) {
  const told = [];
  for (const [name, story] of Object.entries(STORIES)) {
    const opened = [];
    const account = () => {
      world.people = (world.people ?? 0) + 1;
      const number = `139${String(world.people).padStart(8, "0")}`;
      return world.sdk.signIn(new world.sdk.HttpApi(world.server), number, "000000");
    };
    const open = async (signedIn, more = {}) => {
      const { WebSocketTransport, EventStreamTransport, GimletClient } = world.sdk;
      const client = new GimletClient({
        server: world.server,
        token: signedIn.token,
        userId: signedIn.user_id,
        deviceId: signedIn.device_id,
        store: world.store(),
        backoff: { base: 50, cap: 300 },
        transports: (api, identity) =>
          world.transport === "websocket"
            ? [new WebSocketTransport(api, identity)]
            : [new EventStreamTransport(api)],
        ...more,
      });
      opened.push(client);
      await client.start();
      return client;
    };
    const person = async (more) => open(await account(), more);
    if (world.isVerbose) console.log(`${world.transport}: ${name}`);
    const began = performance.now();
    try {
      await story({ ...world, account, open, person });
    } catch (error) {
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
    for (const client of opened) await client.close();
    told.push([name, Math.round(performance.now() - began)]);
  }
  return told;
}
