import type { FriendInfo, GroupInfo, MemberInfo } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { useChat } from "./context.ts";
import { FriendChoice } from "./new_group_dialog.tsx";
import { Avatar, Dialog } from "./parts.tsx";
import { reasonOf, text } from "./texts.ts";

/** A group's name and members, and what may be changed about them. */
export function GroupDialog({ groupId, onClose }: { groupId: string; onClose: () => void }) {
  const { client, go, names, tell } = useChat();
  const [group, setGroup] = useState<GroupInfo>();
  const [members, setMembers] = useState<MemberInfo[]>([]);
  const [friends, setFriends] = useState<FriendInfo[]>([]);
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);

  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  const load = () =>
    attempt(async () => {
      const loaded = await client.users.group(groupId);
      setGroup(loaded);
      setName(loaded.name);
      setMembers(await client.users.members(groupId));
      setFriends(await client.users.friends());
    });
  useEffect(() => void load(), [groupId]);

  const isAdmin = members.some((it) => it.user_id === client.userId && it.role === "admin");
  const outside = friends.filter((it) => !members.some((member) => member.user_id === it.user_id));
  const rename = (event: Event) => {
    event.preventDefault();
    void attempt(async () => {
      const changed = await client.users.changeGroup(groupId, { name: name.trim() });
      names.noteGroup(groupId, changed.name, changed.avatar_url);
      setGroup(changed);
    });
  };
  const add = () =>
    attempt(async () => {
      await client.users.addMembers(groupId, chosen);
      setChosen([]);
      await load();
    });
  const makeAdmin = (userId: string) =>
    attempt(async () => {
      await client.users.setRole(groupId, userId, "admin");
      await load();
    });
  const remove = (userId: string) =>
    attempt(async () => {
      await client.users.removeMember(groupId, userId);
      if (userId !== client.userId) return load();
      onClose();
      go("chats");
    });

  return (
    <Dialog title={group?.name ?? text("groupInfo")} onClose={onClose}>
      {isAdmin && (
        <form class="line" onSubmit={rename}>
          <label>
            {text("groupName")}
            <input value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <button disabled={name.trim() === "" || name === group?.name}>{text("save")}</button>
        </form>
      )}
      <h3 class="heading">{text("membersCount", { count: members.length })}</h3>
      <ul class="list">
        {members.map((member) => {
          const shown = member.remarks || member.nickname || text("unknownUser", { id: member.user_id });
          const isMe = member.user_id === client.userId;
          return (
            <li class="row has-actions">
              <Avatar id={`user:${member.user_id}`} name={shown} picture={member.avatar_url} />
              <span class="row-body">
                <span class="cut">
                  {shown} {isMe && <span class="quiet">({text("you")})</span>}
                </span>
              </span>
              {member.role === "admin" && <span class="tag">{text("admin")}</span>}
              {isAdmin && !isMe && (
                <span class="row-actions">
                  {member.role !== "admin" && (
                    <button onClick={() => makeAdmin(member.user_id)}>{text("makeAdmin")}</button>
                  )}
                  <button onClick={() => remove(member.user_id)}>{text("remove")}</button>
                </span>
              )}
            </li>
          );
        })}
      </ul>
      {outside.length > 0 && (
        <div class="stack">
          <FriendChoice friends={outside} chosen={chosen} onChange={setChosen} />
          <button disabled={chosen.length === 0} onClick={add}>{text("addMembers")}</button>
        </div>
      )}
      <button class="danger" onClick={() => remove(client.userId)}>{text("leaveGroup")}</button>
    </Dialog>
  );
}
