import type { PeerId } from './member.ts';

/** One call a peer at a time: what a call says is put together in its turn, so that none overtakes an older one. */
export class CallTurns {
  readonly #last = new Map<PeerId, Promise<unknown>>();

  /**
   * @param signal ends the wait, and the call is not begun then.
   * @param call never rejects.
   * @returns undefined if the signal came first.
   */
  async take<T>(peerId: PeerId, signal: AbortSignal, call: () => Promise<T>): Promise<T | undefined> {
    if (signal.aborted) return undefined;
    const before = this.#last.get(peerId) ?? Promise.resolve();
    const mine = before.then(() => (signal.aborted ? undefined : call()));
    this.#last.set(peerId, mine);
    void mine.then(() => {
      if (this.#last.get(peerId) === mine) this.#last.delete(peerId);
    });
    const over = Promise.withResolvers<undefined>();
    const end = () => over.resolve(undefined);
    signal.addEventListener('abort', end, { once: true });
    try {
      return await Promise.race([mine, over.promise]);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }
}
