/** A writer whose bytes stopped coming for so long may have a rival; one that waits for the first has longer. */
const STALLED_MS = 10_000;
const STALLED_OPENING_MS = 30_000;
/** Lest all that wait ask the keeper at once. */
const JITTER = 0.2;

/** Has a parent that waits for its own source waited for so long that the keeper should be asked again? */
export class StalledParent {
  readonly #jitter = 1 + JITTER * Math.random();
  #written = 0;
  #sinceMs: number;

  /** @param startedAtMs monotonic, as all times here. */
  constructor(startedAtMs: number) {
    this.#sinceMs = startedAtMs;
  }

  /** A piece came. */
  gave(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  /** It waits, with so much written. @returns true once for each time that this lasts so long. */
  waits(nowMs: number, written: number): boolean {
    if (written > this.#written) {
      this.#written = written;
      this.#sinceMs = nowMs;
      return false;
    }
    const boundMs = (written > 0 ? STALLED_MS : STALLED_OPENING_MS) * this.#jitter;
    if (nowMs - this.#sinceMs < boundMs) return false;
    this.#sinceMs = nowMs;
    return true;
  }
}
