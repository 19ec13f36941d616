import type { GimletClient } from "@gimlet/client";
import { language } from "./texts.ts";

/**
 * Has this browser notified while the user is connected nowhere. Does nothing where that cannot be: in a
 * page without HTTPS, in a browser without push, and with a server that sends none.
 */
export async function startPush(client: GimletClient): Promise<void> {
  const manager = await pushManager();
  const key = manager && (await client.users.webPushKey());
  if (!manager || key === undefined) return;
  const subscription = await subscribe(manager, key);
  await client.users.registerWebPush(client.deviceId, subscription.toJSON(), language());
}

/** Ends the notifications of this browser. */
export async function endPush(client: GimletClient): Promise<void> {
  const manager = await pushManager();
  const subscription = await manager?.getSubscription();
  if (!subscription) return;
  await subscription.unsubscribe();
  await client.users.endPush(client.deviceId);
}

async function pushManager(): Promise<PushManager | undefined> {
  if (!("PushManager" in window) || !navigator.serviceWorker) return undefined;
  const registration = await navigator.serviceWorker.getRegistration();
  return registration?.pushManager;
}

/** Subscribes; a subscription for another key, of an earlier server, is replaced. */
async function subscribe(manager: PushManager, key: string): Promise<PushSubscription> {
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await manager.subscribe(options);
  } catch (error) {
    if ((error as DOMException).name !== "InvalidStateError") throw error;
    await (await manager.getSubscription())?.unsubscribe();
    return manager.subscribe(options);
  }
}
