import type { HttpApi } from "./api/http.ts";
import { GimletError, UnreachableError } from "./errors.ts";

/** An uploaded file. */
export interface Upload {
  /** Its address. */
  url: string;
  /** Its name. */
  name: string;
  /** Its size in bytes. */
  size: number;
  /** Width of a picture in pixels. */
  width?: number | undefined;
  /** Height of a picture in pixels. */
  height?: number | undefined;
}

/** Options of an upload. */
export interface UploadOptions {
  /** Name of the file; by default that of a `File`. */
  name?: string;
  /** Called with the part that was sent, from 0 to 1. */
  onProgress?: (part: number) => void;
  /** Ends the upload. */
  signal?: AbortSignal;
}

/** Answer of the file service (`POST /upload`). */
interface UploadAnswer {
  code: number;
  message?: string;
  data?: { url: string };
}

/** Uploads a file. A browser reports its progress; elsewhere it goes from 0 to 1. */
export async function upload(api: HttpApi, file: Blob, options: UploadOptions): Promise<Upload> {
  const name = options.name ?? (file as { name?: string }).name ?? "file";
  const form = new FormData();
  form.append("file", file, name);
  const size = await pictureSize(file);
  const response = await (typeof XMLHttpRequest === "undefined"
    ? byFetch(api, form, options)
    : byRequest(api, form, options));
  const answer = (await response.json().catch(() => undefined)) as UploadAnswer | undefined;
  if (!response.ok || !answer?.data) {
    const detail = answer?.message ?? `the upload was answered ${response.status}`;
    const { status } = response;
    throw new GimletError({ type: "about:blank", title: "refused", status, code: 0, detail });
  }
  // The file service may name itself by another address than the page's.
  const url = `${api.server}${new URL(answer.data.url, api.server).pathname}`;
  return { url, name, size: file.size, width: size?.width, height: size?.height };
}

/** Reads the size of a picture, where the runtime can. */
async function pictureSize(file: Blob): Promise<{ width: number; height: number } | undefined> {
  if (!file.type.startsWith("image/") || typeof createImageBitmap === "undefined") return undefined;
  try {
    const picture = await createImageBitmap(file);
    const { width, height } = picture;
    picture.close();
    return { width, height };
  } catch {
    // Not a picture that this runtime reads; the server decides by the content.
    return undefined;
  }
}

/** The file service reads the parts of a bearer `USER.DEVICE.TOKEN` from three headers. */
function credentials(api: HttpApi): Record<string, string> {
  const [user, device, ...token] = (api.token ?? "").split(".");
  if (!user || !device) return {};
  return { "user-id": user, "device-id": device, token: token.join(".") };
}

async function byFetch(api: HttpApi, form: FormData, options: UploadOptions): Promise<Response> {
  options.onProgress?.(0);
  const init: RequestInit = { method: "POST", headers: credentials(api), body: form };
  if (options.signal) init.signal = options.signal;
  try {
    const response = await fetch(api.url("/upload"), init);
    options.onProgress?.(1);
    return response;
  } catch (error) {
    throw new UnreachableError(error);
  }
}

/** `fetch` cannot report the progress of a request's body. */
function byRequest(api: HttpApi, form: FormData, options: UploadOptions): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", api.url("/upload"));
    for (const [name, value] of Object.entries(credentials(api))) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) options.onProgress?.(event.loaded / event.total);
    };
    request.onload = () => resolve(new Response(request.responseText, { status: request.status }));
    request.onerror = () => reject(new UnreachableError("the upload was cut"));
    request.onabort = () => reject(new DOMException("the upload was ended", "AbortError"));
    options.signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
