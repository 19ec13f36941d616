import type { AccountInfo, FriendInfo } from "@gimlet/client";
import { useEffect, useState } from "preact/hooks";
import { useChat, useClientEvents } from "./context.ts";
import { Avatar } from "./parts.tsx";
import { reasonOf, text } from "./texts.ts";

/** Friends, requests, and the search for people. */
export function ContactsPage() {
  const { client, tell } = useChat();
  useClientEvents("friendRequests");
  const [friends, setFriends] = useState<FriendInfo[]>([]);
  const requests = client.friendRequests();
  const load = () => {
    client.users.friends().then(setFriends, () => undefined);
  };
  useEffect(load, [client]);
  // Somebody accepted: the list has one more.
  useEffect(
    () =>
      client.on("messages", (messages) => {
        if (messages.some((it) => it.message.content.type === "friend_accepted")) load();
      }),
    [client],
  );
  const accept = async (userId: string) => {
    try {
      await client.acceptFriend(userId);
      load();
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  return (
    <>
      <header class="side-header">
        <h1>{text("contacts")}</h1>
      </header>
      <PeopleSearch friends={friends} />
      <div class="scrolled">
        {requests.length > 0 && (
          <section>
            <h2 class="heading">{text("friendRequests")}</h2>
            <ul class="list">
              {requests.map((request) => (
                <li class="row has-actions">
                  <Avatar
                    id={`user:${request.userId}`}
                    name={request.nickname || request.userId}
                    picture={request.avatarUrl}
                  />
                  <span class="row-body">
                    <strong class="cut">
                      {request.nickname || text("unknownUser", { id: request.userId })}
                    </strong>
                    <span class="quiet" dir="auto">{request.description}</span>
                  </span>
                  <span class="row-actions">
                    <button class="primary" onClick={() => accept(request.userId)}>
                      {text("accept")}
                    </button>
                    <button onClick={() => client.dismissFriend(request.userId)}>
                      {text("dismiss")}
                    </button>
                  </span>
                </li>
              ))}
            </ul>
          </section>
        )}
        <section>
          <h2 class="heading">{text("friends")}</h2>
          {friends.length === 0 && <p class="quiet padded">{text("noFriends")}</p>}
          <ul class="list">
            {friends.map((friend) => (
              <li>
                <a class="row" href={`#/chats/${encodeURIComponent(`user:${friend.user_id}`)}`}>
                  <Avatar
                    id={`user:${friend.user_id}`}
                    name={friend.remarks || friend.nickname || friend.user_id}
                    picture={friend.avatar_url}
                  />
                  <strong class="cut">
                    {friend.remarks || friend.nickname || text("unknownUser", { id: friend.user_id })}
                  </strong>
                </a>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </>
  );
}

function PeopleSearch({ friends }: { friends: FriendInfo[] }) {
  const { client, go, names, tell } = useChat();
  const [key, setKey] = useState("");
  const [found, setFound] = useState<AccountInfo[]>();
  const [requested, setRequested] = useState<string[]>([]);
  const search = async (event: Event) => {
    event.preventDefault();
    if (key.trim() === "") return setFound(undefined);
    try {
      const people = await client.users.search(key.trim());
      for (const it of people) names.noteUser(it.user_id, it.nickname, it.avatar_url);
      setFound(people);
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  const request = async (userId: string) => {
    try {
      await client.users.requestFriend(userId);
      setRequested([...requested, userId]);
    } catch (error) {
      tell(text("somethingWrong", { reason: reasonOf(error) }));
    }
  };
  const others = found?.filter((it) => it.user_id !== client.userId);
  return (
    <form class="people-search" role="search" onSubmit={search}>
      <input
        class="filter"
        type="search"
        placeholder={text("searchPeople")}
        aria-label={text("searchPeople")}
        value={key}
        onInput={(event) => setKey(event.currentTarget.value)}
      />
      {others && (
        <ul class="list" aria-label={text("search")}>
          {others.map((person) => {
            const isFriend = friends.some((it) => it.user_id === person.user_id);
            return (
              <li class="row has-actions">
                <Avatar
                  id={`user:${person.user_id}`}
                  name={person.nickname || person.user_id}
                  picture={person.avatar_url}
                />
                <strong class="row-body cut">
                  {person.nickname || text("unknownUser", { id: person.user_id })}
                </strong>
                <span class="row-actions">
                  {!isFriend && (
                    <button
                      type="button"
                      disabled={requested.includes(person.user_id)}
                      onClick={() => request(person.user_id)}
                    >
                      {text(requested.includes(person.user_id) ? "requested" : "addFriend")}
                    </button>
                  )}
                  <button
                    type="button"
                    class="primary"
                    onClick={() => go(`chats/${encodeURIComponent(`user:${person.user_id}`)}`)}
                  >
                    {text("message")}
                  </button>
                </span>
              </li>
            );
          })}
        </ul>
      )}
      {others?.length === 0 && <p class="quiet padded">{text("noMatches")}</p>}
    </form>
  );
}
