const LEAST_MS = 250;
const MOST_MS = 2_000;
const REMEMBERED = 64;

/**
 * How long a call to another agent may take: three times the slowest of the last 64, which is about their p99, but
 * no less than 250 ms (a garbage collection is no death) and no more than `claims.timeout`.
 */
export class Bounds {
  readonly #mostMs: number;
  readonly #recent: number[] = [];
  #next = 0;

  constructor(mostMs = MOST_MS) {
    this.#mostMs = mostMs;
  }

  note(ms: number): void {
    this.#recent[this.#next] = ms;
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  /** Half of the most while nothing is known: a first call makes a connection. */
  get callMs(): number {
    if (this.#recent.length === 0) return this.#mostMs / 2;
    return Math.min(this.#mostMs, Math.max(LEAST_MS, 3 * Math.max(...this.#recent)));
  }
}
