/**
 * Buffers for copying from files to sockets: used again, so that many readers leave nothing to the collector. Past a
 * number they are small ones: thousands of clients that read nothing hold little, and nobody waits for them.
 */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #bufferBytes: number;
  readonly #smallBytes: number;
  readonly #max: number;
  #taken = 0;

  /** @param max how many of `bufferBytes` are given out; then `smallBytes`. */
  constructor(options: { bufferBytes: number; smallBytes: number; max: number }) {
    this.#bufferBytes = options.bufferBytes;
    this.#smallBytes = options.smallBytes;
    this.#max = options.max;
  }

  /** Half of them are taken: whoever has one should give it back before it takes another. */
  get crowded(): boolean {
    return this.#taken * 2 >= this.#max;
  }

  take(): Buffer {
    if (this.#taken >= this.#max) return Buffer.allocUnsafeSlow(this.#smallBytes);
    this.#taken += 1;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bufferBytes);
  }

  /** To be called once for each taken buffer, when nothing reads from or writes to it any more. */
  give(buffer: Buffer): void {
    if (buffer.length !== this.#bufferBytes) return;
    this.#taken -= 1;
    this.#free.push(buffer);
  }
}
