import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { ContainerdContent, ContentChange } from '../containerd/containerd-content.ts';
import type { HeldContent } from '../containerd/held-content.ts';
import { hasCode, systemCode } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import type { HashPool } from '../store/hash-pool.ts';
import { ContentChecks } from './content-check.ts';
import { type ContentFile, ContentFiles } from './content-files.ts';
import { ContentReader } from './content-reader.ts';
import { digestOf } from './manifest-bytes.ts';
import type { OpenRepositories } from './open-repositories.ts';
import { PIECE_BYTES } from './piece.ts';

const MAX_REFUSED = 10_000;

/** What containerd is known to hold, and where. */
type Content = Pick<ContainerdContent, 'get' | 'entries' | 'pathOf' | 'vanished' | 'subscribe' | 'listed'>;

export interface ContentBlobsOptions {
  readonly content: Content;
  readonly repositories: Pick<OpenRepositories, 'isOpen' | 'isClosed' | 'isKnownOpen' | 'subscribe'>;
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
  readonly #files = new ContentFiles();
  /** Somebody dropped them: not served until containerd has deleted them. */
  readonly #dropped = new LRUCache<Digest, true>({ max: MAX_REFUSED });
  /** The identity of the file whose bytes are wrong; another one is looked at anew. */
  readonly #damaged = new LRUCache<Digest, string>({ max: MAX_REFUSED });
  /** What containerd holds and is told to nobody: dropped, damaged, or closed. */
  readonly #hidden = new Set<Digest>();
  readonly #listeners = new Set<(change: ContentChange) => void>();

