import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { BlobIndex, type HeldBlob } from './blob-index.ts';
import type { BlobInfo, BlobStore, BlobWriter, OpenBlob, StoreEvent, StoreStats } from './blob-store.ts';
import { MemoryBlobWriter } from './memory-blob-writer.ts';
import { MemoryTail } from './memory-tail.ts';
import { Space } from './space.ts';

interface MemoryBlob extends HeldBlob {
  readonly tail: MemoryTail;
}

/** Blobs in memory, for tests and the demo: the contract and the quota of the disk store, without its disk. */
export class MemoryBlobStore implements BlobStore {
  readonly #index = new BlobIndex<MemoryBlob>((error) => queueMicrotask(() => Promise.reject(error)));
  readonly #space: Space;
  readonly #writers = new Map<Digest, MemoryBlobWriter | 'opening'>();
  /** Bytes of earlier, unfinished writers, oldest first. */
  readonly #partials = new Map<Digest, MemoryTail>();
  #state: 'new' | 'started' | 'stopped' = 'new';

  constructor({ maxBytes }: { readonly maxBytes: number }) {
    this.#space = new Space(maxBytes, {
      usedBytes: () => this.#index.bytes + this.#index.lingeringBytes + this.#partialBytes(),
      freeBytes: async () => Number.POSITIVE_INFINITY,
      evict: async (bytes) => this.#evict(bytes),
    });
  }

  async start(): Promise<void> {
    this.#state = 'started';
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
    for (const writer of [...this.#writers.values()]) {
      if (writer !== 'opening') await writer.close();
    }
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
    this.#index.pin(blob);
    let open = true;
    return {
      digest,
      sizeBytes: blob.sizeBytes,
      file: undefined,
      fileBytes: 0,
      read: async (target, position) => {
        if (!open) throw new Error(`the reader of ${digest} is closed`);
        return blob.tail.read(target, position);
      },
      close: async () => {
        if (open) this.#index.unpin(blob);
        open = false;
      },
    };
  }

  unfinishedBytes(digest: Digest): number {
    return this.#partials.get(digest)?.end ?? 0;
  }

  async create(
    digest: Digest,
    { sizeBytes, fresh = false }: { readonly sizeBytes?: number | undefined; readonly fresh?: boolean } = {},
  ): Promise<BlobWriter> {
    this.#expectStarted();
    if (this.#writers.has(digest)) throw new Error(`${digest} is being written already`);
    this.#writers.set(digest, 'opening');
    const earlier = this.#partials.get(digest);
    this.#partials.delete(digest);
    const usable = !fresh && earlier !== undefined && earlier.end <= (sizeBytes ?? earlier.end);
    const tail = usable ? earlier : new MemoryTail(0);
    const reservation = this.#space.open(tail.end);
    let committed: MemoryBlob | undefined;
    const writer = new MemoryBlobWriter(
      digest,
      {
        reserve: async (bytes) => {
          if ((await this.#space.grow(reservation, bytes)) === undefined) return true;
          this.#space.close(reservation);
          return false;
        },
        end: (outcome, bytes) => {
          this.#writers.delete(digest);
          this.#space.close(reservation);
          if (outcome === 'keep') this.#partials.set(digest, bytes);
          if (outcome !== 'commit') return;
          committed = { digest, sizeBytes: bytes.end, tail: bytes, pins: 1 };
          this.#index.add(committed);
          this.#index.emit({ type: 'committed', digest, sizeBytes: bytes.end });
        },
        closed: () => {
          if (committed === undefined) return;
          this.#index.unpin(committed);
        },
      },
      tail,
    );
    if ((await this.#space.grow(reservation, Math.max(tail.end, sizeBytes ?? 0))) !== undefined) {
      this.#space.close(reservation);
      writer.pass();
    }
    this.#writers.set(digest, writer);
    if (this.#state === 'stopped') await writer.close();
    this.#expectStarted();
    return writer;
  }

  async delete(digest: Digest, reason: 'deleted' | 'corrupt' = 'deleted'): Promise<boolean> {
    const blob = this.#index.get(digest);
    return blob !== undefined && this.#index.remove(blob, reason);
  }

  *list(): Iterable<BlobInfo> {
    for (const { digest, sizeBytes } of [...this.#index.values()]) yield { digest, sizeBytes };
  }

  stats(): StoreStats {
    return {
      blobs: this.#index.size,
      blobBytes: this.#index.bytes,
      ingestBytes: this.#partialBytes() + this.#space.reservedBytes,
      maxBytes: this.#space.maxBytes,
    };
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    return this.#index.subscribe(listener);
  }

  #evict(bytes: number): boolean {
    let missing = bytes;
    const partials: Digest[] = [];
    for (const [digest, tail] of this.#partials) {
      if (missing <= 0) break;
      partials.push(digest);
      missing -= tail.end;
    }
    const { blobs, bytes: found } = this.#index.coldest(missing, (digest) => this.#writers.has(digest));
    if (found < missing) return false;
    for (const digest of partials) this.#partials.delete(digest);
    for (const blob of blobs) this.#index.remove(blob, 'evicted');
    return true;
  }

  #partialBytes(): number {
    let sum = 0;
    for (const tail of this.#partials.values()) sum += tail.end;
    return sum;
  }

  #expectStarted(): void {
    if (this.#state === 'new') throw new WindlassError('STORE_UNUSABLE', 'the store is not started');
    if (this.#state === 'stopped') throw new WindlassError('STOPPING', 'the store is stopped');
  }
}
