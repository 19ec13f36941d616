// Keeps the files of the page, so that it opens while the server is away. Messages are not its
// business: they are in IndexedDB.

declare const self: ServiceWorkerGlobalScope;

interface ServiceWorkerGlobalScope extends EventTarget {
  skipWaiting(): Promise<void>;
  registration: ServiceWorkerRegistration;
  clients: {
    claim(): Promise<void>;
    matchAll(options: { type: "window"; includeUncontrolled: boolean }): Promise<PageWindow[]>;
    openWindow(url: string): Promise<unknown>;
  };
}

interface PageWindow {
  focus(): Promise<unknown>;
  postMessage(message: unknown): void;
}

interface PushEvent extends ExtendableEvent {
  data: { json(): PushPayload } | null;
}

interface NotificationEvent extends ExtendableEvent {
  notification: Notification;
}

/** What the server sends; `conversation` is missing if the content is hidden. */
interface PushPayload {
  title: string;
  body?: string;
  tag?: string;
  conversation?: string;
}

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  request: Request;
  respondWith(answer: Promise<Response>): void;
}

const CACHE = "gimlet-page";
const FILES = ["./", "./app.js", "./app.css", "./icon.svg"];

/** Time after which the kept file is shown instead of waiting for the server, in milliseconds. */
const PATIENCE_MS = 3_000;

self.addEventListener("install", (event) => {
  const kept = caches.open(CACHE).then((cache) => cache.addAll(FILES));
  (event as ExtendableEvent).waitUntil(kept.then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  (event as ExtendableEvent).waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  const url = new URL(request.url);
  const isPage = FILES.some((file) => new URL(file, location.href).pathname === url.pathname);
  if (request.method !== "GET" || url.origin !== location.origin || !isPage) return;
  (event as FetchEvent).respondWith(fresh(request));
});

// Sent while the user is connected nowhere; browsers demand that each is shown.
self.addEventListener("push", (event) => {
  const { data } = event as PushEvent;
  if (!data) return;
  const { title, body = "", tag = "", conversation } = data.json();
  const options = { body, tag, icon: "icon.svg", data: { conversation } };
  (event as PushEvent).waitUntil(self.registration.showNotification(title, options));
});

self.addEventListener("notificationclick", (event) => {
  const { notification } = event as NotificationEvent;
  notification.close();
  const conversation = (notification.data as { conversation?: string } | null)?.conversation;
  (event as NotificationEvent).waitUntil(show(conversation));
});

/** Brings the page to the front, or opens it, at a conversation. */
async function show(conversation: string | undefined): Promise<void> {
  const route = conversation ? `chats/${encodeURIComponent(conversation)}` : "chats";
  const [page] = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (!page) return void (await self.clients.openWindow(`./#/${route}`));
  await page.focus();
  page.postMessage({ kind: "show", route });
}

/** The server's file, so that an upgrade is seen at once; the kept one if the server is away. */
async function fresh(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok) await cache.put(new URL(request.url).pathname, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(new URL(request.url).pathname);
    if (kept) return kept;
    throw error;
  }
}

export {};
