import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../routing/member.ts';
import type { FailedPeer } from './claims/messages.ts';
import { clock } from './clock.ts';

/** How long a peer that gave wrong bytes or nonsense is not read from by this node. */
const LEFT_OUT_MS = 60_000;
/** Once may happen to any peer; who is silent this often within so long is not waited for again and again. */
const SILENCES = 2;
const SILENT_MS = 30_000;
/**
 * Upstream is asked for no third time for what was wrong twice (blobs.ts, WRONG_BYTES_TRIES): a relay that says so of one
 * blob once more within LEFT_OUT_MS may do so for ever.
 */
const WRONGS = 3;
/** One pause silences all that is read from a peer. */
const ONE_PAUSE_MS = 1_000;

/** Peers that were left as a source: counted and named in the log, and left out for a while if they lied. Bounded. */
export class Offenders {
  readonly #leftOut = new LRUCache<string, true>({ max: 10_000, ttl: LEFT_OUT_MS, perf: clock });
  readonly #silences = new LRUCache<PeerId, { readonly count: number; readonly atMs: number }>({
    max: 10_000,
    ttl: SILENT_MS,
    perf: clock,
  });
  readonly #wrongs = new LRUCache<string, number>({ max: 10_000, ttl: LEFT_OUT_MS, perf: clock });
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
    if (why === 'silent') this.#noteSilence(peerId);
  }

  /** It did what no good peer does. */
  blame(peerId: PeerId, why: 'wrong' | 'missing', digest: Digest, error: unknown): void {
    this.#metrics.peerBlamed.inc({ reason: why });
    const what =
      why === 'wrong' ? 'peer is left out for a while' : 'peer lacks what it said it held: asked last for it';
    this.#logger.warn({ peer: peerId, reason: why, digest, err: error }, what);
    // Who has lost one blob may well have the others.
    this.#leftOut.set(why === 'missing' ? `${peerId} ${digest}` : peerId, true);
  }

  /** It passed on what others vouch for, and that it is wrong: so a pull has failed by its word alone. */
  saysWrong(peerId: PeerId, digest: Digest, error: unknown): void {
    const pair = `${peerId} ${digest}`;
    const count = (this.#wrongs.get(pair) ?? 0) + 1;
    this.#wrongs.set(pair, count);
    if (count >= WRONGS) this.blame(peerId, 'wrong', digest, error);
  }

  /** Why it is not to be read from now; undefined if it may be. */
  fault(peerId: PeerId): 'wrong' | 'silent' | undefined {
    if (this.isLiar(peerId)) return 'wrong';
    return (this.#silences.get(peerId)?.count ?? 0) >= SILENCES ? 'silent' : undefined;
  }

  /** Whom this node reads nothing from now, whatever the blob; `missing`: some blob only when all others have nothing. */
  leftOut(): { readonly peerId: PeerId; readonly reason: 'wrong' | 'silent' | 'missing' }[] {
    const keys = [...this.#leftOut.keys()].map((key) => key.split(' '));
    const wrong = keys.flatMap(([peerId = '', digest]) => (digest === undefined ? [peerId] : []));
    const silent = [...this.#silences.entries()].filter(([, { count }]) => count >= SILENCES);
    const missing = new Set(keys.flatMap(([peerId = '', digest]) => (digest === undefined ? [] : [peerId])));
    return [
      ...wrong.map((peerId) => ({ peerId, reason: 'wrong' as const })),
      ...silent.map(([peerId]) => ({ peerId, reason: 'silent' as const })),
      ...[...missing].map((peerId) => ({ peerId, reason: 'missing' as const })),
    ];
  }

  /** It said that it held the blob, and did not: lately. By now it may. */
  lackedIt(peerId: PeerId, digest: Digest): boolean {
    return this.#leftOut.has(`${peerId} ${digest}`);
  }

  /** What it vouches for is not believed either. Who only lacks a blob by now has told the truth of its pieces. */
  isLiar(peerId: PeerId): boolean {
    return this.#leftOut.has(peerId);
  }

  #noteSilence(peerId: PeerId): void {
    const { count = 0, atMs = Number.NEGATIVE_INFINITY } = this.#silences.get(peerId) ?? {};
    const nowMs = clock.now();
    if (nowMs - atMs >= ONE_PAUSE_MS) this.#silences.set(peerId, { count: count + 1, atMs: nowMs });
  }
}
