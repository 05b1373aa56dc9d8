import { statfs } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobIndex } from './blob-index.ts';
import type { BlobRemoval } from './blob-removal.ts';
import type { DiskBlob } from './disk-blob.ts';
import type { DiskPartials } from './disk-partials.ts';
import type { SpaceSource } from './space.ts';

export interface DiskSpaceOptions {
  readonly path: string;
  /** The share (0 to 1) of the file system that stays free, whoever fills it. */
  readonly minFreeShare: number;
  readonly index: BlobIndex<DiskBlob>;
  readonly partials: DiskPartials;
  readonly removal: BlobRemoval;
  /** Blobs that are being written again are not evicted. */
  readonly writing: (digest: Digest) => boolean;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'storeEvictions' | 'storeEvictedBytes'> | undefined;
}

/** So many files are deleted at once. */
const AT_ONCE = 32;

/** Where a disk store's space is, and how it is freed. */
export class DiskSpace implements SpaceSource {
  readonly #options: DiskSpaceOptions;

  constructor(options: DiskSpaceOptions) {
    this.#options = options;
  }

  usedBytes(): number {
    const { index, partials } = this.#options;
    return index.bytes + index.lingeringBytes + partials.bytes;
  }

  async freeBytes(): Promise<number> {
    const { minFreeShare, path, logger } = this.#options;
    try {
      const { bavail, bsize, blocks } = await statfs(path);
      return bavail * bsize - Math.ceil(minFreeShare * blocks * bsize);
    } catch (error) {
      logger.error({ err: error }, 'free space is not known: nothing is kept');
      return Number.NEGATIVE_INFINITY;
    }
  }

  /** Leftovers first, oldest first; then blobs that nobody reads or writes, least recently used first. */
  async evict(bytes: number, { orLess = false }: { readonly orLess?: boolean } = {}): Promise<boolean> {
    const { index, partials, writing } = this.#options;
    // Known at once, without a look at 100,000 blobs.
    if (!orLess && partials.bytes + index.bytes < bytes) return false;
    const leftovers = partials.oldest(bytes);
    const coldest = index.coldest(bytes - leftovers.bytes, writing);
    if (!orLess && leftovers.bytes + coldest.bytes < bytes) return false;
    for (const digest of leftovers.digests) await partials.delete(digest);
    for (let at = 0; at < coldest.blobs.length; at += AT_ONCE) {
      await Promise.all(coldest.blobs.slice(at, at + AT_ONCE).map((blob) => this.#evictOne(blob)));
    }
    return true;
  }

  async #evictOne(blob: DiskBlob): Promise<void> {
    const { removal, metrics } = this.#options;
    // Its turn may come after a reader's.
    if (blob.pins > 0 || !(await removal.remove(blob, 'evicted'))) return;
    metrics?.storeEvictions.inc();
    metrics?.storeEvictedBytes.inc(blob.sizeBytes);
  }
}
