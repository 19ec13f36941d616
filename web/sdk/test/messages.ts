import type { EntryInfo, MessageInfo } from "../src/api/types.ts";

/** The user whose inbox is tested. */
export const ME = "1";

/** Makes a message. */
export function message(id: string, from: string, to: string, text: string): MessageInfo {
  const [kind = "user", target = to] = to.includes(":") ? to.split(":") : ["user", to];
  return {
    id,
    sender: { type: "user", user_id: from, nickname: `name${from}`, avatar_url: "", extra: "" },
    receiver: kind === "group" ? { type: "group", group_id: target } : { type: "user", user_id: target },
    content: { type: "text", text },
    mentions: text.includes("@me") ? [ME] : [],
    sent_at: "2026-11-30T00:00:00Z",
    sent_at_ms: Number(id),
  };
}

/** Makes an inbox: every entry is from another user, the own one, or a group. */
export function inbox(length: number, random: () => number): EntryInfo[] {
  return Array.from({ length }, (_, at) => {
    const seq = String(at + 1);
    const from = random() < 0.3 ? ME : String(2 + Math.floor(random() * 3));
    const peer = from === ME ? String(2 + Math.floor(random() * 3)) : ME;
    const to = random() < 0.4 ? `group:${1 + Math.floor(random() * 2)}` : peer;
    return { seq, message: message(seq, from, to, random() < 0.2 ? "hi @me" : "hi") };
  });
}

/** A small generator of random numbers with a seed, so that a failure can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
