import { sleep } from '../time/sleep.ts';
import type { Timers } from '../time/timers.ts';

export interface RoundsOptions {
  /** @returns how long to wait before the next one, in ms */
  readonly round: (signal: AbortSignal) => Promise<number>;
  /** Told why a round failed; not of one that was stopped. @returns as above */
  readonly onFailure: (error: unknown) => number;
  readonly timers: Timers;
}

/** Goes round by round, one at a time, from `start` until it is stopped. */
export class Rounds {
  readonly #options: RoundsOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  /** Once. The first round begins at once. */
  start(): void {
    this.#running = this.#run();
  }

  /** When it resolves no round is under way, nor begins. Idempotent, and for one that never started too. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { round, onFailure, timers } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const waitMs = await round(signal).catch((error) => (signal.aborted ? 0 : onFailure(error)));
      await sleep(waitMs, signal, timers).catch(() => undefined);
    }
  }
}
