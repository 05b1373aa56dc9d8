import type { Timers } from '../time/timers.ts';
import type { Dht } from './libp2p-router.ts';

/** From so many holders on the DHT need not know. */
export const ENOUGH_HOLDERS = 3;
/**
 * The DHT is told so long after the store: by then news have told who else has it, and of what a whole cluster pulls
 * nothing needs to be told. A record costs a tenth of a CPU-second over ten agents (stack.md), in the middle of a pull.
 */
const AFTER_MS = 30_000;
const MAX_WAITING = 1_000;

export interface DhtProvidesOptions {
  readonly dht: Pick<Dht, 'provide' | 'withdraw'>;
  readonly timers: Timers;
  /** From 0 up to 1. */
  readonly random?: () => number;
}

/** What the DHT is to be told of what is held here: a while later, and only what few others hold. */
export class DhtProvides {
  readonly #options: DhtProvidesOptions;
  readonly #holders: (digest: string) => number;
  /** Since when it waits. */
  readonly #waiting = new Map<string, number>();
  #cancel: (() => void) | undefined;
  #stopped = false;

  /** @param holders how many others are known to hold a digest. */
  constructor(options: DhtProvidesOptions, holders: (digest: string) => number) {
    this.#options = options;
    this.#holders = holders;
  }

  add(digests: Iterable<string>): void {
    for (const digest of digests) {
      if (this.#waiting.size >= MAX_WAITING) break;
      this.#waiting.set(digest, this.#options.timers.now());
    }
    this.#later();
  }

  remove(digests: Iterable<string>): void {
    for (const digest of digests) {
      this.#waiting.delete(digest);
      this.#options.dht.withdraw(digest);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #later(): void {
    const { timers, dht, random = Math.random } = this.#options;
    if (this.#stopped || this.#waiting.size === 0) return;
    this.#cancel ??= timers.after(AFTER_MS * (1 + random()), () => {
      this.#cancel = undefined;
      for (const [digest, sinceMs] of this.#waiting) {
        if (timers.now() - sinceMs < AFTER_MS) continue;
        this.#waiting.delete(digest);
        if (this.#holders(digest) < ENOUGH_HOLDERS) dht.provide(digest);
      }
      this.#later();
    });
  }
}
