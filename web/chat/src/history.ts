import { compareIds, type ConversationId, type StoredMessage } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { useChat } from "./context.ts";

/** Messages of one page of history. */
export const PAGE_ITEMS = 50;

/** What is loaded of a conversation. */
export interface LoadedHistory {
  /** The messages, ascending, in pages whose borders stay where they are. */
  pages: StoredMessage[][];
  /** True if the store may have earlier ones. */
  hasEarlier: boolean;
  /** True while a page is read. */
  isLoading: boolean;
  /** Reads the page before. */
  loadEarlier: () => void;
}

/** Loads the newest page, earlier ones on demand, and what arrives. */
export function useHistory(conversation: ConversationId): LoadedHistory {
  const { client } = useChat();
  const [pages, setPages] = useState<StoredMessage[][]>([]);
  const [hasEarlier, setEarlier] = useState(true);
  const [isLoading, setLoading] = useState(true);

  const load = async (before: string | undefined, isCurrent: () => boolean) => {
    const page = await client.history(conversation, before, PAGE_ITEMS);
    if (!isCurrent()) return;
    setPages((known) => withEarlier(known, page));
    setEarlier(page.length === PAGE_ITEMS);
    setLoading(false);
  };

  useEffect(() => {
    let isCurrent = true;
    // What arrives while the page is read is kept, and joined to it by its seq.
    const off = client.on("messages", (arrived) => {
      const own = arrived.filter((it) => it.conversation === conversation);
      if (own.length > 0) setPages((known) => withArrived(known, own));
    });
    const offReset = client.on("reset", () => setPages([]));
    void load(undefined, () => isCurrent);
    return () => {
      isCurrent = false;
      off();
      offReset();
    };
  }, [client, conversation]);

  const loadEarlier = () => {
    const first = pages[0]?.[0];
    if (isLoading || !hasEarlier || !first) return;
    setLoading(true);
    void load(first.seq, () => true);
  };
  return { pages, hasEarlier, isLoading, loadEarlier };
}

/** Puts a page in front; it may overlap with what arrived while it was read. */
function withEarlier(pages: StoredMessage[][], page: StoredMessage[]): StoredMessage[][] {
  const first = pages[0]?.[0];
  const earlier = first ? page.filter((it) => compareIds(it.seq, first.seq) < 0) : page;
  return earlier.length > 0 ? [earlier, ...pages] : pages;
}

/** Puts messages at the end: into the last page until it is full. */
function withArrived(pages: StoredMessage[][], arrived: StoredMessage[]): StoredMessage[][] {
  const last = pages.at(-1)?.at(-1);
  const fresh = last ? arrived.filter((it) => compareIds(it.seq, last.seq) > 0) : arrived;
  const before = pages.at(-1);
  if (!before || before.length + fresh.length > PAGE_ITEMS) return [...pages, fresh];
  return [...pages.slice(0, -1), [...before, ...fresh]];
}
