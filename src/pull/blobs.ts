// Over 300 lines: the one place where store, ingests and containerd's content meet, in the order in which they are asked.

import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { hasCode, WindlassError } from '../errors.ts';
import type { Metrics, SourceLabel } from '../metrics/metrics.ts';
import { type Digest, isDigestOfNothing } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Registries } from '../upstream/registry-client.ts';
import type { BlobReader } from './blob-reader.ts';
import { type BlobSource, UpstreamSource } from './blob-source.ts';
import type { OpenedForPeer } from './child-stream.ts';
import { INLINE_BYTES } from './claims/messages.ts';
import { clock } from './clock.ts';
import type { ContentBlobs } from './content-blobs.ts';
import type { Descriptors } from './descriptors.ts';
import { DirectReaders, isFarRange, type RangeHint, tooManyDirect } from './direct-readers.ts';
import { Flights, untilAborted } from './flights.ts';
import { Ingest, type IngestEnd } from './ingest.ts';
import { IngestPhases } from './ingest-phases.ts';
import { type IngestStatus, statusOf } from './ingest-status.ts';
import { Origins } from './origins.ts';
import { PIECE_BYTES } from './piece.ts';
import { endedOf, RecentIngests } from './recent-ingests.ts';
import { StoredReader } from './stored-reader.ts';
import type { Swarm } from './swarm.ts';
import { SwarmSource } from './swarm-source.ts';

/** After a failure clients are promised nothing for so long, and wait for what upstream really answers. */
const RECENT_FAILURE_MS = 30_000;
/** Wrong bytes twice within this time: nobody asks upstream again before it has passed. */
const WRONG_BYTES_MS = 30_000;
const WRONG_BYTES_TRIES = 2;

export interface BlobsOptions {
  readonly store: BlobStore;
  readonly registries: Registries;
  readonly descriptors: Descriptors;
  /** What the node's containerd holds: served as it is, without an ingest. */
  readonly content?: ContentBlobs | undefined;
  /** Asked before upstream, in this order. */
  readonly sources?: readonly BlobSource[];
  readonly finishLimitBytes: number;
  /** Stands before upstream. Without it, this node is alone. */
  readonly swarm?: Swarm;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Running {
  readonly ingest: Ingest;
  readonly source: SwarmSource | undefined;
  /** Resolves when it is out of the map, and what it taught is remembered. */
  readonly ended: Promise<void>;
}

/**
 * Blobs by digest: held, on their way in, or to be fetched. However many ask, by whatever repository, there is one
 * ingest of a digest at a time; between its commit and its end a request finds either the ingest or the blob.
 */
export class Blobs {
  /** Ingests that have ended. */
  readonly recent = new RecentIngests();
  readonly #options: BlobsOptions;
  readonly #upstream: UpstreamSource;
  /** An entry is there from the request that starts an ingest until its blob is visible in the store. */
  readonly #ingests = new Map<Digest, Running>();
  readonly #direct: DirectReaders;
  readonly #heads = new Flights<number | undefined>();
  readonly #recentFailures = new LRUCache<Digest, true>({ max: 10_000, ttl: RECENT_FAILURE_MS, perf: clock });
  /** By repository: one's wrong answers, or its manifests' wrong sizes, must not close another's way. */
  readonly #wrongBytes = new LRUCache<string, number>({ max: 10_000, ttl: WRONG_BYTES_MS, perf: clock });
  #stopped = false;

