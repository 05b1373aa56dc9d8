/** Monotonic time and timers, so that a test can bring its own. The same as routing's, which this room does not know. */
export interface Timers {
  /** ms since some moment; never set back. */
  now(): number;
  /** Calls once after `ms`, unless cancelled. Keeps no process alive. @returns cancel */
  after(ms: number, call: () => void): () => void;
}
