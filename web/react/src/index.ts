/** React hooks for `@gimlet/client`. */
import type {
  ClientEvents,
  ConnectionState,
  Conversation,
  ConversationId,
  FriendRequest,
  GimletClient,
  OutgoingMessage,
  StoredMessage,
} from "@gimlet/client";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

/** Renders again when one of these events happens; `read` must return the same value until then. */
function useClientValue<Value>(
  client: GimletClient,
  names: (keyof ClientEvents)[],
  read: () => Value,
): Value {
  const kept = useRef<{ client: GimletClient; value: Value } | undefined>(undefined);
  const subscribe = useCallback(
    (changed: () => void) => {
      const offs = names.map((name) =>
        client.on(name, () => {
          kept.current = undefined;
          changed();
        }),
      );
      return () => offs.forEach((off) => off());
    },
    [client],
  );
  const value = () => {
    if (kept.current?.client !== client) kept.current = { client, value: read() };
    return kept.current.value;
  };
  return useSyncExternalStore(subscribe, value, value);
}

/** Returns the state of the connection. */
export function useConnection(client: GimletClient): ConnectionState {
  return useClientValue(client, ["connection"], () => client.connection);
}

/** Returns all conversations, the one with the newest message first. */
export function useConversations(client: GimletClient): Conversation[] {
  return useClientValue(client, ["conversations"], () => client.conversations());
}

/** Returns the friend requests that were not answered. */
export function useFriendRequests(client: GimletClient): FriendRequest[] {
  return useClientValue(client, ["friendRequests"], () => client.friendRequests());
}

/** Returns the messages of a conversation that are on their way. */
export function useOutgoing(client: GimletClient, id: ConversationId): OutgoingMessage[] {
  const all = useClientValue(client, ["outgoing"], () => client.outgoing());
  return all.filter((it) => it.conversation === id);
}

/** The messages of a conversation, and the way to earlier ones. */
export interface MessageHistory {
  /** The messages, ascending. */
  messages: StoredMessage[];
  /** False when the beginning was reached. */
  hasEarlier: boolean;
  /** Loads the page before the first message. */
  loadEarlier: () => Promise<void>;
}

/** Returns the newest messages of a conversation and follows it. */
export function useMessages(
  client: GimletClient,
  id: ConversationId,
  pageItems = 50,
): MessageHistory {
  const [messages, setMessages] = useState<StoredMessage[]>([]);
  const [hasEarlier, setEarlier] = useState(true);
  useEffect(() => {
    let isCurrent = true;
    setMessages([]);
    const off = client.on("messages", (arrived) => {
      const own = arrived.filter((it) => it.conversation === id);
      if (own.length > 0) setMessages((known) => joined(known, own));
    });
    void client.history(id, undefined, pageItems).then((page) => {
      if (!isCurrent) return;
      setMessages((known) => joined(page, known));
      setEarlier(page.length === pageItems);
    });
    return () => {
      isCurrent = false;
      off();
    };
  }, [client, id, pageItems]);
  const loadEarlier = async () => {
    const page = await client.history(id, messages[0]?.seq, pageItems);
    setMessages((known) => joined(page, known));
    setEarlier(page.length === pageItems);
  };
  return { messages, hasEarlier, loadEarlier };
}

function joined(left: StoredMessage[], right: StoredMessage[]): StoredMessage[] {
  const seqs = new Set(left.map((it) => it.seq));
  return [...left, ...right.filter((it) => !seqs.has(it.seq))];
}
