import { GimletClient, HttpApi, type Id, signIn } from "@gimlet/client";

/** A signed-in user on this browser. */
export interface Session {
  userId: Id;
  deviceId: Id;
  token: string;
}

/** Tabs with another `?account=` in their address have an account of their own. */
const ACCOUNT = new URLSearchParams(location.search).get("account")?.replace(/\W/g, "") ?? "";

const SESSION_KEY = `gimlet.session${ACCOUNT}`;
const DEVICE_KEY = `gimlet.device${ACCOUNT}`;

/** Returns the address of a page for one more account in the same browser. */
export function otherAccount(): string {
  return `${location.pathname}?account=${Number(ACCOUNT || "1") + 1}`;
}

/** Address of the server: the one that the page comes from. */
export const SERVER = location.origin;

/** Returns the session of an earlier visit. */
export function loadSession(): Session | undefined {
  try {
    const session = JSON.parse(localStorage.getItem(SESSION_KEY) ?? "null") as Session | null;
    return session ?? undefined;
  } catch {
    return undefined;
  }
}

/** Signs in and keeps the session. The browser stays the same device when its user signs in again. */
export async function openSession(phoneNumber: string, code: string): Promise<Session> {
  const api = new HttpApi(SERVER);
  const devices = knownDevices();
  const signedIn = await signIn(api, phoneNumber, code, devices[phoneNumber]);
  devices[phoneNumber] = signedIn.device_id;
  localStorage.setItem(DEVICE_KEY, JSON.stringify(devices));
  const session = {
    userId: signedIn.user_id,
    deviceId: signedIn.device_id,
    token: signedIn.token,
  };
  localStorage.setItem(SESSION_KEY, JSON.stringify(session));
  return session;
}

/** Forgets the session. */
export function forgetSession(): void {
  localStorage.removeItem(SESSION_KEY);
}

/** Returns a client of the session. */
export function clientOf(session: Session): GimletClient {
  return new GimletClient({ server: SERVER, ...session });
}

function knownDevices(): Record<string, Id> {
  try {
    return JSON.parse(localStorage.getItem(DEVICE_KEY) ?? "{}") as Record<string, Id>;
  } catch {
    return {};
  }
}
