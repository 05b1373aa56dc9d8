import { setTimeout as sleep } from 'node:timers/promises';

/** In ms. */
export interface LookTiming {
  /** After an event: contents come in crowds, labels trail them, and what is to be collected goes some time later. */
  readonly looksAfterMs: readonly number[];
  /** Garbage is collected without a word. */
  readonly lookEveryMs: number;
}

/** When to look next: some times after an event, and now and then. */
export class Looks {
  readonly #timing: LookTiming;
  /** Ascending; on the clock of `performance`. */
  #dueMs: number[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(timing: LookTiming) {
    this.#timing = timing;
  }

  event(): void {
    const nowMs = performance.now();
    const [soon = 0, ...later] = this.#timing.looksAfterMs;
    // The first one that waits stands, or a stream of events would put it off for ever.
    const first = Math.min(nowMs + soon, this.#dueMs[0] ?? Number.POSITIVE_INFINITY);
    this.#dueMs = [first, ...later.map((afterMs) => nowMs + afterMs)];
    this.#wake.resolve();
  }

  /** Resolves when it is time. @returns is it for an event? */
  async next(signal: AbortSignal): Promise<boolean> {
    const quietMs = performance.now() + this.#timing.lookEveryMs;
    for (;;) {
      const dueMs = this.#dueMs[0];
      const waitMs = Math.min(quietMs, dueMs ?? quietMs) - performance.now();
      if (waitMs <= 0) {
        this.#dueMs.shift();
        return dueMs !== undefined && dueMs <= quietMs;
      }
      this.#wake = Promise.withResolvers<void>();
      const timer = new AbortController();
      try {
        await Promise.race([
          this.#wake.promise,
          sleep(waitMs, undefined, { signal: AbortSignal.any([signal, timer.signal]) }),
        ]);
      } finally {
        timer.abort();
      }
    }
  }
}
