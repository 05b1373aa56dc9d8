import type { PeerId } from '../../routing/member.ts';
import type { Timers } from '../../time/timers.ts';
import type { Claim, ClaimAnswer } from './messages.ts';

/** Asked again so soon where the answer was not held, or was held as long as it may be. */
const ASK_AGAIN_MS = 250;
const MAX_HELD_MS = 2_000;
const MAX_WAITING = 20_000;

export interface Waiter {
  readonly peerId: PeerId;
  readonly claim: Claim;
  readonly sinceMs: number;
  answer(answer: ClaimAnswer): void;
}

/** Claims whose answer is held back until there is something to say, oldest first. */
export class Waiting {
  readonly #timers: Timers;
  /** Of each key, by node: a claim asked again takes the place of the one before. */
  readonly #byKey = new Map<string, Map<PeerId, Waiter>>();
  #count = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** @returns the answer, or `wait` when its time is over. Never rejects; who leaves by the signal is forgotten. */
  hold(peerId: PeerId, claim: Claim, sinceMs: number, signal: AbortSignal): Promise<ClaimAnswer> {
    const heldMs = Math.min(claim.waitMs, MAX_HELD_MS) - (this.#timers.now() - sinceMs);
    if (heldMs <= 0 || this.#count >= MAX_WAITING || signal.aborted) return Promise.resolve(askAgain());
    const waiters = this.#byKey.get(claim.key) ?? new Map<PeerId, Waiter>();
    this.#byKey.set(claim.key, waiters);
    waiters.get(peerId)?.answer(askAgain());
    return new Promise((resolve) => {
      const answer = (given: ClaimAnswer) => {
        cancel();
        signal.removeEventListener('abort', leave);
        this.#remove(waiter);
        resolve(given);
      };
      const leave = () => answer(askAgain());
      const cancel = this.#timers.after(heldMs, () => answer({ kind: 'wait', waitMs: 0 }));
      const waiter: Waiter = { peerId, claim, sinceMs, answer };
      signal.addEventListener('abort', leave, { once: true });
      this.#byKey.set(claim.key, waiters);
      waiters.set(peerId, waiter);
      this.#count += 1;
    });
  }

  of(key: string): readonly Waiter[] {
    return [...(this.#byKey.get(key)?.values() ?? [])];
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  releaseAll(): void {
    for (const waiters of [...this.#byKey.values()])
      for (const waiter of [...waiters.values()]) waiter.answer(askAgain());
  }

  #remove(waiter: Waiter): void {
    const waiters = this.#byKey.get(waiter.claim.key);
    if (waiters?.get(waiter.peerId) !== waiter) return;
    waiters.delete(waiter.peerId);
    this.#count -= 1;
    if (waiters.size === 0) this.#byKey.delete(waiter.claim.key);
  }
}

/** Nothing to say yet, and nothing is held. */
export function askAgain(): ClaimAnswer {
  return { kind: 'wait', waitMs: ASK_AGAIN_MS };
}
