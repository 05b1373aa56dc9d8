import { open } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { ContainerdContent, ContentChange } from '../containerd/containerd-content.ts';
import type { HeldContent } from '../containerd/held-content.ts';
import { hasCode, systemCode } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { CountedFile } from '../store/counted-file.ts';
import type { HashPool } from '../store/hash-pool.ts';
import { ContentChecks } from './content-check.ts';
import { ContentReader } from './content-reader.ts';
import type { OpenRepositories } from './open-repositories.ts';

/** What containerd is known to hold, and where. */
type Content = Pick<ContainerdContent, 'get' | 'entries' | 'pathOf' | 'vanished' | 'subscribe' | 'listed'>;

export interface ContentBlobsOptions {
  readonly content: Content;
  readonly repositories: Pick<OpenRepositories, 'isOpen' | 'areClosed'>;
  readonly hashes: HashPool;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Blobs that the node's containerd holds, read from its directory. Of a file that containerd deleted meanwhile, of one
 * whose bytes are not what they were, and of one that this agent could not have fetched itself, nothing is served.
 */
export class ContentBlobs {
  readonly #options: ContentBlobsOptions;
  readonly #checks: ContentChecks;
  /** Not served until containerd has deleted them: their bytes are wrong, or somebody dropped them. */
  readonly #refused = new LRUCache<Digest, true>({ max: 10_000 });
  readonly #listeners = new Set<(change: ContentChange) => void>();

  constructor(options: ContentBlobsOptions) {
    this.#options = options;
    this.#checks = new ContentChecks(options.hashes);
    options.content.subscribe(({ added, removed }) => {
      for (const digest of removed) this.#refused.delete(digest);
      this.#tell({ added: added.filter((digest) => this.get(digest) !== undefined), removed });
    });
  }

  /** Resolves when it is known what containerd holds. Never rejects. */
  get listed(): Promise<void> {
    return this.#options.content.listed;
  }

  /** What may be served, as far as is known. From memory, without a system call. */
  get(digest: Digest): HeldContent | undefined {
    const held = this.#options.content.get(digest);
    return held !== undefined && this.#isOffered(digest, held) ? held : undefined;
  }

  *entries(): Iterable<[Digest, HeldContent]> {
    for (const [digest, held] of this.#options.content.entries()) {
      if (this.#isOffered(digest, held)) yield [digest, held];
    }
  }

  /**
   * Opens it, once its file is there and its repository known to be open.
   * @returns undefined where it cannot be had here. @throws PEER_BUSY if that cannot be said soon; the signal's reason.
   */
  async open(digest: Digest, signal: AbortSignal): Promise<ContentReader | undefined> {
    const held = this.get(digest);
    if (held === undefined) return undefined;
    if (!(await this.#options.repositories.isOpen(digest, held.sources, signal))) {
      if (this.#options.repositories.areClosed(held.sources)) this.#withdrawClosed();
      return undefined;
    }
    const reader = await this.#reader(digest, held.sizeBytes);
    // Nothing of it could be read before it is checked: whoever asks can still be given another's.
    if (reader === undefined || reader.available > 0 || (await isRight(reader, signal))) return reader;
    reader.close();
    return undefined;
  }

  /** As `open`; undefined too where nobody can say soon that it may be served. */
  async openSoon(digest: Digest, signal: AbortSignal): Promise<ContentReader | undefined> {
    try {
      return await this.open(digest, signal);
    } catch (error) {
      if (!hasCode(error, 'PEER_BUSY')) throw error;
      return undefined;
    }
  }

  /** Its bytes; undefined where it cannot be had here or soon, or is larger. @throws DIGEST_MISMATCH */
  async bytes(digest: Digest, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if ((this.get(digest)?.sizeBytes ?? Number.POSITIVE_INFINITY) > maxBytes) return undefined;
    const reader = await this.openSoon(digest, signal);
    if (reader === undefined) return undefined;
    try {
      await reader.wait(reader.sizeBytes, signal);
      const bytes = new Uint8Array(reader.sizeBytes);
      for (let at = 0; at < bytes.length; ) at += await reader.read(bytes.subarray(at), at);
      return bytes;
    } finally {
      reader.close();
    }
  }

  /** It is offered no more, though containerd has it. @returns was it? */
  refuse(digest: Digest): boolean {
    if (this.get(digest) === undefined) return false;
    this.#refused.set(digest, true);
    this.#tell({ added: [], removed: [digest] });
    return true;
  }

  /** Listeners must not throw. @returns unsubscribe */
  subscribe(listener: (change: ContentChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    await this.#checks.stop();
  }

  #isOffered(digest: Digest, { sources }: HeldContent): boolean {
    return !this.#refused.has(digest) && !this.#options.repositories.areClosed(sources);
  }

  async #openFile(digest: Digest): Promise<CountedFile | undefined> {
    const { content, logger } = this.#options;
    try {
      return new CountedFile(await open(content.pathOf(digest), 'r'));
    } catch (err) {
      // Garbage is collected without a word.
      if (systemCode(err) === 'ENOENT') content.vanished(digest);
      else logger.warn({ digest, err }, "containerd's copy cannot be read");
      return undefined;
    }
  }

  async #reader(digest: Digest, sizeBytes: number): Promise<ContentReader | undefined> {
    const file = await this.#openFile(digest);
    if (file === undefined) return undefined;
    const { dev, ino, size, mtimeMs } = await file.handle.stat();
    if (size !== sizeBytes) {
      this.#wrong(digest, new Error(`its file has ${size} bytes, not ${sizeBytes}`));
      await file.close();
      return undefined;
    }
    const identity = `${dev}:${ino}:${mtimeMs}`;
    const checked = this.#checks.isGood(digest, identity) ? undefined : this.#check(digest, identity, size, file);
    const onShort = () => this.#wrong(digest, new Error('its file was cut short'));
    return new ContentReader({ digest, sizeBytes, file, checked, onShort });
  }

  async #check(digest: Digest, identity: string, sizeBytes: number, file: CountedFile): Promise<void> {
    try {
      await this.#checks.check(digest, identity, sizeBytes, file);
    } catch (error) {
      if (hasCode(error, 'DIGEST_MISMATCH')) this.#wrong(digest, error);
      throw error;
    }
  }

  #wrong(digest: Digest, err: Error): void {
    if (!this.refuse(digest)) return;
    this.#options.metrics.verificationFailures.inc({ source: 'content' });
    this.#options.logger.error({ digest, err }, "containerd's copy is damaged: it is not served any more");
  }

  /** All that came from nowhere else than what is known to be closed by now. */
  #withdrawClosed(): void {
    const { content, repositories } = this.#options;
    const removed: Digest[] = [];
    for (const [digest, { sources }] of content.entries()) if (repositories.areClosed(sources)) removed.push(digest);
    this.#tell({ added: [], removed });
  }

  #tell(change: ContentChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** @throws the signal's reason; what kept it from being checked. */
async function isRight(reader: ContentReader, signal: AbortSignal): Promise<boolean> {
  try {
    await reader.wait(reader.sizeBytes, signal);
    return true;
  } catch (error) {
    if (hasCode(error, 'DIGEST_MISMATCH')) return false;
    reader.close();
    throw error;
  }
}
