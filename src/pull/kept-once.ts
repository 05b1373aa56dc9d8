import type { Logger } from 'pino';
import type { Digest } from '../oci/digest.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { ContentBlobs } from './content-blobs.ts';

const EVERY_MS = 60_000;
/** containerd may discard a layer as soon as it is unpacked: what it has held for so long stays until its image goes. */
const SETTLED_MS = 600_000;

export interface KeptOnceOptions {
  readonly store: Pick<BlobStore, 'stat' | 'delete'>;
  readonly content: Pick<ContentBlobs, 'entries' | 'isSound'>;
  readonly logger: Logger;
  /** In ms. */
  readonly timing?: { readonly every: number; readonly settled: number };
}

/**
 * Drops from the store what containerd has held for some time, once a registry has said that this agent may serve it
 * from there, and the bytes of its file were found to be right: the disk carries it once.
 */
export class KeptOnce {
  readonly #options: KeptOnceOptions;
  readonly #settledMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  /** Begins at once, until `stop`. */
  constructor(options: KeptOnceOptions) {
    this.#options = options;
    const { every, settled } = options.timing ?? { every: EVERY_MS, settled: SETTLED_MS };
    this.#settledMs = settled;
    this.#timer = setInterval(() => {
      // Files are hashed: a round may take longer than it is to the next.
      this.#running ??= this.#drop().finally(() => {
        this.#running = undefined;
      });
    }, every).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort(new Error('the agent is stopping'));
    await this.#running;
  }

  async #drop(): Promise<void> {
    const { store, content, logger } = this.#options;
    const { signal } = this.#stop;
    let blobs = 0;
    try {
      for (const digest of this.#twice()) {
        if (!(await content.isSound(digest, signal)) || signal.aborted) continue;
        if (await store.delete(digest)) blobs += 1;
      }
      if (blobs > 0) logger.info({ blobs }, 'dropped what containerd holds as well');
    } catch (err) {
      if (!signal.aborted) logger.warn({ err }, 'what containerd holds as well cannot be dropped');
    }
  }

  #twice(): Digest[] {
    const { store, content } = this.#options;
    const before = Date.now() - this.#settledMs;
    const twice: Digest[] = [];
    for (const [digest, { createdMs }] of content.entries()) {
      if (createdMs < before && store.stat(digest) !== undefined) twice.push(digest);
    }
    return twice;
  }
}