  constructor(options: ContentBlobsOptions) {
    const { content, repositories, hashes } = options;
    this.#options = options;
    this.#checks = new ContentChecks(hashes);
    content.subscribe(({ added, removed }) => {
      const gone = removed.filter((digest) => !this.#hidden.has(digest));
      for (const digest of removed) {
        this.#hidden.delete(digest);
        this.#dropped.delete(digest);
        this.#damaged.delete(digest);
      }
      // What was found a moment ago may be gone by now.
      const there = added.filter((digest) => content.get(digest) !== undefined);
      for (const digest of there) if (this.#mustHide(digest)) this.#hidden.add(digest);
      this.#tell({ added: there.filter((digest) => !this.#hidden.has(digest)), removed: gone });
    });
    repositories.subscribe((digest) => this.#review(digest === undefined ? this.#digests() : [digest]));
  }

  /** Resolves when it is known what containerd holds. Never rejects. */
  get listed(): Promise<void> {
    return this.#options.content.listed;
  }

  /** What may be served, as far as is known. From memory, without a system call. */
  get(digest: Digest): HeldContent | undefined {
    return this.#hidden.has(digest) ? undefined : this.#options.content.get(digest);
  }

  *entries(): Iterable<[Digest, HeldContent]> {
    for (const entry of this.#options.content.entries()) if (!this.#hidden.has(entry[0])) yield entry;
  }

  /**
   * Opens it, once its file is there and its repository known to give it to this agent.
   * @returns undefined where it cannot be had here. @throws PEER_BUSY if that cannot be said soon, or too much is being
   *   checked; the signal's reason.
   */
  async open(digest: Digest, signal: AbortSignal): Promise<ContentReader | undefined> {
    const file = await this.#open(digest, signal);
    if (file === undefined) return undefined;
    const reader = this.#reader(digest, file);
    // Nothing of it could be read before it is checked: whoever asks can still be given another's.
    if (reader.available > 0 || (await isRight(reader, signal))) return reader;
    reader.close();
    return undefined;
  }

  /** As `open`; undefined too where nobody can say soon that it may be served. */
  openSoon(digest: Digest, signal: AbortSignal): Promise<ContentReader | undefined> {
    return unlessBusy(this.open(digest, signal));
  }

  /** The size of what `openSoon` would open. Of what is large enough to begin at once the file is not opened. */
  async statSoon(digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    const held = await unlessBusy(this.#admitted(digest, signal));
    if (held === undefined) return undefined;
    if (held.sizeBytes > PIECE_BYTES) {
      return (await this.#right(digest, held, (path) => this.#files.stat(path)))?.sizeBytes;
    }
    const reader = await this.openSoon(digest, signal);
    reader?.close();
    return reader?.sizeBytes;
  }

  /** Its bytes, which have the digest; undefined where it cannot be had here or soon, or is larger. */
  async bytes(digest: Digest, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if ((this.#options.content.get(digest)?.sizeBytes ?? Number.POSITIVE_INFINITY) > maxBytes) return undefined;
    const file = await unlessBusy(this.#open(digest, signal));
    if (file === undefined) return undefined;
    try {
      const bytes = await readWhole(file);
      // Exactly what is given away: the file may have been written since it was checked.
      const actual = digestOf(bytes, algorithmOf(digest));
      if (actual === digest) return bytes;
      this.#wrong(digest, file.identity, new Error(`its bytes have the digest ${actual}`));
    } catch (error) {
      this.#unreadable(digest, file.identity, error);
    } finally {
      file.close();
    }
    return undefined;
  }

  /** Could it be served tomorrow too: did a registry open it, and are the bytes of its file right? */
  async isSound(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const reader = await this.openSoon(digest, signal);
    if (reader === undefined) return false;
    const isRightNow = await isRight(reader, signal);
    reader.close();
    const held = this.get(digest);
    return isRightNow && held !== undefined && this.#options.repositories.isKnownOpen(digest, held.sources);
  }

  /** It is offered no more, though containerd has it or may get it. @returns was it offered? */
  refuse(digest: Digest): boolean {
    const offered = this.get(digest) !== undefined;
    this.#dropped.set(digest, true);
    this.#review([digest]);
    return offered;
  }

  /** Listeners must not throw. @returns unsubscribe */
  subscribe(listener: (change: ContentChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    await this.#checks.stop();
  }

  /** What may be given away, as far as a registry has to say so. @throws as `open` */
  async #admitted(digest: Digest, signal: AbortSignal): Promise<HeldContent | undefined> {
    const { content, repositories } = this.#options;
    const held = content.get(digest);
    if (held === undefined || this.#dropped.has(digest)) return undefined;
    const isOpen = await repositories.isOpen(digest, held.sources, signal);
    this.#review([digest]);
    return isOpen && !this.#dropped.has(digest) ? held : undefined;
  }

  async #open(digest: Digest, signal: AbortSignal): Promise<ContentFile | undefined> {
    const held = await this.#admitted(digest, signal);
    return held && (await this.#right(digest, held, (path) => this.#files.open(path)));
  }

  /** A file as it was found, unless it cannot be the right one. Closed then. */
  async #right<T extends Pick<ContentFile, 'identity' | 'sizeBytes'> & Partial<Pick<ContentFile, 'close'>>>(
    digest: Digest,
    { sizeBytes }: HeldContent,
    find: (path: string) => Promise<T>,
  ): Promise<T | undefined> {
    const { content, logger } = this.#options;
    let found: T;
    try {
      found = await find(content.pathOf(digest));
    } catch (err) {
      // Garbage is collected without a word.
      if (systemCode(err) === 'ENOENT') content.vanished(digest);
      else logger.warn({ digest, err }, "containerd's copy cannot be read");
      return undefined;
    }
    const damaged = this.#damaged.get(digest);
    if (damaged !== undefined && damaged !== found.identity) {
      this.#damaged.delete(digest);
      this.#review([digest]);
    }
    if (found.sizeBytes !== sizeBytes) {
      this.#wrong(digest, found.identity, new Error(`its file has ${found.sizeBytes} bytes, not ${sizeBytes}`));
    }
    if (!this.#damaged.has(digest)) return found;
    found.close?.();
    return undefined;
  }

  /** @throws PEER_BUSY, the file closed. */
  #reader(digest: Digest, file: ContentFile): ContentReader {
    const { identity } = file;
    try {
      const checked = this.#checks.isGood(digest, identity) ? undefined : this.#check(digest, file);
      const onFailure = (error: unknown) => this.#unreadable(digest, identity, error);
      return new ContentReader({ digest, file, checked, onFailure });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** @throws PEER_BUSY at once. */
  #check(digest: Digest, file: ContentFile): Promise<void> {
    const check = this.#checks.check(digest, file);
    return check.catch((error: unknown) => {
      this.#unreadable(digest, file.identity, error);
      throw error;
    });
  }

  /** Of a disk that fails, too, the bytes are not what they were. */
  #unreadable(digest: Digest, identity: string, error: unknown): void {
    if (hasCode(error, 'DIGEST_MISMATCH') || systemCode(error) === 'EIO') this.#wrong(digest, identity, error);
    else if (systemCode(error) !== undefined) {
      this.#options.logger.warn({ digest, err: error }, "containerd's copy cannot be read");
    }
  }

  #wrong(digest: Digest, identity: string, err: unknown): void {
    if (this.#damaged.get(digest) === identity) return;
    this.#damaged.set(digest, identity);
    this.#review([digest]);
    this.#options.metrics.verificationFailures.inc({ source: 'content' });
    this.#options.logger.error({ digest, err }, "containerd's copy is damaged: it is not served any more");
  }

  #mustHide(digest: Digest): boolean {
    const { content, repositories } = this.#options;
    if (this.#dropped.has(digest) || this.#damaged.has(digest)) return true;
    const held = content.get(digest);
    return held !== undefined && repositories.isClosed(digest, held.sources);
  }

  /** Tells what is offered by now, or no more. */
  #review(digests: Iterable<Digest>): void {
    const added: Digest[] = [];
    const removed: Digest[] = [];
    for (const digest of digests) {
      if (this.#options.content.get(digest) === undefined) continue;
      const hide = this.#mustHide(digest);
      if (hide === this.#hidden.has(digest)) continue;
      if (hide) this.#hidden.add(digest);
      else this.#hidden.delete(digest);
      (hide ? removed : added).push(digest);
    }
    this.#tell({ added, removed });
  }

  *#digests(): Iterable<Digest> {
    for (const [digest] of this.#options.content.entries()) yield digest;
  }

  #tell(change: ContentChange): void {
    if (change.added.length === 0 && change.removed.length === 0) return;
    for (const listener of this.#listeners) listener(change);
  }
}

/** Whatever keeps it from being checked, another source may have it. @throws the signal's reason, the reader closed. */
async function isRight(reader: ContentReader, signal: AbortSignal): Promise<boolean> {
  try {
    await reader.wait(reader.sizeBytes, signal);
    return true;
  } catch {
    if (!signal.aborted) return false;
    reader.close();
    throw signal.reason;
  }
}

async function readWhole({ file, sizeBytes }: ContentFile): Promise<Uint8Array> {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < bytes.length; ) {
    const count = await file.read(bytes.subarray(at), at, bytes.length - at);
    if (count === 0) return bytes.subarray(0, at);
    at += count;
  }
  return bytes;
}

async function unlessBusy<T>(answer: Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (!hasCode(error, 'PEER_BUSY')) throw error;
    return undefined;
  }
}
