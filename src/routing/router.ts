import type { PeerId } from './member.ts';

/**
 * Who holds what. Four verbs, as the field has them. Keys are digests (`blob:…` keys of the roster are made inside).
 * Lossy by nature: what it says is a hint, and a holder that has it no more says so itself.
 */
export interface Router {
  /** Resolves when lookups make sense: at once for a lone agent. */
  ready(signal: AbortSignal): Promise<void>;
  /**
   * Other agents that are thought to hold it, best first. Never this agent. Asks the keepers, then what gossip said,
   * then the DHT, and ends at the bound with what it has; an empty list is a miss. Never rejects but by the signal.
   */
  lookup(digest: string, options: { readonly signal: AbortSignal; readonly timeoutMs: number }): Promise<PeerId[]>;
  /** This agent holds them. Returns at once: announced in batches. Idempotent. */
  advertise(digests: Iterable<string>): void;
  /** This agent holds them no more. */
  withdraw(digests: Iterable<string>): void;
}
