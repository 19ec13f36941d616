import type { Problem } from "./api/types.ts";

/** Codes of refusals that a program may want to tell apart; docs/protocol.md lists all of them. */
export const RefusalCode = {
  unauthorized: 1,
  tooManyRequests: 8,
  unavailable: 14,
} as const;

/** A request that the server refused, with its reason in words. */
export class GimletError extends Error {
  /** HTTP status of the answer. */
  readonly status: number;
  /** gimlet's code, the same on every wire. */
  readonly code: number;
  /** Field of the request that was wrong, if one was. */
  readonly field: string | undefined;
  /** Time after which a repeat may succeed, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "GimletError";
    this.status = problem.status;
    this.code = problem.code;
    this.field = problem.field;
    this.retryAfterMs = problem.retry_after_ms;
  }

  /** True if the credentials are no longer accepted, so that the user must sign in again. */
  get isSignedOut(): boolean {
    return this.status === 401;
  }

  /** True if the same request may succeed later. */
  get isTemporary(): boolean {
    return this.status === 429 || this.status >= 500;
  }
}

/** The server was not reached, or its answer did not arrive: the outcome is unknown. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super("the server cannot be reached", { cause });
    this.name = "UnreachableError";
  }
}

/** Returns true if a repeat of the same request may succeed. */
export function isTemporary(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof GimletError && error.isTemporary);
}
