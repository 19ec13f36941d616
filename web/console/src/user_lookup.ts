import type { HttpApi } from "@gimlet/client";
import type {
  AccountInfo,
  BanInfo,
  ConnectionInfo,
  ConnectionList,
  DeviceDetails,
  InboxState,
} from "../../sdk/src/api/types.ts";
import { reasonOf } from "./parts.tsx";

/** Devices that are described at most; those with a connection come first. */
const MAX_DEVICES = 20;

/** A device of a user. */
export interface DeviceView {
  id: string;
  connection?: ConnectionInfo;
  /** The seq up to which it has acknowledged its inbox. */
  acknowledged?: bigint;
  /** What it told of itself; undefined if it is not registered. */
  details?: DeviceDetails;
}

/** Everything about a user that an operator may need. */
export interface UserView {
  id: string;
  /** Undefined with users that are not built in. */
  account?: AccountInfo;
  ban?: BanInfo;
  /** The reason for which there is no profile. */
  accountProblem?: string;
  head: bigint;
  floor: bigint;
  devices: DeviceView[];
}

/** Returns the user that signed in on a device last, or undefined if nobody did. */
export async function userOfDevice(api: HttpApi, device: string): Promise<string | undefined> {
  const path = `/v1/devices/${encodeURIComponent(device)}`;
  return (await api.call<DeviceDetails>("GET", path)).user_id;
}

/** Looks a user up. */
export async function lookUpUser(api: HttpApi, user: string): Promise<UserView> {
  const path = `/v1/users/${encodeURIComponent(user)}`;
  const [{ connections }, inbox] = await Promise.all([
    api.call<ConnectionList>("GET", `${path}/connections`),
    api.call<InboxState>("GET", `${path}/inbox`),
  ]);
  const view: UserView = { id: user, head: BigInt(inbox.head), floor: BigInt(inbox.floor), devices: [] };
  try {
    // Missing on a server whose users are those of another program.
    view.account = await api.call<AccountInfo>("GET", path);
    view.ban = await api.call<BanInfo>("GET", `${path}/ban`);
  } catch (error) {
    view.accountProblem = reasonOf(error);
  }
  const devices = new Map<string, DeviceView>();
  for (const connection of connections) {
    devices.set(connection.device_id, { id: connection.device_id, connection });
  }
  for (const { device_id: id, seq } of inbox.acks) {
    devices.set(id, { ...(devices.get(id) ?? { id }), acknowledged: BigInt(seq) });
  }
  view.devices = await Promise.all([...devices.values()].slice(0, MAX_DEVICES).map((it) => described(api, it)));
  return view;
}

async function described(api: HttpApi, device: DeviceView): Promise<DeviceView> {
  try {
    const details = await api.call<DeviceDetails>("GET", `/v1/devices/${device.id}`);
    return { ...device, details };
  } catch {
    return device;
  }
}
