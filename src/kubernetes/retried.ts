import { hasCode, type WindlassError } from '../errors.ts';
import { sleep } from '../time/sleep.ts';
import type { Timers } from '../time/timers.ts';
import { backOffMs } from './back-off.ts';

const LONGEST_WAIT_MS = 5_000;
const LONGEST_RETRY_AFTER_MS = 30_000;
/** A Role that was made a moment ago is not known to every API server yet. */
const FORBIDDEN_MS = 15_000;

const FORBIDDEN = 403;

export interface RetriedOptions {
  /** From now; the last try may end ANSWER_MS later. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  readonly signal: AbortSignal;
  /** From 0 to below 1; for tests. */
  readonly random?: () => number;
  /** Told of each failure that is tried again. */
  readonly onFailure?: (error: WindlassError) => void;
}

/**
 * Calls until it succeeds: for requests to an API server that is away, that starts, or that has not heard of our rights.
 * @throws what may not pass at once; what it failed with last, when the time is over
 */
export async function retried<T>(call: () => Promise<T>, options: RetriedOptions): Promise<T> {
  const { timeoutMs, timers, signal, random = Math.random, onFailure } = options;
  const startMs = timers.now();
  for (let failures = 0; ; failures += 1) {
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      const passedMs = timers.now() - startMs;
      if (!hasCode(error, 'KUBERNETES_UNAVAILABLE') || !mayPass(error, passedMs)) throw error;
      const waitMs = waitAfter(error, failures, random());
      if (passedMs + waitMs > timeoutMs) throw error;
      onFailure?.(error);
      await sleep(waitMs, signal, timers);
    }
  }
}

function mayPass({ upstreamStatus: status }: WindlassError, passedMs: number): boolean {
  if (status === FORBIDDEN) return passedMs < FORBIDDEN_MS;
  // No answer; a token that is renewed; a list that took too long to read; too many requests; a server that starts.
  return status === undefined || status === 401 || status === 410 || status === 429 || status >= 500;
}

function waitAfter({ retryAfterMs = 0 }: WindlassError, failures: number, random: number): number {
  return Math.max(backOffMs(failures, LONGEST_WAIT_MS, random), Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
}
