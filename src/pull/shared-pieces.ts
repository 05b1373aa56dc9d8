import { PieceBuffers } from './piece-buffers.ts';

export interface SharedPiece {
  readonly bytes: Uint8Array;
  /** To be called once; the bytes are not to be used after it. */
  release(): void;
}

interface Read {
  readonly buffer: Buffer;
  readonly whole: Promise<void>;
  users: number;
}

/** Pieces on their way to children. Those of one ingest are mostly at the same one: it is read, and in memory, once. */
export class SharedPieces {
  readonly #buffers = new PieceBuffers();
  readonly #reads = new WeakMap<object, Map<number, Read>>();

  /**
   * @param ingest whose children share; undefined: nobody does.
   * @param read fills the target. @throws what `read` throws.
   */
  async take(
    ingest: object | undefined,
    index: number,
    lengthBytes: number,
    read: (target: Uint8Array) => Promise<void>,
  ): Promise<SharedPiece> {
    const reads = this.#readsOf(ingest);
    const known = reads.get(index);
    const isOurs = known?.buffer.length !== lengthBytes;
    const one = isOurs ? this.#begin(lengthBytes, read) : known;
    if (isOurs) reads.set(index, one);
    one.users += 1;
    const release = () => {
      one.users -= 1;
      if (one.users > 0) return;
      if (reads.get(index) === one) reads.delete(index);
      this.#buffers.give(one.buffer);
    };
    try {
      await one.whole;
    } catch (error) {
      release();
      if (isOurs) throw error;
      // The other one's reader failed, which need not be true of ours.
      return this.take(undefined, index, lengthBytes, read);
    }
    return { bytes: one.buffer, release };
  }

  #begin(lengthBytes: number, read: (target: Uint8Array) => Promise<void>): Read {
    const buffer = this.#buffers.take(lengthBytes);
    return { buffer, whole: read(buffer), users: 0 };
  }

  #readsOf(ingest: object | undefined): Map<number, Read> {
    const reads = (ingest && this.#reads.get(ingest)) ?? new Map<number, Read>();
    if (ingest !== undefined) this.#reads.set(ingest, reads);
    return reads;
  }
}
