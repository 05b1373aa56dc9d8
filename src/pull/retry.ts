import type { WindlassError } from '../errors.ts';
import { sleep } from '../time/sleep.ts';

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 5_000;
/** Before the first byte a client is better served by a quick 503: its next host is the registry itself. */
const ATTEMPTS_BEFORE_PROGRESS = 3;
const ATTEMPTS_AFTER_PROGRESS = 6;
/** A registry that wants to be left alone for longer than this is given up; the client may have other hosts. */
const MAX_RETRY_AFTER_MS = 30_000;
/** containerd cancels a pull that made no progress for 5 minutes: give up well before. */
const MAX_WITHOUT_PROGRESS_MS = 100_000;

/** When to go on after a source broke off: quickly after progress, then ever more slowly, then no more. */
export class Retry {
  #attempts = 0;
  #limit = ATTEMPTS_BEFORE_PROGRESS;
  #lastProgressMs = performance.now();

  progressed(): void {
    this.#attempts = 0;
    this.#limit = ATTEMPTS_AFTER_PROGRESS;
    this.#lastProgressMs = performance.now();
  }

  /** Another origin starts afresh. */
  reset(): void {
    this.#attempts = 0;
  }

  /** @returns undefined when enough was tried. */
  nextDelayMs(error: WindlassError): number | undefined {
    this.#attempts++;
    const leftMs = MAX_WITHOUT_PROGRESS_MS - (performance.now() - this.#lastProgressMs);
    const retryAfterMs = error.retryAfterMs ?? 0;
    if (this.#attempts >= this.#limit || leftMs <= 0 || retryAfterMs > MAX_RETRY_AFTER_MS) return undefined;
    const backoffMs = this.#attempts === 1 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#attempts - 2));
    const delayMs = Math.max(backoffMs * (0.75 + Math.random() / 2), retryAfterMs);
    return delayMs < leftMs ? delayMs : undefined;
  }

  async pause(delayMs: number, signal: AbortSignal): Promise<void> {
    if (delayMs > 0) await sleep(delayMs, signal);
  }
}
