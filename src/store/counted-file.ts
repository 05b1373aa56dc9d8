import type { FileHandle } from 'node:fs/promises';

/**
 * An open file whose reads in flight are counted: a descriptor that is closed under a running read may by then be
 * another file's.
 */
export class CountedFile {
  readonly handle: FileHandle;
  readonly #idle = Promise.withResolvers<void>();
  #inFlight = 0;
  #closing: Promise<void> | undefined;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  /** At most `maxBytes`, from `position`. @returns how many; 0 at the end of the file. */
  async read(target: Uint8Array, position: number, maxBytes: number): Promise<number> {
    if (this.#closing !== undefined) throw new Error('the file is closed');
    this.#inFlight += 1;
    try {
      const length = Math.min(target.byteLength, maxBytes);
      return (await this.handle.read(target, 0, length, position)).bytesRead;
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0 && this.#closing !== undefined) this.#idle.resolve();
    }
  }

  /** Takes no more reads, waits for those in flight, and closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#inFlight > 0) await this.#idle.promise;
    await this.handle.close();
  }
}