  constructor(options: BlobsOptions) {
    this.#options = options;
    this.#upstream = new UpstreamSource(options.registries);
    this.#direct = new DirectReaders(this.#upstream);
    options.content?.subscribe(({ removed }) => {
      // Of a damaged file pieces may have been vouched for. What an ingest has begun with is compared by its hash.
      for (const digest of removed) if (!this.#ingests.has(digest)) options.swarm?.proofs.forget(digest);
    });
  }

  /**
   * A reader of the blob. Resolves at once, before any byte is there, but where the bytes must be asked for by
   * themselves (DirectReaders). Failures to get the blob reject the reader's calls.
   * @throws REGISTRY_DENIED, STOPPING; DIGEST_MISMATCH while upstream is known to send wrong bytes; what this
   *   repository answered to a running ingest.
   */
  async open(origin: RepositoryName, digest: Digest, range: RangeHint, signal: AbortSignal): Promise<BlobReader> {
    const { store, content } = this.#options;
    let askContent = content !== undefined;
    for (;;) {
      // No await between the look into the map, the look into the store, and the entry into the map.
      const running = this.#ingests.get(digest);
      if (running?.ingest.failing) {
        // Its readers know already, and one may be back; what it leaves must be put away first.
        await untilAborted(running.ended, signal);
        continue;
      }
      if (running !== undefined) return this.#join(running.ingest, origin, range, signal, false);
      if (store.stat(digest) === undefined && askContent) {
        askContent = false;
        const reader = await content?.openSoon(digest, signal);
        if (reader !== undefined) return reader;
        continue;
      }
      if (store.stat(digest) === undefined) {
        return this.#join(this.#start(origin, digest), origin, range, signal, true);
      }
      const held = await store.open(digest);
      if (held !== undefined) return new StoredReader(held, () => void this.#dropCorrupt(digest));
    }
  }

  /** The blob's size, without its bytes. Says what `open` would say at this moment; rejects as that and its reader. */
  async head(
    origin: RepositoryName,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ readonly sizeBytes: number; readonly source: SourceLabel }> {
    const { store, content } = this.#options;
    let held = store.stat(digest);
    if (held === undefined && !this.#ingests.has(digest)) {
      const sizeBytes = await content?.statSoon(digest, signal);
      if (sizeBytes !== undefined) return { sizeBytes, source: 'content' };
      held = store.stat(digest);
    }
    if (held !== undefined) return { sizeBytes: held.sizeBytes, source: 'store' };
    if (!this.#ingests.has(digest)) {
      this.#refuseIfPoisoned(origin, digest);
      const sizeBytes = this.#promisedSize(origin, digest) ?? (await this.#askSize(origin, digest, signal));
      if (sizeBytes !== undefined) return { sizeBytes, source: 'upstream' };
    }
    // On its way in; or upstream does not say, and only the bytes will tell. Such a reader holds nobody up.
    const reader = await this.open(origin, digest, { start: Number.MAX_SAFE_INTEGER, end: undefined }, signal);
    try {
      let sizeBytes = reader.promised ? reader.sizeBytes : await reader.opened(signal);
      while (sizeBytes === undefined && (await reader.wait(reader.available, signal))) sizeBytes = reader.sizeBytes;
      return { sizeBytes: sizeBytes ?? reader.available, source: reader.source };
    } finally {
      reader.close();
    }
  }

  /**
   * What is held or on its way in, for another agent, from a piece on. Never starts a fetch.
   * @returns undefined where it is neither. @throws PEER_BUSY if that piece cannot be given; the signal's reason.
   */
  async openForPeer(digest: Digest, index: number, signal: AbortSignal): Promise<OpenedForPeer | undefined> {
    const { store, content } = this.#options;
    const running = this.#ingests.get(digest);
    if (running !== undefined && !running.ingest.failing) {
      const { ingest, source } = running;
      const position = index * PIECE_BYTES;
      const relayed = position < ingest.written && source?.role === 'reader' && !ingest.verified;
      const reader = relayed && !this.#isVouchedFor(digest, index) ? undefined : ingest.joinAsChild(position);
      if (reader === undefined) throw new WindlassError('PEER_BUSY', `${digest}: piece ${index} cannot be given`);
      return { reader, ingest, source };
    }
    const held = await store.open(digest);
    const stored = held && new StoredReader(held, () => void this.#dropCorrupt(digest));
    const reader = stored ?? (await content?.open(digest, signal));
    return reader && { reader, ingest: undefined, source: undefined };
  }

  /** By another node: nobody believes a relay that vouches for itself. */
  #isVouchedFor(digest: Digest, index: number): boolean {
    const { swarm } = this.#options;
    const signer = swarm?.proofs.signerOf(digest, index);
    return signer !== undefined && signer !== swarm?.self;
  }

  running(): IngestStatus[] {
    return [...this.#ingests.values()].map(({ ingest, source }) =>
      statusOf(ingest, source, this.#options.descriptors.pullIdOf(ingest.origin, ingest.digest)),
    );
  }

  /** Deletes it here, on its way in or held, and hides containerd's: it is offered no more. @returns was there anything? */
  async purge(digest: Digest): Promise<boolean> {
    const running = this.#ingests.get(digest);
    running?.ingest.stop(new WindlassError('STOPPING', 'it was dropped'));
    await running?.ended;
    this.#options.swarm?.proofs.forget(digest);
    const wasContent = this.#options.content?.refuse(digest) === true;
    return (await this.#options.store.delete(digest)) || running !== undefined || wasContent;
  }

  /** Ends all ingests; what they wrote stays for resuming. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const running = [...this.#ingests.values()];
    for (const { ingest } of running) ingest.stop(new WindlassError('STOPPING', 'the agent is stopping'));
    await Promise.all(running.map(({ ended }) => ended));
  }

  /** Asked once however many ask. */
  async #askSize(origin: RepositoryName, digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    const { registries, descriptors } = this.#options;
    return this.#heads.join(keyOf(origin, digest), signal, async (flightSignal) => {
      const client = registries.get(origin.registry);
      const { sizeBytes } = await client.headBlob(origin.repository, digest, { signal: flightSignal });
      // Said for want of knowing: the bytes will tell.
      if (sizeBytes === 0 && !isDigestOfNothing(digest)) return undefined;
      if (sizeBytes !== undefined) descriptors.setSize(origin, digest, sizeBytes);
      return sizeBytes;
    });
  }

  #promisedSize(origin: RepositoryName, digest: Digest): number | undefined {
    return this.#recentFailures.has(digest) ? undefined : this.#options.descriptors.sizeOf(origin, digest);
  }

