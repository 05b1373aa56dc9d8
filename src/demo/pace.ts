import { setTimeout as sleep } from 'node:timers/promises';

/** How far the bytes may run ahead before anybody sleeps: timers are no finer. */
const SLACK_MS = 5;

/** One rate shared by everybody who takes from it, first come, first served. */
export class Pace {
  readonly #bytesPerMs: number;
  /** When all that was taken so far will have flowed. */
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Waits for the turn of these bytes. */
  async take(sizeBytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + sizeBytes / this.#bytesPerMs;
    const waitMs = this.#freeAtMs - nowMs;
    if (waitMs > SLACK_MS) await sleep(waitMs, undefined, { signal });
  }
}
