import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { FailedPeer } from './claims/messages.ts';
import { clock } from './clock.ts';

/** How long a peer that gave wrong bytes or nonsense is not read from by this node. */
const LEFT_OUT_MS = 60_000;

/** Peers that were left as a source: counted and named in the log, and left out for a while if they lied. Bounded. */
export class Offenders {
  readonly #leftOut = new LRUCache<string, true>({ max: 10_000, ttl: LEFT_OUT_MS, perf: clock });
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor({ logger, metrics }: { readonly logger: Logger; readonly metrics: Metrics }) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  /** It was left for what may happen to any peer. @param error what was found, for the log. */
  leave(peerId: PeerId, why: FailedPeer['why'], digest: Digest, error: unknown): void {
    this.#metrics.peerBlamed.inc({ reason: why });
    this.#logger.info({ peer: peerId, reason: why, digest, err: error }, 'peer left as a source');
  }

  /** It did what no good peer does. */
  blame(peerId: PeerId, why: 'wrong' | 'missing', digest: Digest, error: unknown): void {
    this.#metrics.peerBlamed.inc({ reason: why });
    this.#logger.warn({ peer: peerId, reason: why, digest, err: error }, 'peer is left out for a while');
    // Who has lost one blob may well have the others.
    this.#leftOut.set(why === 'missing' ? `${peerId} ${digest}` : peerId, true);
  }

  isLeftOut(peerId: PeerId, digest: Digest): boolean {
    return this.#leftOut.has(peerId) || this.#leftOut.has(`${peerId} ${digest}`);
  }
}
