import { type HttpApi, problemOf } from "./api/http.ts";
import type { FileInfo } from "./api/types.ts";
import { GimletError, UnreachableError } from "./errors.ts";

/** An uploaded file. */
export interface Upload {
  /** Its address. */
  url: string;
  /** Its name. */
  name: string;
  /** Its size in bytes. */
  size: number;
  /** Its media type, by its content. */
  mediaType: string;
  /** Width of a picture that can be shown, in pixels. */
  width?: number | undefined;
  /** Height of a picture that can be shown, in pixels. */
  height?: number | undefined;
  /** Address of the picture's thumbnail. */
  thumbnailUrl?: string | undefined;
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

/** Uploads a file. A browser reports its progress; elsewhere it goes from 0 to 1. */
export async function upload(api: HttpApi, file: Blob, options: UploadOptions): Promise<Upload> {
  const name = options.name ?? (file as { name?: string }).name ?? "file";
  const url = api.url("/v1/files", { name });
  const response = await (typeof XMLHttpRequest === "undefined"
    ? byFetch(api, url, file, options)
    : byRequest(api, url, file, options));
  if (!response.ok) throw new GimletError(await problemOf(response));
  const stored = (await response.json()) as FileInfo;
  const thumbnail = stored.thumbnail_url;
  return {
    url: ofServer(api, stored.url),
    name,
    size: file.size,
    mediaType: stored.media_type,
    width: stored.width,
    height: stored.height,
    thumbnailUrl: thumbnail === undefined ? undefined : ofServer(api, thumbnail),
  };
}

/** The server may name itself by another address than the page's. */
function ofServer(api: HttpApi, url: string): string {
  return `${api.server}${new URL(url, api.server).pathname}`;
}

function credentials(api: HttpApi): Record<string, string> {
  return api.token === undefined ? {} : { Authorization: `Bearer ${api.token}` };
}

async function byFetch(
  api: HttpApi,
  url: string,
  file: Blob,
  options: UploadOptions,
): Promise<Response> {
  options.onProgress?.(0);
  const init: RequestInit = { method: "POST", headers: credentials(api), body: file };
  if (options.signal) init.signal = options.signal;
  try {
    const response = await fetch(url, init);
    options.onProgress?.(1);
    return response;
  } catch (error) {
    throw new UnreachableError(error);
  }
}

/** `fetch` cannot report the progress of a request's body. */
function byRequest(
  api: HttpApi,
  url: string,
  file: Blob,
  options: UploadOptions,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
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
    request.send(file);
  });
}
