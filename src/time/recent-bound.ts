const LEAST_MS = 1_000;
const REMEMBERED = 64;

/**
 * How long an answer of another agent may take: three times the slowest of the last 64, which is about their p99, but no
 * less than 1 s and no more than is set. With 250 ms agents that only lacked CPU, as all do when a whole node starts its
 * pods, were taken for silent, and a blob had two writers; who is dead refuses at once anyway.
 */
export class RecentBound {
  readonly #mostMs: number;
  readonly #recent: number[] = [];
  #next = 0;

  constructor(mostMs: number) {
    this.#mostMs = mostMs;
  }

  /** An answer took so long. One that did not come took as long as was waited: the next may take longer, if it was only slow. */
  note(ms: number): void {
    this.#recent[this.#next] = ms;
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  /** The most while nothing is known: a first answer takes a connection. */
  get ms(): number {
    if (this.#recent.length === 0) return this.#mostMs;
    return Math.min(this.#mostMs, Math.max(LEAST_MS, 3 * Math.max(...this.#recent)));
  }
}
