import type { PeerId } from '../routing/member.ts';
import type { FailedPeer } from './claims/messages.ts';

/** As many as a claim may name. */
const MAX_FAILED = 64;
/** A peer may be well again. */
const REMEMBERED_MS = 30_000;
/** An upload slot gets free sooner. */
const FULL_MS = 3_000;

/** The peers that failed one ingest of late, and why: told with each of its claims. */
export class FailedPeers {
  readonly #failed = new Map<PeerId, { readonly why: FailedPeer['why']; readonly untilMs: number }>();

  note(peerId: PeerId, why: FailedPeer['why']): void {
    // It said so itself: that is more than what is seen of it.
    const before = this.#failed.get(peerId);
    const nowMs = performance.now();
    if (why === 'slow' && before?.why === 'strained' && before.untilMs > nowMs) return;
    this.#failed.delete(peerId);
    const untilMs = nowMs + (why === 'full' ? FULL_MS : REMEMBERED_MS);
    this.#failed.set(peerId, { why, untilMs });
    const oldest = this.#failed.keys().next();
    if (this.#failed.size > MAX_FAILED && !oldest.done) this.#failed.delete(oldest.value);
  }

  list(): FailedPeer[] {
    const nowMs = performance.now();
    for (const [peerId, { untilMs }] of this.#failed) if (untilMs <= nowMs) this.#failed.delete(peerId);
    return [...this.#failed].map(([peerId, { why }]) => ({ peerId, why }));
  }
}
