import type { Logger } from 'pino';
import { systemCode, WindlassError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { BlobFiles } from './blob-files.ts';
import { BlobIndex } from './blob-index.ts';
import { BlobRemoval } from './blob-removal.ts';
import { scanBlobs } from './blob-scan.ts';
import type { BlobInfo, BlobStore, BlobWriter, OpenBlob, StoreEvent, StoreStats } from './blob-store.ts';
import { type Clock, systemClock } from './clock.ts';
import type { DiskBlob } from './disk-blob.ts';
import { type CannotDelete, DiskPartials } from './disk-partials.ts';
import { DiskReaders } from './disk-readers.ts';
import { DiskSpace } from './disk-space.ts';
import { DiskWriters } from './disk-writers.ts';
import { HashPool } from './hash-pool.ts';
import { Scrub } from './scrub.ts';
import { Space } from './space.ts';
import { layoutOf, markBoot, openFolder, type StoreLayout } from './store-format.ts';
import type { StoreLock } from './store-lock.ts';

export interface DiskBlobStoreOptions {
  readonly path: string;
  /** The quota: committed blobs, unfinished ones, and what is reserved for them. */
  readonly maxBytes: number;
  /** The share (0 to 1) of the file system that stays free, whoever fills it. */
  readonly minFreeShare?: number;
  /** What an unfinished writer left is deleted after that time. */
  readonly partialMaxAgeMs?: number;
  /** 0: no scrub. */
  readonly scrubBytesPerSecond?: number;
  /** Shared with others who hash; ends with the store. */
  readonly hashes?: HashPool;
  readonly logger: Logger;
  readonly metrics?: StoreMetrics;
  readonly clock?: Clock;
}

/** What is held at the moment is in `stats`. */
type StoreMetrics = Pick<
  Metrics,
  'storeEvictions' | 'storeEvictedBytes' | 'storePassed' | 'storeScrubbedBytes' | 'storeCorrupt' | 'storeDeleteFailures'
>;

const DAY_MS = 24 * 3_600_000;
const TOUCH_EVERY_MS = 60_000;
const FLOOR_EVERY_MS = 60_000;

/**
 * Blobs in files.
 *
 * ```
 *   ingests/<algorithm>-<hex>-<random>  ──verified, synced, renamed, folder synced──▶  blobs/<algorithm>/<first two>/<hex>
 *     │ process dies: resumed                                                            │ evicted, deleted, corrupt:
 *     │ machine dies, or too old: deleted                                                ▼ invisible, then unlinked
 * ```
 * A name in `blobs/` is never given before the bytes are checked and durable, so a start believes names and sizes.
 * Deleting a blob that is read: its name goes at once, its bytes count against the quota until the last reader left.
 */
export class DiskBlobStore implements BlobStore {
  readonly #options: DiskBlobStoreOptions;
  readonly #layout: StoreLayout;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #index: BlobIndex<DiskBlob>;
  readonly #files: BlobFiles;
  readonly #partials: DiskPartials;
  readonly #removal: BlobRemoval;
  readonly #space: Space;
  readonly #writers: DiskWriters;
  readonly #readers: DiskReaders;
  readonly #hashes: HashPool;
  readonly #scrub: Scrub | undefined;
  readonly #abort = new AbortController();
  #tending: Promise<unknown> | undefined;
  #lock: StoreLock | undefined;
  #state: 'new' | 'started' | 'stopped' = 'new';

  constructor(options: DiskBlobStoreOptions) {
    this.#options = options;
    this.#layout = layoutOf(options.path);
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#hashes = options.hashes ?? new HashPool();
    this.#index = new BlobIndex((error) => this.#logger.error({ err: error }, 'a listener of the store threw'));
    this.#files = new BlobFiles(this.#layout);
    const cannotDelete: CannotDelete = (path, error) => {
      this.#logger.error({ err: error, path, code: systemCode(error) }, 'a file of the store cannot be deleted');
      options.metrics?.storeDeleteFailures.inc();
    };
    this.#partials = new DiskPartials(this.#layout.ingests, this.#logger, cannotDelete);
    this.#removal = new BlobRemoval(
      this.#index,
      this.#files,
      this.#logger,
      cannotDelete,
      options.metrics?.storeCorrupt,
    );
    const space = new DiskSpace({
      path: options.path,
      minFreeShare: options.minFreeShare ?? 0,
      index: this.#index,
      partials: this.#partials,
      removal: this.#removal,
      writing: (digest) => this.#writers.has(digest),
      logger: this.#logger,
      metrics: options.metrics,
    });
    this.#space = new Space(options.maxBytes, space);
    this.#writers = new DiskWriters({
      index: this.#index,
      files: this.#files,
      partials: this.#partials,
      space: this.#space,
      hashes: this.#hashes,
      clock: this.#clock,
      passing: (digest, why) => {
        const reason = why instanceof Error ? { err: why } : why;
        this.#logger.warn({ digest, ...reason, ...this.stats() }, 'no room: blob is passed on, not kept');
        options.metrics?.storePassed.inc();
      },
      cannotDelete,
    });
    this.#readers = new DiskReaders(this.#index, {
      pathOf: (digest) => this.#files.pathOf(digest),
      vanished: (blob) => this.#removal.vanished(blob),
      corrupt: (blob, why) => this.#removal.corrupt(blob, why),
    });
    const bytesPerSecond = options.scrubBytesPerSecond ?? 0;
    if (bytesPerSecond > 0) this.#scrub = this.#newScrub(bytesPerSecond);
  }

  async start(): Promise<void> {
    const { lock, sameBoot } = await openFolder(this.#layout);
    this.#lock = lock;
    try {
      const beganMs = performance.now();
      await this.#partials.scan(sameBoot);
      await markBoot(this.#layout).catch((error: unknown) => {
        this.#logger.warn({ err: error }, 'this boot cannot be noted');
      });
      const { blobs, strangers, strangerCount } = await scanBlobs(this.#layout.blobs);
      for (const blob of blobs) this.#index.add(blob);
      if (strangerCount > 0) this.#logger.warn({ strangerCount, strangers }, 'files in the store that are no blobs');
      const stats = this.stats();
      this.#logger.info({ ...stats, sameBoot, tookMs: Math.round(performance.now() - beganMs) }, 'store opened');
      const excess = stats.blobBytes + stats.ingestBytes - stats.maxBytes;
      // The quota may have been lowered.
      if (excess > 0) await this.#space.squeeze(excess);
    } catch (cause) {
      lock.release();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new WindlassError('STORE_UNUSABLE', `the store ${this.#layout.folder} cannot be read: ${why}`, { cause });
    }
    this.#state = 'started';
    const { partialMaxAgeMs = DAY_MS } = this.#options;
    this.#tending = Promise.all([
      this.#every(Math.max(1000, partialMaxAgeMs / 24), () =>
        this.#partials.sweep(this.#clock.now() - partialMaxAgeMs),
      ),
      this.#every(FLOOR_EVERY_MS, () => this.#space.keepFloor()),
    ]);
    this.#scrub?.start();
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#abort.abort();
    await this.#writers.stop();
    const scrubbed = this.#scrub?.stop();
    await this.#hashes.stop();
    await scrubbed;
    await this.#tending;
    await this.#readers.stop();
    this.#lock?.release();
  }

  stat(digest: Digest): BlobInfo | undefined {
    const blob = this.#index.get(digest);
    return blob && { digest, sizeBytes: blob.sizeBytes };
  }

  async open(digest: Digest): Promise<OpenBlob | undefined> {
    this.#expectStarted();
    const blob = this.#index.get(digest);
    if (blob === undefined) return undefined;
    this.#index.use(blob);
    const extent = await this.#readers.open(blob);
    if (extent !== undefined) this.#touch(blob);
    return extent;
  }

  unfinishedBytes(digest: Digest): number {
    return this.#partials.peek(digest)?.sizeBytes ?? 0;
  }

  async create(
    digest: Digest,
    options: { readonly sizeBytes?: number | undefined; readonly fresh?: boolean } = {},
  ): Promise<BlobWriter> {
    this.#expectStarted();
    return await this.#writers.create(digest, options);
  }

  async delete(digest: Digest, reason: 'deleted' | 'corrupt' = 'deleted'): Promise<boolean> {
    this.#expectStarted();
    const blob = this.#index.get(digest);
    return blob !== undefined && (await this.#removal.remove(blob, reason));
  }

  *list(): Iterable<BlobInfo> {
    for (const { digest, sizeBytes } of [...this.#index.values()]) yield { digest, sizeBytes };
  }

  stats(): StoreStats {
    return {
      blobs: this.#index.size,
      blobBytes: this.#index.bytes,
      ingestBytes: this.#partials.bytes + this.#space.reservedBytes,
      maxBytes: this.#space.maxBytes,
    };
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    return this.#index.subscribe(listener);
  }

  #touch(blob: DiskBlob): void {
    const nowMs = this.#clock.now();
    // Either way: the clock may have been set back.
    if (Math.abs(nowMs - blob.touchedMs) < TOUCH_EVERY_MS) return;
    blob.touchedMs = nowMs;
    this.#files.touch(blob.digest, nowMs).catch((error: unknown) => {
      this.#logger.debug({ err: error, digest: blob.digest }, 'time of use cannot be noted');
    });
  }

  /** At once, and again and again until the store is stopped. */
  async #every(intervalMs: number, call: () => Promise<void>): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await call().catch((error: unknown) => this.#logger.error({ err: error }, 'the store could not be tended'));
      await this.#clock.sleep(intervalMs, signal).catch(() => undefined);
    }
  }

  #newScrub(bytesPerSecond: number): Scrub {
    return new Scrub({
      bytesPerSecond,
      cursorPath: this.#layout.scrubCursor,
      hashes: this.#hashes,
      clock: this.#clock,
      logger: this.#logger,
      blobs: () => this.#index.values(),
      pathOf: (digest) => this.#files.pathOf(digest),
      holds: (blob) => this.#index.holds(blob),
      scrubbed: (bytes) => this.#options.metrics?.storeScrubbedBytes.inc(bytes),
      corrupt: (blob, why) => this.#removal.corrupt(blob, why),
    });
  }

  #expectStarted(): void {
    if (this.#state === 'new') throw new WindlassError('STORE_UNUSABLE', 'the store is not started');
    if (this.#state === 'stopped') throw new WindlassError('STOPPING', 'the store is stopped');
  }
}
