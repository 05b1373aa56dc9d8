import { createHash } from 'node:crypto';
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht';
import { CID } from 'multiformats/cid';
import * as multihash from 'multiformats/hashes/digest';
import type { Logger } from 'pino';
import type { Timers } from '../../time/timers.ts';
import type { PeerId } from '../member.ts';
import { TokenBucket } from './token-bucket.ts';

const PROTOCOL = '/windlass/kad/1';
const SHA256 = 0x12;
const RAW = 0x55;
const PROVIDES_PER_SECOND = 3;
const MAX_QUEUED = 1_000;
const PROVIDE_MS = 10_000;
const LOOKUPS_PER_SECOND = 20;
const LOOKUPS_BURST = 100;
/** A miss can take seconds, and is worth nothing. */
const LOOKUP_MS = 1_000;
const ENOUGH_PROVIDERS = 8;

/** The sizes that were cheapest by far at 50 peers, with hardly more misses (see stack.md's table). */
export function dhtService(): ReturnType<typeof kadDHT> {
  return kadDHT({
    protocol: PROTOCOL,
    clientMode: false,
    // The default drops private addresses, and we have no others.
    peerInfoMapper: passthroughMapper,
    kBucketSize: 5,
    alpha: 3,
    disjointPaths: 1,
    // A crowd that starts together has other things to do at first.
    initialQuerySelfInterval: 5_000 + 10_000 * Math.random(),
    querySelfInterval: 15 * 60_000,
    allowQueryWithZeroPeers: true,
    reprovide: { concurrency: 1, maxQueueSize: MAX_QUEUED },
  });
}

export interface HintsDhtOptions {
  readonly self: PeerId;
  readonly kad: KadDHT;
  readonly hasPeers: () => boolean;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Provider records of kad-dht: hints only, few a second, and nobody waits for them. */
export class HintsDht {
  readonly #options: HintsDhtOptions;
  readonly #queue = new Set<string>();
  readonly #mayLookUp: TokenBucket;
  readonly #stop = new AbortController();
  #cancel: (() => void) | undefined;

  constructor(options: HintsDhtOptions) {
    this.#options = options;
    const { timers } = options;
    this.#mayLookUp = new TokenBucket({ perSecond: LOOKUPS_PER_SECOND, burst: LOOKUPS_BURST, timers });
  }

  stop(): void {
    this.#stop.abort(new Error('the DHT stops'));
    this.#cancel?.();
    this.#queue.clear();
  }

  /** This agent holds it. Queued; dropped where too much waits already. */
  provide(digest: string): void {
    if (this.#stop.signal.aborted || this.#queue.size >= MAX_QUEUED) return;
    this.#queue.add(digest);
    if (this.#cancel === undefined) this.#next();
  }

  /** Not told again. Others still name this agent until their records expire. */
  withdraw(digest: string): void {
    this.#queue.delete(digest);
    if (this.#stop.signal.aborted) return;
    const { kad, logger } = this.#options;
    kad.cancelReprovide(keyOf(digest)).catch((err) => logger.debug({ err }, 'provider record not withdrawn'));
  }

  /**
   * Others that said so, at most 8 of them. Ends after 1 s, at the signal, or at once where there were too many
   * lookups lately; with what it has. Never rejects.
   */
  async findProviders(digest: string, { signal }: { readonly signal: AbortSignal }): Promise<PeerId[]> {
    const { self, kad, hasPeers } = this.#options;
    const found = new Set<PeerId>();
    if (signal.aborted || this.#stop.signal.aborted || !hasPeers() || !this.#mayLookUp.take(1)) return [];
    const bound = AbortSignal.any([signal, this.#stop.signal, AbortSignal.timeout(LOOKUP_MS)]);
    try {
      for await (const event of kad.findProviders(keyOf(digest), { signal: bound })) {
        if (event.name !== 'PROVIDER') continue;
        for (const { id } of event.providers) found.add(id.toString());
        found.delete(self);
        if (found.size >= ENOUGH_PROVIDERS || bound.aborted) break;
      }
    } catch {
      // The bound, or nobody to ask: what was found counts.
    }
    return [...found].slice(0, ENOUGH_PROVIDERS);
  }

  #next(): void {
    this.#cancel = this.#options.timers.after(1_000 / PROVIDES_PER_SECOND, () => {
      this.#cancel = undefined;
      if (this.#options.hasPeers()) {
        const [digest] = this.#queue;
        if (digest !== undefined) void this.#provide(digest);
      }
      if (this.#queue.size > 0 && !this.#stop.signal.aborted) this.#next();
    });
  }

  async #provide(digest: string): Promise<void> {
    const { kad, logger } = this.#options;
    this.#queue.delete(digest);
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(PROVIDE_MS)]);
    try {
      for await (const _ of kad.provide(keyOf(digest), { signal })) if (signal.aborted) break;
    } catch (err) {
      logger.debug({ err, digest }, 'provider record not told');
    }
  }
}

/** Always a sha2-256 multihash: under any other a provide succeeds, and nothing is ever found. */
function keyOf(digest: string): CID {
  return CID.createV1(RAW, multihash.create(SHA256, createHash('sha256').update(digest).digest()));
}
