/** Monotonic time and timers, so that a test can bring its own. The same as routing's, which is above this room. */
export interface Timers {
  /** ms since some moment; never set back. */
  now(): number;
  /** Calls once after `ms`, unless cancelled. @returns cancel */
  after(ms: number, call: () => void): () => void;
}
