import type { FriendInfo } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { useChat } from "./context.ts";
import { Dialog } from "./parts.tsx";
import { reasonOf, text } from "./texts.ts";

/** Creates a group of friends. */
export function NewGroupDialog({ onClose }: { onClose: () => void }) {
  const { client, go, names, tell } = useChat();
  const [name, setName] = useState("");
  const [friends, setFriends] = useState<FriendInfo[]>([]);
  const [chosen, setChosen] = useState<string[]>([]);
  useEffect(() => {
    client.users.friends().then(setFriends, () => undefined);
  }, [client]);
  const create = async (event: Event) => {
    event.preventDefault();
    try {
      const id = await client.users.createGroup(name.trim(), chosen);
      names.noteGroup(id, name.trim(), "");
      onClose();
      go(`chats/${encodeURIComponent(`group:${id}`)}`);
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  return (
    <Dialog title={text("newGroup")} onClose={onClose}>
      <form class="stack" onSubmit={create}>
        <label>
          {text("groupName")}
          <input required value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <FriendChoice friends={friends} chosen={chosen} onChange={setChosen} />
        <button class="primary" disabled={name.trim() === ""}>{text("create")}</button>
      </form>
    </Dialog>
  );
}

/** A choice of friends. */
export function FriendChoice(props: {
  friends: FriendInfo[];
  chosen: string[];
  onChange: (chosen: string[]) => void;
}) {
  const { friends, chosen, onChange } = props;
  return (
    <fieldset>
      <legend>{text("chooseMembers")}</legend>
      {friends.length === 0 && <p class="quiet">{text("noFriends")}</p>}
      {friends.map((friend) => {
        const id = friend.user_id;
        const others = chosen.filter((it) => it !== id);
        return (
          <label class="choice">
            <input
              type="checkbox"
              checked={chosen.includes(id)}
              onChange={(event) => onChange(event.currentTarget.checked ? [...others, id] : others)}
            />
            {friend.remarks || friend.nickname || text("unknownUser", { id })}
          </label>
        );
      })}
    </fieldset>
  );
}
