import { KeyedTurns } from '../time/keyed-turns.ts';
import type { PeerId } from './member.ts';

/** One call a peer at a time: what a call says is put together in its turn, so that none overtakes an older one. */
export class CallTurns {
  readonly #turns = new KeyedTurns<PeerId>();

  /**
   * @param signal ends the wait, and the call is not begun then.
   * @returns undefined if the signal came first.
   */
  async take<T>(peerId: PeerId, signal: AbortSignal, call: () => Promise<T>): Promise<T | undefined> {
    if (signal.aborted) return undefined;
    const over = Promise.withResolvers<undefined>();
    const end = () => over.resolve(undefined);
    signal.addEventListener('abort', end, { once: true });
    try {
      const turn = this.#turns.run(peerId, async () => (signal.aborted ? undefined : call()));
      return await Promise.race([turn, over.promise]);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }
}
