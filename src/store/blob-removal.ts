import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import type { BlobFiles } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { DiskBlob } from './disk-blob.ts';
import type { CannotDelete } from './disk-partials.ts';

/** How a committed blob goes: invisible at once, then its file. Only the very blob that is named, not a later one. */
export class BlobRemoval {
  readonly #index: BlobIndex<DiskBlob>;
  readonly #files: BlobFiles;
  readonly #logger: Logger;
  readonly #cannotDelete: CannotDelete;
  readonly #corrupted: Metrics['storeCorrupt'] | undefined;

  constructor(
    index: BlobIndex<DiskBlob>,
    files: BlobFiles,
    logger: Logger,
    cannotDelete: CannotDelete,
    corrupted: Metrics['storeCorrupt'] | undefined,
  ) {
    this.#index = index;
    this.#files = files;
    this.#logger = logger;
    this.#cannotDelete = cannotDelete;
    this.#corrupted = corrupted;
  }

  /** @returns false if it was not held any more */
  async remove(blob: DiskBlob, reason: 'evicted' | 'deleted' | 'corrupt'): Promise<boolean> {
    const { digest, sizeBytes } = blob;
    if (!this.#index.remove(blob, reason)) return false;
    try {
      await this.#files.delete(digest, () => this.#index.get(digest) !== undefined);
    } catch (error) {
      this.#cannotDelete(this.#files.pathOf(digest), error);
    }
    this.#logger.debug({ digest, sizeBytes, reason }, 'blob removed');
    return true;
  }

  async corrupt(blob: DiskBlob, why: string): Promise<void> {
    const { digest, sizeBytes } = blob;
    if (!(await this.remove(blob, 'corrupt'))) return;
    this.#logger.error({ digest, sizeBytes, why }, 'blob dropped: it is not what was committed');
    this.#corrupted?.inc();
  }

  async vanished(blob: DiskBlob): Promise<void> {
    if (await this.remove(blob, 'deleted')) {
      this.#logger.warn({ digest: blob.digest }, 'the file of a blob has vanished');
    }
  }
}
