import type { Timers } from '../../time/timers.ts';

export interface TokenBucketOptions {
  readonly perSecond: number;
  readonly burst: number;
  readonly timers: Timers;
}

/** A rate, and how much of it may be used at once. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #tokens: number;
  #atMs: number;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#atMs = options.timers.now();
  }

  /** @returns false, and takes nothing, if there are not so many. */
  take(count: number): boolean {
    const { perSecond, burst, timers } = this.#options;
    const now = timers.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#atMs) / 1_000) * perSecond);
    this.#atMs = now;
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }
}
