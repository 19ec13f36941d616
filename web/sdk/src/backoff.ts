/** Delays between attempts, in milliseconds. */
export interface BackoffOptions {
  /** Longest first delay. */
  base: number;
  /** Longest delay. */
  cap: number;
}

/** Default delays: up to 1 s at first, and up to 30 s. */
export const DEFAULT_BACKOFF: BackoffOptions = { base: 1_000, cap: 30_000 };

/**
 * Growing delays with full jitter: each is random between 0 and a bound that doubles, so that the
 * clients of a restarted server do not all return at once.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions = DEFAULT_BACKOFF, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** Returns the next delay; at least `advised`, the server's advice. */
  next(advised = 0): number {
    const bound = Math.min(this.#options.cap, this.#options.base * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    return advised + this.#random() * bound;
  }

  /** Starts again with the shortest delay, after a success. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Waits; ends early, without an error, when the signal is aborted. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
