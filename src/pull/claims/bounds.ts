const LEAST_MS = 1_000;
const MOST_MS = 2_000;
const REMEMBERED = 64;

/**
 * How long a call to another agent may take: three times the slowest of the last 64, which is about their p99, but
 * no less than 1 s and no more than `claims.timeout`. With 250 ms keepers that only lacked CPU, as all do when a whole
 * node starts its pods, were taken for silent, and a blob had two writers; who is dead refuses at once anyway.
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

  /** The most while nothing is known: a first call makes a connection. */
  get callMs(): number {
    if (this.#recent.length === 0) return this.#mostMs;
    return Math.min(this.#mostMs, Math.max(LEAST_MS, 3 * Math.max(...this.#recent)));
  }
}
