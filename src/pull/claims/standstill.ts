import type { Timers } from '../../time/timers.ts';

const TICK_MS = 1_000;
/** So late is not for want of a processor alone; by then a claim of another has gone to a deputy. */
const LATE_MS = 1_500;
/** By then every writer that runs has renewed, here or at a deputy. */
const RECENT_MS = 10_000;

/**
 * Whether this agent stood still: a suspended machine, a stopped process. Leases that ran out meanwhile may have been
 * renewed at the deputies, so those are asked before the right to a key is given to another.
 */
export class Standstill {
  readonly #timers: Timers;
  #nextMs: number;
  /** By how much the wall's clock was ahead of the monotonic one. A step of it, by NTP, costs some questions, no more. */
  #aheadMs: number;
  #cancel: () => void;
  #awokeAtMs = Number.NEGATIVE_INFINITY;
  #suspendedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(timers: Timers) {
    this.#timers = timers;
    this.#nextMs = timers.now() + TICK_MS;
    this.#aheadMs = this.#ahead();
    this.#cancel = timers.after(TICK_MS, () => this.#tick());
  }

  stop(): void {
    this.#cancel();
  }

  /** When it last went on after one, if that was a moment ago; else long before anything. */
  get awokeAtMs(): number {
    this.#look();
    const isRecent = this.#timers.now() - this.#awokeAtMs < RECENT_MS;
    return isRecent ? this.#awokeAtMs : Number.NEGATIVE_INFINITY;
  }

  /** As `awokeAtMs`, where the monotonic clock had stood still as well: what is older by it is older than it says. */
  get suspendedUntilMs(): number {
    return Math.min(this.awokeAtMs, this.#suspendedUntilMs);
  }

  #tick(): void {
    this.#look();
    this.#nextMs = this.#timers.now() + TICK_MS;
    this.#cancel = this.#timers.after(TICK_MS, () => this.#tick());
  }

  /** What comes first after a standstill may not be the tick. */
  #look(): void {
    const nowMs = this.#timers.now();
    const aheadMs = this.#ahead();
    const jumpedMs = aheadMs - this.#aheadMs;
    this.#aheadMs = aheadMs;
    if (nowMs - this.#nextMs <= LATE_MS && jumpedMs <= LATE_MS) return;
    this.#awokeAtMs = nowMs;
    if (jumpedMs > LATE_MS) this.#suspendedUntilMs = nowMs;
    this.#nextMs = nowMs + TICK_MS;
  }

  #ahead(): number {
    const { wall } = this.#timers;
    return wall === undefined ? 0 : wall() - this.#timers.now();
  }
}
