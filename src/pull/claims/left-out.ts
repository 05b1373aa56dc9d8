import type { PeerId } from '../../routing/member.ts';
import type { Timers } from '../../routing/timers.ts';
import { BoundedMap } from './bounded-map.ts';

const LEFT_OUT_MS = 30_000;

/** Agents whose answers, or questions, made no sense: not asked, and not answered, for half a minute. */
export class LeftOut {
  readonly #timers: Timers;
  readonly #untilMs = new BoundedMap<PeerId, number>(10_000);

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  add(peerId: PeerId): void {
    this.#untilMs.set(peerId, this.#timers.now() + LEFT_OUT_MS);
  }

  has(peerId: PeerId): boolean {
    return (this.#untilMs.get(peerId) ?? 0) > this.#timers.now();
  }
}
