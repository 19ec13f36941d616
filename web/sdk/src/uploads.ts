import type { HttpApi } from "./api/http.ts";
import { problemOf } from "./api/http.ts";
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
  /** Address of a small form of a picture. */
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

/** Answer of the server to an upload. */
interface UploadAnswer {
  url: string;
  width?: number;
  height?: number;
  thumbnail_url?: string;
}

/** Uploads a file. A browser reports its progress; elsewhere it goes from 0 to 1. */
export async function upload(api: HttpApi, file: Blob, options: UploadOptions): Promise<Upload> {
  const name = options.name ?? (file as { name?: string }).name ?? "file";
  const url = api.url("/v1/files", { name });
  const response = await (typeof XMLHttpRequest === "undefined"
    ? byFetch(api, file, options, name)
    : byRequest(api, url, file, options));
  if (!response.ok) throw new GimletError(await problemOf(response));
  const answer = (await response.json()) as UploadAnswer;
  return {
    // An address without a host is one of this server.
    url: absolute(api, answer.url),
    name,
    size: file.size,
    width: answer.width || undefined,
    height: answer.height || undefined,
    thumbnailUrl: answer.thumbnail_url ? absolute(api, answer.thumbnail_url) : undefined,
  };
}

function absolute(api: HttpApi, url: string): string {
  return /^https?:/.test(url) ? url : `${api.server}${url}`;
}

async function byFetch(
  api: HttpApi,
  file: Blob,
  options: UploadOptions,
  name: string,
): Promise<Response> {
  options.onProgress?.(0);
  const headers: Record<string, string> = { "Content-Type": "application/octet-stream" };
  if (api.token !== undefined) headers["Authorization"] = `Bearer ${api.token}`;
  const init: RequestInit = { method: "POST", headers, body: file };
  if (options.signal) init.signal = options.signal;
  try {
    const response = await fetch(api.url("/v1/files", { name }), init);
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
    request.setRequestHeader("Content-Type", "application/octet-stream");
    if (api.token !== undefined) request.setRequestHeader("Authorization", `Bearer ${api.token}`);
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
