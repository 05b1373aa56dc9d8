/** Monotonic time and timers, so that a simulation can bring its own. */
export interface Timers {
  /** ms since some moment; never set back. */
  now(): number;
  /** Calls once after `ms`, unless cancelled. Keeps no process alive. @returns cancel */
  after(ms: number, call: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};
