import { setTimeout as sleep } from 'node:timers/promises';
import { WindlassError } from '../errors.ts';

/** Up to this much of a pause is waited for; longer ones reject at once, so that a client can go elsewhere. */
const WAITABLE_MS = 5_000;
/** A longer Retry-After is not believed: it would take a mirror out of use for a slip of the other side. */
const MAX_PAUSE_MS = 10 * 60_000;
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;

export interface RestPeriodOptions {
  readonly registry: string;
  /** Milliseconds, from any start, never going back. */
  readonly now: () => number;
  readonly onPause: (pauseMs: number) => void;
}

/**
 * One registry's wish to be left alone, shared by all callers: 429, or a 503 with Retry-After. A 429 without
 * Retry-After (Docker Hub's abuse limit) rests for a time that doubles until a request succeeds.
 */
export class RestPeriod {
  readonly #options: RestPeriodOptions;
  #startedAt = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  #backoffMs = FIRST_BACKOFF_MS;

  constructor(options: RestPeriodOptions) {
    this.#options = options;
  }

  get active(): boolean {
    return this.#options.now() < this.#until;
  }

  /** Waits for the end of a short pause. @throws UPSTREAM_RATE_LIMITED at once if it is long. */
  async pass(signal: AbortSignal): Promise<void> {
    for (;;) {
      const restMs = this.#until - this.#options.now();
      if (restMs <= 0) return;
      if (restMs > WAITABLE_MS) throw this.#limited(restMs);
      try {
        await sleep(Math.ceil(restMs), undefined, { signal });
      } catch (error) {
        throw signal.aborted ? signal.reason : error;
      }
    }
  }

  /**
   * Upstream asked for rest in answer to a request that was sent at `sentAtMs`.
   * @returns how long, in milliseconds.
   */
  begin(retryAfterMs: number | undefined, sentAtMs: number): number {
    const now = this.#options.now();
    let pauseMs = Math.min(retryAfterMs ?? this.#backoffMs, MAX_PAUSE_MS);
    // Thirty requests under way when the limit strikes are refused together: that is one refusal, not thirty.
    const known = sentAtMs < this.#startedAt || now < this.#until;
    if (retryAfterMs === undefined) {
      if (known) pauseMs = Math.max(0, this.#until - now);
      else this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS);
    }
    if (now + pauseMs <= this.#until) return this.#until - now;
    this.#until = now + pauseMs;
    if (!known) this.#startedAt = now;
    if (pauseMs > 0) this.#options.onPause(pauseMs);
    return pauseMs;
  }

  /** A request succeeded. */
  succeeded(): void {
    this.#backoffMs = FIRST_BACKOFF_MS;
  }

  #limited(restMs: number): WindlassError {
    const retryAfterMs = Math.ceil(restMs);
    const message = `${this.#options.registry} asked to be left alone for another ${Math.ceil(restMs / 1000)} s`;
    return new WindlassError('UPSTREAM_RATE_LIMITED', message, { retryAfterMs });
  }
}

/**
 * @param date the answer's own Date header: with it a wrong clock on either side does no harm.
 * @returns milliseconds; undefined if there is none, or none that parses.
 */
export function parseRetryAfter(header: string | undefined, date: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,9}(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  const until = Date.parse(text);
  if (Number.isNaN(until) || !/[a-z]/i.test(text)) return undefined;
  const sent = Date.parse(date ?? '');
  return Math.max(0, until - (Number.isNaN(sent) ? Date.now() : sent));
}
