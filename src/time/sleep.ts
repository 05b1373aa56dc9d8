import { commandTimers, type Timers } from './timers.ts';

/**
 * Resolves after `ms`; rejects with the signal's reason, if that comes first. Without `timers` on the global ones, so
 * that tests can drive it (those of `node:timers/promises` they cannot), and keeping the process alive.
 */
export function sleep(ms: number, signal: AbortSignal, timers: Timers = commandTimers): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const leave = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = timers.after(ms, () => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
    signal.addEventListener('abort', leave, { once: true });
  });
}