  #refuseIfPoisoned(origin: RepositoryName, digest: Digest): void {
    if ((this.#wrongBytes.get(keyOf(origin, digest)) ?? 0) < WRONG_BYTES_TRIES) return;
    throw new WindlassError(
      'DIGEST_MISMATCH',
      `upstream sent wrong bytes for ${digest} twice; asking again in a while`,
    );
  }

  async #dropCorrupt(digest: Digest): Promise<void> {
    const { store, logger } = this.#options;
    try {
      await store.delete(digest, 'corrupt');
    } catch (error) {
      logger.error({ digest, err: error }, 'corrupt blob could not be deleted');
    }
  }

  #start(origin: RepositoryName, digest: Digest): Ingest {
    if (this.#stopped) throw new WindlassError('STOPPING', 'the agent is stopping');
    this.#options.registries.get(origin.registry); // throws where it is not on the list
    this.#refuseIfPoisoned(origin, digest);
    const { store, descriptors, finishLimitBytes, swarm, logger, metrics } = this.#options;
    const sizeBytes = descriptors.sizeOf(origin, digest);
    // Of what may be large the keeper would tell nobody anything until it is whole.
    const inline = sizeBytes !== undefined && sizeBytes <= INLINE_BYTES;
    const phases = new IngestPhases();
    const onClaimed = () => phases.ended('claim');
    const source = swarm && new SwarmSource(swarm, this.#upstream, { digest, inline, onClaimed });
    const ingest = new Ingest({
      id: randomBytes(6).toString('hex'),
      digest,
      origin,
      sizeBytes,
      store,
      sources: [...(this.#options.sources ?? []), source ?? this.#upstream],
      swarm: source,
      phases,
      finishLimitBytes,
      logger: logger.child({ pull: descriptors.pullIdOf(origin, digest) }),
      metrics,
    });
    this.#ingests.set(digest, { ingest, source, ended: this.#run(ingest, source, origin) });
    return ingest;
  }

  async #run(ingest: Ingest, source: SwarmSource | undefined, origin: RepositoryName): Promise<void> {
    const { digest } = ingest;
    const ended = await ingest.run();
    const pull = this.#options.descriptors.pullIdOf(origin, digest);
    this.recent.add({ pull, origin, ...endedOf(ended, ingest, source) });
    const upstreams = source?.ended(ended, ingest.sizeBytes, await ingest.inlineBytes()) ?? true;
    this.#remember(ended, origin, digest, upstreams);
    this.#ingests.delete(digest);
    ingest.release();
  }

  /** @param upstreams is upstream to blame, where the bytes were wrong? */
  #remember(ended: IngestEnd, origin: RepositoryName, digest: Digest, upstreams: boolean): void {
    if (ended.state !== 'failed') {
      this.#recentFailures.delete(digest);
      this.#wrongBytes.delete(keyOf(origin, digest));
      return;
    }
    if (hasCode(ended.error, 'STOPPING')) return;
    this.#recentFailures.set(digest, true);
    if (!hasCode(ended.error, 'DIGEST_MISMATCH')) return;
    this.#options.descriptors.forget(origin, digest);
    if (!upstreams) return;
    const key = keyOf(ended.blamed, digest);
    this.#wrongBytes.set(key, (this.#wrongBytes.get(key) ?? 0) + 1);
  }

  async #join(
    ingest: Ingest,
    origin: RepositoryName,
    range: RangeHint,
    signal: AbortSignal,
    first: boolean,
  ): Promise<BlobReader> {
    const { digest } = ingest;
    const promisedBytes = this.#promisedSize(origin, digest);
    const reader = ingest.join(origin, range.start, { first, promisedBytes });
    if (reader === undefined) {
      const direct = await this.#direct.open(origin, digest, range, ingest.sizeBytes, signal);
      if (direct === undefined) throw tooManyDirect(digest);
      return direct;
    }
    if (!isFarRange(range, ingest)) return reader;
    try {
      const far = await this.#direct.openFar(origin, digest, range, ingest.sizeBytes, signal);
      if (far === undefined) return reader;
      this.#options.metrics.rangedRequests.inc();
      reader.close();
      return far;
    } catch (error) {
      reader.close();
      throw error;
    }
  }
}

function keyOf(origin: RepositoryName, digest: Digest): string {
  return `${Origins.keyOf(origin)}@${digest}`;
}
