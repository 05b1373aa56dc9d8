/** Monotonic time and timers, so that a test or a simulation can bring its own. */
export interface Timers {
  /** ms since some moment; never set back. */
  now(): number;
  /** ms since 1970, by the wall's clock, which goes on where a suspended machine's monotonic one does not. Where missing: as `now`. */
  wall?(): number;
  /** Calls once after `ms`, unless cancelled. @returns cancel */
  after(ms: number, call: () => void): () => void;
}

/** Those of an agent: they keep no process alive. */
export const systemTimers: Timers = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** Those of a command: one that waits is not over. */
export const commandTimers: Timers = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
