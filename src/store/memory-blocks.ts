const BLOCK_BYTES = 256 * 1024;

/**
 * Blocks of memory that threads share, used again: bytes that pass through leave nothing to the collector, which is
 * too late for them at a gigabit. (Fresh buffers for each chunk, and copies for the hashing thread, cost 100 MiB.)
 */
export class MemoryBlocks {
  readonly blockBytes: number;
  readonly #free: Uint8Array<SharedArrayBuffer>[] = [];
  readonly #maxFree: number;

  /** @param maxFree how many unused ones are kept. */
  constructor(maxFree: number, blockBytes = BLOCK_BYTES) {
    this.blockBytes = blockBytes;
    this.#maxFree = maxFree;
  }

  take(): Uint8Array<SharedArrayBuffer> {
    return this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.blockBytes));
  }

  /** To be called once for each taken block, when no thread reads from it any more. */
  give(block: Uint8Array<SharedArrayBuffer>): void {
    if (this.#free.length < this.#maxFree) this.#free.push(block);
  }
}
