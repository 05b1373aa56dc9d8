import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { DigestAlgorithm } from '../oci/digest.ts';
import type { HashJob, HashPool } from './hash-pool.ts';
import type { MemoryTail } from './memory-tail.ts';

/** Up to here a blob is hashed where it is: a round trip to another thread costs more. */
const INLINE_BYTES = 64 * 1024;
/** The thread is told of so much at a time. */
const STEP_BYTES = 512 * 1024;
/** Of bytes that are in memory alone, at most so many wait to be hashed. */
const MAX_UNHASHED_BYTES = 8 * 1024 * 1024;

/** The digest of a blob while it is written: behind the writer, in another thread, where its bytes are. */
export class BlobHasher {
  readonly #pool: HashPool;
  readonly #algorithm: DigestAlgorithm;
  #job: HashJob | undefined;
  #file: FileHandle | undefined;
  #fileEnd = 0;
  /** Bytes that the thread knows of. */
  #told = 0;
  #closed = false;

  constructor(pool: HashPool, algorithm: DigestAlgorithm) {
    this.#pool = pool;
    this.#algorithm = algorithm;
  }

  /** The file holds the bytes below `end`. */
  fileGrew(file: FileHandle, end: number): void {
    this.#file = file;
    this.#fileEnd = end;
    if (end > INLINE_BYTES && end - this.#told >= STEP_BYTES) this.#tell();
  }

  /** Below, the bytes are hashed. */
  get hashed(): number {
    return this.#job?.hashed ?? 0;
  }

  /** The tail follows the file, which grows no more. Waits while too much is unhashed. */
  async memoryGrew(tail: MemoryTail): Promise<void> {
    const job = this.#tell();
    for (const part of tail.parts(this.#told)) job.bytes(part);
    this.#told = tail.end;
    if (tail.end - this.#fileEnd > MAX_UNHASHED_BYTES) await job.reached(tail.end - MAX_UNHASHED_BYTES);
  }

  /** @returns hex. To be called once, when all is given. */
  async digest(): Promise<string> {
    if (this.#job === undefined && this.#fileEnd <= INLINE_BYTES) return await this.#digestInline();
    return await this.#tell().digest();
  }

  /** Gives up what is under way. Resolves when the file may be closed. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#job?.drop();
  }

  #tell(): HashJob {
    if (this.#closed) throw new Error('hashing was given up');
    this.#job ??= this.#pool.begin(this.#algorithm);
    if (this.#file !== undefined && this.#told < this.#fileEnd) {
      this.#job.file(this.#file.fd, this.#fileEnd);
      this.#told = this.#fileEnd;
    }
    return this.#job;
  }

  async #digestInline(): Promise<string> {
    const bytes = new Uint8Array(this.#fileEnd);
    for (let position = 0; position < bytes.byteLength; ) {
      if (this.#closed || this.#file === undefined) throw new Error('hashing was given up');
      const { bytesRead } = await this.#file.read(bytes, position, bytes.byteLength - position, position);
      if (bytesRead === 0) throw new Error(`the file ends at ${position}, before ${bytes.byteLength}`);
      position += bytesRead;
    }
    return createHash(this.#algorithm).update(bytes).digest('hex');
  }
}
