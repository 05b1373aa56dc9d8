import { sleep } from '../../time/sleep.ts';
import type { Timers } from '../../time/timers.ts';
import type { ClaimRequest } from './claims.ts';

/** Smaller blobs are sent before it matters whose uplink sends them. */
const LARGE_BYTES = 8 * 1024 * 1024;
/**
 * Of nodes that begin to pull at once, the second claims an image's layers 80 to 110 ms after the first (the lab, 8 agents
 * on two cores). A lone node's other layers begin so much later, or when the first one has come.
 */
export const YIELD_MS = 300;
/** One that is not answered holds up the next ones for no longer. */
const TURN_MS = 150;

/**
 * Who is the first to ask for an image's manifest is the first to ask for each of its layers, and would write them all,
 * over one uplink, which may be a slow one. So an agent asks for large blobs one after the other, and while it writes
 * one (or its uplink is strained), its claims of others say that it yields: until YIELD_MS have passed, the wait for its
 * turn included, a keeper rather lets another one write.
 *
 * ```
 *   a large blob's first claim ─▶ the one before is answered, or yields ─┬─ this agent writes one ─▶ asks, and yields
 *                                                                        └─ it does not ──────────▶ asks
 *   TURN_MS after it came ─▶ asks, whoever is not answered
 * ```
 */
export class Turns {
  readonly #timers: Timers;
  #before: Promise<void> = Promise.resolve();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  static isLarge({ sizeBytes }: ClaimRequest): boolean {
    return sizeBytes !== undefined && sizeBytes >= LARGE_BYTES;
  }

  /** @returns to be called when the next one may ask. Idempotent. @throws the signal's reason. */
  async take(signal: AbortSignal): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#before;
    this.#before = promise;
    const over = new AbortController();
    const pause = sleep(TURN_MS, AbortSignal.any([signal, over.signal]), this.#timers);
    // It is not always waited for to its end.
    pause.catch(() => {});
    try {
      await Promise.race([before, pause]);
      signal.throwIfAborted();
    } catch (error) {
      resolve();
      throw error;
    } finally {
      over.abort();
    }
    return resolve;
  }
}
