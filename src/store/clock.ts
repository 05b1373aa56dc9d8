import { setTimeout as sleep } from 'node:timers/promises';

/** Time, for what runs in the background: tests bring their own. */
export interface Clock {
  now(): number;
  /** Does not keep the process alive. @throws AbortError */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (delayMs, signal) => {
    await sleep(delayMs, undefined, { signal, ref: false });
  },
};
