import type { GimletClient } from "@gimlet/client";
import { createContext } from "preact";
import { useContext, useEffect, useReducer } from "preact/hooks";
import type { NameBook } from "./names.ts";

/** What every part of the signed-in page needs. */
export interface ChatContext {
  client: GimletClient;
  names: NameBook;
  /** Shows a short message for a while. */
  tell: (message: string) => void;
  /** Opens another part of the page. */
  go: (route: string) => void;
}

/** The context of the signed-in page. */
export const Chat = createContext<ChatContext | undefined>(undefined);

/** Returns the context of the signed-in page. */
export function useChat(): ChatContext {
  const chat = useContext(Chat);
  if (!chat) throw new Error("used outside of the signed-in page");
  return chat;
}

/** Renders again when one of these events of the client happens. */
export function useClientEvents(...names: Parameters<GimletClient["on"]>[0][]): void {
  const { client } = useChat();
  const [, render] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const offs = names.map((name) => client.on(name, () => render(undefined)));
    return () => offs.forEach((off) => off());
  }, [client]);
}
