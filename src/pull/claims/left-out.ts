import type { PeerId } from '../../routing/member.ts';
import type { Timers } from '../../time/timers.ts';
import { BoundedMap } from './bounded-map.ts';

/** A clock may begin below 0. */
const LONG_AGO = Number.NEGATIVE_INFINITY;

const LEFT_OUT_MS = 30_000;

/** Agents whose answers, or questions, made no sense: not asked, or not answered, for half a minute. */
export class LeftOut {
  readonly #timers: Timers;
  readonly #strikes: number;
  /** Of late; a peer's are forgotten with the least recent ones. */
  readonly #counted = new BoundedMap<PeerId, { count: number; readonly sinceMs: number }>(10_000);
  readonly #untilMs = new BoundedMap<PeerId, number>(10_000);

  /** @param strikes within half a minute before a peer is left out. */
  constructor(timers: Timers, strikes = 1) {
    this.#timers = timers;
    this.#strikes = strikes;
  }

  add(peerId: PeerId): void {
    const nowMs = this.#timers.now();
    const before = this.#counted.get(peerId);
    const fresh = before !== undefined && nowMs - before.sinceMs < LEFT_OUT_MS;
    const counted = fresh ? before : { count: 0, sinceMs: nowMs };
    counted.count += 1;
    this.#counted.set(peerId, counted);
    if (counted.count < this.#strikes) return;
    this.#counted.delete(peerId);
    this.#untilMs.set(peerId, nowMs + LEFT_OUT_MS);
  }

  has(peerId: PeerId): boolean {
    return (this.#untilMs.get(peerId) ?? LONG_AGO) > this.#timers.now();
  }

  /** All of them. */
  list(): PeerId[] {
    const nowMs = this.#timers.now();
    return [...this.#untilMs.entries()].filter(([, untilMs]) => untilMs > nowMs).map(([peerId]) => peerId);
  }
}
