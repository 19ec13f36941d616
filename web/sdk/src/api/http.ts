import type { Problem } from "./types.ts";
import { GimletError, UnreachableError } from "../errors.ts";

/** Options of one request. */
export interface RequestOptions {
  /** Fields of the query; those that are undefined are left out. */
  query?: Record<string, string | number | boolean | undefined>;
  /** Value sent as JSON. */
  body?: unknown;
  /** Further headers. */
  headers?: Record<string, string>;
  /** Ends the request early. */
  signal?: AbortSignal | undefined;
}

/** The part of `fetch` that is used; tests and old runtimes pass their own. */
export type FetchFunction = (url: string, init: RequestInit) => Promise<Response>;

/** Longest time for a request that is not a stream, in milliseconds. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Calls of gimlet's HTTP/JSON API with one token. */
export class HttpApi {
  readonly #server: string;
  readonly #fetch: FetchFunction;
  #token: string | undefined;

  /** `server` is the address of `listen.http`, for example `https://chat.example.com`. */
  constructor(server: string, token?: string, fetchFunction?: FetchFunction) {
    this.#server = server.replace(/\/+$/, "");
    this.#token = token;
    // A bare `fetch` must be called without `this`.
    this.#fetch = fetchFunction ?? ((url, init) => fetch(url, init));
  }

  /** Address of the server, without a slash at the end. */
  get server(): string {
    return this.#server;
  }

  /** The bearer token: `USER.DEVICE.TOKEN`, or a JWT. */
  get token(): string | undefined {
    return this.#token;
  }

  /** Uses another token from now on. */
  set token(token: string | undefined) {
    this.#token = token;
  }

  /** Returns the address of a path with its query. */
  url(path: string, query: RequestOptions["query"] = {}): string {
    const fields = Object.entries(query).filter(([, value]) => value !== undefined);
    const text = new URLSearchParams(fields.map(([name, value]) => [name, String(value)]));
    return `${this.#server}${path}${fields.length > 0 ? `?${text}` : ""}`;
  }

  /**
   * Calls an operation and returns its JSON, or undefined if it has none.
   *
   * Throws `GimletError` if the server refuses, `UnreachableError` if the outcome is unknown.
   */
  async call<Answer>(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const signal = options.signal ? anyOf(options.signal, timeout) : timeout;
    const response = await this.open(method, path, { ...options, signal });
    try {
      const text = await response.text();
      return (text ? JSON.parse(text) : undefined) as Answer;
    } catch (error) {
      throw new UnreachableError(error);
    }
  }

  /** Calls an operation and returns the response once its status is known to be a success. */
  async open(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const headers: Record<string, string> = { ...options.headers };
    if (this.#token !== undefined) headers["Authorization"] = `Bearer ${this.#token}`;
    const init: RequestInit = { method, headers, cache: "no-store", redirect: "error" };
    if (options.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(options.body);
    }
    if (options.signal) init.signal = options.signal;
    let response: Response;
    try {
      response = await this.#fetch(this.url(path, options.query), init);
    } catch (error) {
      throw new UnreachableError(error);
    }
    if (response.ok) return response;
    throw new GimletError(await problemOf(response));
  }
}

/** Reads a problem document; an answer of a proxy between gets one made of its status. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  const status = response.status;
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.code === "number" && typeof problem.detail === "string") {
      return { type: "about:blank", title: "refused", ...problem, status } as Problem;
    }
  } catch {
    // Not a problem document.
  }
  const title = `the server answered ${status}`;
  return { type: "about:blank", title, status, code: 0, detail: title };
}

/** Returns a signal that is aborted when one of two is. `AbortSignal.any` is newer than Node 20.0. */
function anyOf(left: AbortSignal, right: AbortSignal): AbortSignal {
  if ("any" in AbortSignal) return AbortSignal.any([left, right]);
  const both = new AbortController();
  for (const signal of [left, right]) {
    if (signal.aborted) both.abort();
    signal.addEventListener("abort", () => both.abort(), { once: true });
  }
  return both.signal;
}
