import type { Logger } from 'pino';
import type { BlobStore } from '../store/blob-store.ts';
import type { ContentBlobs } from './content-blobs.ts';

const EVERY_MS = 60_000;
/** containerd may discard a layer as soon as it is unpacked: what it has held for so long stays until its image goes. */
const SETTLED_MS = 600_000;

export interface KeptOnceOptions {
  readonly store: Pick<BlobStore, 'stat' | 'delete'>;
  readonly content: Pick<ContentBlobs, 'entries'>;
  readonly logger: Logger;
  /** In ms. */
  readonly timing?: { readonly every: number; readonly settled: number };
}

/** Drops from the store what containerd has held for some time: the disk carries it once. */
export class KeptOnce {
  readonly #options: KeptOnceOptions;
  readonly #settledMs: number;
  readonly #timer: NodeJS.Timeout;
  #running = Promise.resolve();

  /** Begins at once, until `stop`. */
  constructor(options: KeptOnceOptions) {
    this.#options = options;
    const { every, settled } = options.timing ?? { every: EVERY_MS, settled: SETTLED_MS };
    this.#settledMs = settled;
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.#drop());
    }, every).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #drop(): Promise<void> {
    const { store, content, logger } = this.#options;
    const before = Date.now() - this.#settledMs;
    const twice = [];
    for (const [digest, { createdMs }] of content.entries()) {
      if (createdMs < before && store.stat(digest) !== undefined) twice.push(digest);
    }
    try {
      for (const digest of twice) await store.delete(digest);
      if (twice.length > 0) logger.info({ blobs: twice.length }, 'dropped what containerd holds as well');
    } catch (err) {
      logger.warn({ err }, 'what containerd holds as well cannot be dropped');
    }
  }
}
