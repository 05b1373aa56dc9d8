import { type FileHandle, rm } from 'node:fs/promises';
import { WindlassError } from '../errors.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { KeyedTurns } from '../time/keyed-turns.ts';
import type { BlobFiles } from './blob-files.ts';
import { BlobHasher } from './blob-hasher.ts';
import type { BlobIndex } from './blob-index.ts';
import type { Clock } from './clock.ts';
import { CountedFile } from './counted-file.ts';
import { type DiskBlob, newDiskBlob } from './disk-blob.ts';
import { DiskBlobWriter, type DiskWriterHost } from './disk-blob-writer.ts';
import type { CannotDelete, DiskPartials } from './disk-partials.ts';
import type { HashPool } from './hash-pool.ts';
import { type IngestFile, openEarlier, openNew } from './ingest-file.ts';
import { MemoryBlocks } from './memory-blocks.ts';
import { MemoryTail } from './memory-tail.ts';
import { isNoRoom } from './no-room.ts';
import type { Refusal, Reservation, Space } from './space.ts';

export interface DiskWritersHost {
  readonly index: BlobIndex<DiskBlob>;
  readonly files: BlobFiles;
  readonly partials: DiskPartials;
  readonly space: Space;
  readonly hashes: HashPool;
  readonly clock: Clock;
  readonly passing: (digest: Digest, why: Refusal | Error) => void;
  readonly cannotDelete: CannotDelete;
}

/** A writer that does not know its size reserves so much at a time, or a 64th of a small store. */
const MAX_STEP_BYTES = 16 * 1024 * 1024;
/** Files that are synced at once, which may take the disk seconds each: fewer than libuv has threads. */
const MAX_SYNCS = 3;
/** Kept for the next writer that has no room: 16 MiB. */
const MAX_FREE_BLOCKS = 64;

/** The writers of a disk store: one a digest, each with a file and a reservation. */
export class DiskWriters {
  readonly #host: DiskWritersHost;
  readonly #stepBytes: number;
  readonly #blocks = new MemoryBlocks(MAX_FREE_BLOCKS);
  /** Those that have not ended. */
  readonly #writing = new Map<Digest, Promise<DiskBlobWriter>>();
  /** Those that are not closed. */
  readonly #open = new Set<DiskBlobWriter>();
  readonly #syncLanes = new KeyedTurns<number>();
  #syncs = 0;
  #stopped = false;

  constructor(host: DiskWritersHost) {
    this.#host = host;
    this.#stepBytes = Math.min(MAX_STEP_BYTES, Math.floor(host.space.maxBytes / 64));
  }

  has(digest: Digest): boolean {
    return this.#writing.has(digest);
  }

  async create(
    digest: Digest,
    options: { readonly sizeBytes?: number | undefined; readonly fresh?: boolean },
  ): Promise<DiskBlobWriter> {
    if (this.has(digest)) throw new Error(`${digest} is being written already`);
    const opening = this.#openWriter(digest, options);
    this.#writing.set(digest, opening);
    let writer: DiskBlobWriter;
    try {
      writer = await opening;
    } catch (error) {
      this.#writing.delete(digest);
      throw error;
    }
    if (this.#stopped) {
      await writer.close();
      throw new WindlassError('STOPPING', 'the store is stopped');
    }
    return writer;
  }

  /** Closes all; what they wrote is kept for resuming. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#writing.values());
    await Promise.all([...this.#open].map((writer) => writer.close()));
  }

  async #openWriter(
    digest: Digest,
    { sizeBytes, fresh = false }: { readonly sizeBytes?: number | undefined; readonly fresh?: boolean },
  ): Promise<DiskBlobWriter> {
    const { partials, space, hashes } = this.#host;
    const earlierBytes = partials.peek(digest)?.sizeBytes ?? 0;
    if (fresh || earlierBytes > (sizeBytes ?? earlierBytes)) await partials.delete(digest);
    const earlier = partials.take(digest);
    // From here on these bytes are the writer's, no longer the leftovers': counted once at every moment.
    const reservation = space.open(earlier?.sizeBytes ?? 0);
    const ingest = await this.#openFile(digest, earlier?.path).catch((error: unknown) => {
      space.close(reservation);
      throw error;
    });
    reservation.bytes = ingest.fileBytes;
    reservation.writtenBytes = ingest.fileBytes;
    const file = ingest.handle && new CountedFile(ingest.handle);
    const writer: DiskBlobWriter = new DiskBlobWriter(
      digest,
      this.#hostOf(digest, ingest.path, file, reservation, () => this.#open.delete(writer)),
      file,
      ingest.fileBytes,
      reservation,
      new BlobHasher(hashes, algorithmOf(digest)),
    );
    this.#open.add(writer);
    const refusal = await space.grow(reservation, Math.max(ingest.fileBytes, sizeBytes ?? 0));
    if (refusal !== undefined) await writer.pass(refusal);
    else if (ingest.error !== undefined) await writer.pass(ingest.error);
    return writer;
  }

  async #openFile(digest: Digest, earlierPath: string | undefined): Promise<IngestFile> {
    if (earlierPath !== undefined) {
      try {
        return await openEarlier(earlierPath);
      } catch (error) {
        if (!isNoRoom(error)) throw error;
        // Nobody knows of it any more: it must not lie there, uncounted, until the next start.
        await this.#unlink(earlierPath);
      }
    }
    return await openNew(this.#host.partials.newPath(digest));
  }

  /** In as many lanes as there may be at once: all threads in fsync would leave none to those who read. */
  async #sync(file: FileHandle): Promise<void> {
    this.#syncs += 1;
    await this.#syncLanes.run(this.#syncs % MAX_SYNCS, () => file.sync());
  }

  async #unlink(path: string): Promise<void> {
    await rm(path, { force: true }).catch((error: unknown) => this.#host.cannotDelete(path, error));
  }

  #hostOf(
    digest: Digest,
    path: string,
    file: CountedFile | undefined,
    reservation: Reservation,
    forget: () => void,
  ): DiskWriterHost {
    const { index, files, partials, space, clock, passing } = this.#host;
    let blob: DiskBlob | undefined;
    return {
      reserve: async (bytes) => {
        if (bytes <= reservation.bytes) return undefined;
        return await space.grow(reservation, bytes, bytes + this.#stepBytes);
      },
      squeeze: (bytes) => space.squeeze(bytes),
      newTail: (start, needed) => new MemoryTail(start, this.#blocks, needed),
      passing: (why) => passing(digest, why),
      unlink: () => this.#unlink(path),
      place: async (bytes) => {
        if (file === undefined) throw new Error('there is no file');
        const nowMs = clock.now();
        await file.handle.utimes(nowMs / 1000, nowMs / 1000);
        await this.#sync(file.handle);
        await files.place(digest, path, () => {
          blob = newDiskBlob(digest, bytes, nowMs);
          space.close(reservation);
          index.add(blob);
          index.pin(blob);
          index.emit({ type: 'committed', digest, sizeBytes: bytes });
        });
      },
      ended: (keptBytes) => {
        this.#writing.delete(digest);
        if (keptBytes > 0) {
          space.close(reservation);
          partials.put(digest, { path, sizeBytes: keptBytes, writtenMs: clock.now() });
        }
      },
      closed: () => {
        forget();
        space.close(reservation);
        if (blob !== undefined) index.unpin(blob);
      },
    };
  }
}
