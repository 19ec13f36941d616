import { useChat, useClientEvents } from "./context.ts";
import { text } from "./texts.ts";

/** State of the connection, as long as it is not live. */
export function ConnectionBar() {
  const { client } = useChat();
  useClientEvents("connection");
  const state = client.connection;
  switch (state.kind) {
    case "live":
    case "offline":
    case "signed-out":
      return <div class="connection" role="status" />;
    case "syncing":
      return (
        <div class="connection is-shown" role="status">
          {text("syncing", { count: state.remaining })}
        </div>
      );
    case "replaced":
      return (
        <div class="connection is-shown is-problem" role="status">
          {text("replaced")}
          <button onClick={() => client.reconnect()}>{text("useHere")}</button>
        </div>
      );
    case "connecting":
    case "waiting":
      // One attempt is no news: most lost connections are back after it.
      if (state.attempt < 2) return <div class="connection" role="status" />;
      return (
        <div class="connection is-shown is-problem" role="status">
          {text("waitingForServer")}
          <button onClick={() => client.reconnect()}>{text("tryNow")}</button>
        </div>
      );
  }
}
