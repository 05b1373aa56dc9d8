import { setTimeout as sleep } from 'node:timers/promises';

export interface EventuallyOptions {
  /** How long at most; reaching it is a failure, so it is generous. */
  readonly timeoutMs?: number;
  readonly everyMs?: number;
  /** What is waited for, for the message; text that is only worked out on failure may be given as a function. */
  readonly what?: string | (() => string);
}

/**
 * Waits until `condition` returns something other than undefined, null or false, and returns that. A condition that
 * throws counts as not yet; its last error is the failure's cause.
 */
export async function eventually<T>(
  condition: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  options: EventuallyOptions = {},
): Promise<T> {
  const { timeoutMs = 30_000, everyMs = 20, what = 'the condition' } = options;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      const text = typeof what === 'string' ? what : what();
      throw new Error(`waited ${timeoutMs} ms in vain for ${text}`, { cause });
    }
    await sleep(everyMs);
  }
}
