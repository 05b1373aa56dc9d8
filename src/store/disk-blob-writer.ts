import { WindlassError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import type { BlobHasher } from './blob-hasher.ts';
import type { BlobWriter } from './blob-store.ts';
import type { CountedFile } from './counted-file.ts';
import type { MemoryTail } from './memory-tail.ts';
import { isFull, isNoRoom } from './no-room.ts';
import type { Refusal, Reservation } from './space.ts';

/** What a writer needs of its store. */
export interface DiskWriterHost {
  /** Room for `bytes` in all? */
  reserve(bytes: number): Promise<Refusal | undefined>;
  /** The disk is full: frees that much. */
  squeeze(bytes: number): Promise<boolean>;
  /** Memory for what follows the file; `needed`: from where on it is not hashed yet. */
  newTail(start: number, needed: () => number): MemoryTail;
  /** Why nothing is kept. Called at most once. */
  passing(why: Refusal | Error): void;
  /** Deletes the unfinished file's name. */
  unlink(): Promise<void>;
  /** Makes the file the blob, durably. */
  place(sizeBytes: number): Promise<void>;
  /** It ended; its bytes are kept for a later writer, or not. Called once. */
  ended(keptBytes: number): void;
  /** The file is closed. Called once. */
  closed(): void;
}

/**
 * A blob being written to a file.
 *
 * ```
 *   writing ──verify──▶ checking ──▶ verified ──commit──▶ ended
 *      │                    └──────▶ failed                 ▲
 *      └──────────── cancel, from anywhere ─────────────────┘      close: from anywhere, by way of cancel
 * ```
 * Calls take turns. `cancel` first ends what the others wait for (the hashing), then waits for its turn.
 */
export class DiskBlobWriter implements BlobWriter {
  readonly digest: Digest;
  readonly #host: DiskWriterHost;
  readonly #counted: CountedFile | undefined;
  readonly #hasher: BlobHasher;
  readonly #reservation: Reservation;
  #fileBytes: number;
  /** Set once it passes: what follows the file's bytes. */
  #tail: MemoryTail | undefined;
  #state: 'writing' | 'checking' | 'verified' | 'failed' | 'ended' = 'writing';
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** @param counted its first `fileBytes` are an earlier writer's; undefined if there is no room, not even for a file */
  constructor(
    digest: Digest,
    host: DiskWriterHost,
    counted: CountedFile | undefined,
    fileBytes: number,
    reservation: Reservation,
    hasher: BlobHasher,
  ) {
    this.digest = digest;
    this.#host = host;
    this.#counted = counted;
    this.#fileBytes = fileBytes;
    this.#reservation = reservation;
    this.#hasher = hasher;
    if (counted !== undefined && fileBytes > 0) hasher.fileGrew(counted.handle, fileBytes);
  }

  get file() {
    return this.kept || this.#fileBytes > 0 ? this.#counted?.handle : undefined;
  }

  get fileBytes(): number {
    return this.#fileBytes;
  }

  get written(): number {
    return this.#tail?.end ?? this.#fileBytes;
  }

  get kept(): boolean {
    return this.#tail === undefined;
  }

  get floor(): number {
    return this.#tail?.floor ?? 0;
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#inTurn('writing', async () => {
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
      const rest = this.#tail === undefined ? await this.#writeFile(chunks, bytes) : chunks;
      const tail = this.#tail;
      if (tail === undefined) return;
      for (const chunk of rest) tail.append(chunk);
      await this.#hasher.memoryGrew(tail);
    });
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    if (this.#closing !== undefined) throw new Error(`the writer of ${this.digest} is closed`);
    if (position < 0) throw new RangeError(`no position: ${position}`);
    if (position >= this.#fileBytes || this.#counted === undefined) return this.#tail?.read(target, position) ?? 0;
    const count = await this.#counted.read(target, position, this.#fileBytes - position);
    if (count === 0 && target.byteLength > 0) throw new Error(`the unfinished file of ${this.digest} was cut short`);
    return count;
  }

  discard(position: number): void {
    this.#tail?.discard(position);
  }

  /** Nothing will be kept: the rest goes to memory. What is in the file stays readable, though it has no name. */
  async pass(why: Refusal | Error): Promise<void> {
    if (this.#tail !== undefined) return;
    this.#tail = this.#host.newTail(this.#fileBytes, () => this.#hasher.hashed);
    this.#reservation.bytes = this.#fileBytes;
    this.#host.passing(why);
    await this.#host.unlink();
  }

  verify(): Promise<void> {
    return this.#inTurn('writing', async () => {
      this.#state = 'checking';
      const hex = await this.#hasher.digest();
      if (hex === hexOf(this.digest)) {
        this.#state = 'verified';
        return;
      }
      this.#state = 'failed';
      await this.#host.unlink();
      const got = `${algorithmOf(this.digest)}:${hex}`;
      throw new WindlassError('DIGEST_MISMATCH', `expected ${this.digest}, got ${got} (${this.written} bytes)`);
    });
  }

  commit(): Promise<void> {
    return this.#inTurn('verified', async () => {
      if (this.#tail === undefined) {
        try {
          await this.#host.place(this.#fileBytes);
        } catch (error) {
          // The bytes are right and the client has them: a store that cannot keep them is no reason to fail.
          await this.pass(error instanceof Error ? error : new Error(String(error)));
        }
      }
      this.#state = 'ended';
      this.#host.ended(0);
    });
  }

  async cancel({ keep = false }: { readonly keep?: boolean } = {}): Promise<void> {
    await this.#hasher.close();
    const turn = this.#turn.then(async () => {
      if (this.#state === 'ended') return;
      const keeps = keep && this.kept && this.#state !== 'failed' && this.#fileBytes > 0;
      this.#state = 'ended';
      this.#reservation.bytes = this.#fileBytes;
      if (!keeps) await this.#host.unlink();
      this.#host.ended(keeps ? this.#fileBytes : 0);
    });
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.cancel({ keep: true });
    await this.#hasher.close();
    await this.#counted?.close();
    this.#tail?.clear();
    this.#host.closed();
  }

  /** @returns what there was no room for */
  async #writeFile(chunks: readonly Uint8Array[], bytes: number): Promise<readonly Uint8Array[]> {
    const file = this.#counted?.handle;
    const refusal = await this.#host.reserve(this.#fileBytes + bytes);
    if (refusal !== undefined || file === undefined) {
      await this.pass(refusal ?? new Error('no file'));
      return chunks;
    }
    let rest = chunks.filter(({ byteLength }) => byteLength > 0);
    let squeezed = false;
    while (rest.length > 0) {
      try {
        const { bytesWritten } = await file.writev(rest, this.#fileBytes);
        this.#fileBytes += bytesWritten;
        this.#hasher.fileGrew(file, this.#fileBytes);
        this.#reservation.writtenBytes = this.#fileBytes;
        rest = without(rest, bytesWritten);
      } catch (error) {
        if (!isNoRoom(error)) throw error;
        const missingBytes = this.#reservation.bytes - this.#fileBytes;
        if (!squeezed && isFull(error) && (await this.#host.squeeze(missingBytes))) {
          squeezed = true;
          continue;
        }
        // From exactly where the file ends: a write may have been taken in part.
        await this.pass(error);
        break;
      }
    }
    return rest;
  }

  #inTurn<T>(state: 'writing' | 'verified', call: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => {
      if (this.#state !== state) throw new Error(`the writer of ${this.digest} is ${this.#state}, not ${state}`);
      return call();
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

/** Chunks without their first `bytes`. */
function without(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = bytes;
  for (const chunk of chunks) {
    if (skip >= chunk.byteLength) skip -= chunk.byteLength;
    else {
      rest.push(chunk.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
