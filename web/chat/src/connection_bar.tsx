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
      if (state.attempt < 2) return <div class="connection" role="status" />;
    // The second attempt is news: falls through to the text of a server that is away.
    case "waiting":
      return (
        <div class="connection is-shown is-problem" role="status">
          {text("waitingForServer")}
          <button onClick={() => client.reconnect()}>{text("tryNow")}</button>
        </div>
      );
  }
}
