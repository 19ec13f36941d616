import type { HttpApi } from "@gimlet/client";
import { useState } from "preact/hooks";
import { deviceKind, moment } from "./format.ts";
import { type AskedAction, Card, reasonOf, Table, useActions } from "./parts.tsx";
import { text } from "./texts.ts";
import { type DeviceView, lookUpUser, userOfDevice, type UserView } from "./user_lookup.ts";

/** Looks a user up, and acts. */
export function UsersPage({ api }: { api: HttpApi }) {
  const [by, setBy] = useState<"user" | "device">("user");
  const [id, setId] = useState("");
  const [user, setUser] = useState<UserView>();
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  const show = async (find: () => Promise<string | undefined>) => {
    setBusy(true);
    setProblem("");
    try {
      const found = await find();
      setUser(found ? await lookUpUser(api, found) : undefined);
      if (!found) setProblem(text("noUserOnDevice"));
    } catch (error) {
      setUser(undefined);
      setProblem(reasonOf(error));
    }
    setBusy(false);
  };
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted = id.trim();
    void show(async () => (by === "device" ? userOfDevice(api, wanted) : wanted));
  };
  return (
    <>
      <Card title={text("lookUp")}>
        <form class="line" onSubmit={submit}>
          <label class="narrow">
            {text("lookUpBy")}
            <select value={by} onChange={(event) => setBy(event.currentTarget.value as typeof by)}>
              <option value="user">{text("userId")}</option>
              <option value="device">{text("deviceId")}</option>
            </select>
          </label>
          <label>
            {text(by === "user" ? "userId" : "deviceId")}
            <input
              inputMode="numeric"
              pattern="[0-9]+"
              required
              value={id}
              onInput={(event) => setId(event.currentTarget.value)}
            />
          </label>
          <button class="primary" disabled={isBusy}>{text("lookUp")}</button>
        </form>
        {problem ? <p class="problem" role="alert">{problem}</p> : !user && <p class="quiet">{text("lookUpLead")}</p>}
      </Card>
      {user && <UserCard key={user.id} api={api} user={user} onChanged={() => void show(async () => user.id)} />}
    </>
  );
}

function UserCard(props: { api: HttpApi; user: UserView; onChanged: () => void }) {
  const { api, user } = props;
  const { ask, shown } = useActions(props.onChanged);
  const path = `/v1/users/${user.id}`;
  const isBanned = user.ban?.is_banned ?? false;
  const disconnectAll: AskedAction = {
    question: text("confirmDisconnectAll", { user: user.id }),
    button: text("disconnectAll"),
    reason: text("reasonForClient"),
    act: (reason) => api.call("POST", `${path}/disconnect`, { body: { reason } }),
  };
  const revokeJwts: AskedAction = {
    question: text("confirmRevokeJwts", { user: user.id }),
    button: text("revokeJwts"),
    act: () =>
      api.call("POST", `${path}/jwts/revoke`, { body: { issued_before: Math.ceil(Date.now() / 1_000) } }),
  };
  const ban: AskedAction = isBanned
    ? {
        question: text("confirmLiftBan", { user: user.id }),
        button: text("liftBan"),
        act: () => api.call("DELETE", `${path}/ban`),
      }
    : {
        question: text("confirmBan", { user: user.id }),
        button: text("ban"),
        reason: text("reasonForOperators"),
        act: (reason) => api.call("PUT", `${path}/ban`, { body: { reason } }),
      };
  return (
    <section class="card">
      <header class="line">
        <h2 class="grow">
          {text("user", { id: user.id })}
          {user.account?.nickname && <> · <bdi>{user.account.nickname}</bdi></>}
        </h2>
        {isBanned && <span class="tag bad">{text("banned")}</span>}
      </header>
      {shown}
      {user.accountProblem && <p class="quiet">{text("noProfile", { reason: user.accountProblem })}</p>}
      {isBanned && (
        <p>{text("bannedSince", { time: moment(user.ban?.banned_at ?? 0), reason: user.ban?.reason ?? "" })}</p>
      )}
      <p class="quiet">{text("inboxState", { head: String(user.head), floor: String(user.floor) })}</p>
      <h3>{text("devices")}</h3>
      {user.devices.length === 0 ? (
        <p class="quiet">{text("noDevices")}</p>
      ) : (
        <Table heads={[text("device"), text("kind"), text("connectedTo"), text("acknowledged"), text("actions")]}>
          {user.devices.map((device) => (
            <DeviceRow api={api} user={user} device={device} ask={ask} />
          ))}
        </Table>
      )}
      <div class="buttons">
        <button onClick={() => ask(disconnectAll)}>{text("disconnectAll")}</button>
        <button onClick={() => ask(revokeJwts)}>{text("revokeJwts")}</button>
        {user.ban && <button class={isBanned ? "" : "danger"} onClick={() => ask(ban)}>{ban.button}</button>}
      </div>
    </section>
  );
}

function DeviceRow(props: {
  api: HttpApi;
  user: UserView;
  device: DeviceView;
  ask: (action: AskedAction) => void;
}) {
  const { api, user, device, ask } = props;
  const { connection, details, acknowledged } = device;
  const gaps = { user: user.id, device: device.id };
  const disconnect: AskedAction = {
    question: text("confirmDisconnect", gaps),
    button: text("disconnect"),
    reason: text("reasonForClient"),
    act: (reason) =>
      api.call("POST", `/v1/users/${user.id}/disconnect`, { body: { device_id: device.id, reason } }),
  };
  const signOut: AskedAction = {
    question: text("confirmSignOut", gaps),
    button: text("signOut"),
    act: () => api.call("DELETE", `/v1/users/${user.id}/tokens/${device.id}`),
  };
  const behind = acknowledged === undefined ? undefined : user.head - acknowledged;
  return (
    <tr>
      <th scope="row">{device.id}</th>
      <td>
        {details ? `${deviceKind(details.type)} · ${details.brand} ${details.model} · ${details.sdk_version}` : "–"}
      </td>
      <td>{connection ? [connection.node, connection.client].filter(Boolean).join(" ← ") : text("notConnected")}</td>
      <td class="number">
        {behind === undefined ? "–" : text("behind", { seq: String(acknowledged), count: String(behind) })}
      </td>
      <td>
        <span class="buttons">
          {connection && <button onClick={() => ask(disconnect)}>{text("disconnect")}</button>}
          <button onClick={() => ask(signOut)}>{text("signOut")}</button>
        </span>
      </td>
    </tr>
  );
}
