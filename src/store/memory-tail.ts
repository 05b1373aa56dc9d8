import { MemoryBlocks } from './memory-blocks.ts';

/**
 * Bytes from `floor` to `end` of a blob, in memory.
 *
 * ```
 *   discarded  [base ─ floor ─ block ┊ block ┊ block ─ end ·····]
 * ```
 * Memory is freed in whole blocks, but what was discarded is refused byte by byte: a reader's fault shows at once
 * and not only under load.
 */
export class MemoryTail {
  readonly #source: MemoryBlocks;
  readonly #needed: () => number;
  #blocks: Uint8Array<SharedArrayBuffer>[] = [];
  /** The position of the first block's first byte. */
  #base: number;
  #floor: number;
  #end: number;

  /** @param needed from where on others still use what `parts` gave them: blocks below both it and the floor are freed */
  constructor(start: number, source = new MemoryBlocks(0), needed: () => number = () => Number.POSITIVE_INFINITY) {
    this.#source = source;
    this.#needed = needed;
    this.#base = start;
    this.#floor = start;
    this.#end = start;
  }

  get floor(): number {
    return this.#floor;
  }

  get end(): number {
    return this.#end;
  }

  /** Keeps a copy: a chunk may be a small view of a large pooled buffer, and its owner may use that again. */
  append(chunk: Uint8Array): void {
    const { blockBytes } = this.#source;
    for (let taken = 0; taken < chunk.byteLength; ) {
      const at = this.#end - this.#base;
      if (at === this.#blocks.length * blockBytes) this.#blocks.push(this.#source.take());
      const part = chunk.subarray(taken, taken + blockBytes - (at % blockBytes));
      this.#blocks.at(-1)?.set(part, at % blockBytes);
      taken += part.byteLength;
      this.#end += part.byteLength;
    }
  }

  discard(position: number): void {
    const { blockBytes } = this.#source;
    this.#floor = Math.max(this.#floor, Math.min(position, this.#end));
    const free = Math.min(this.#floor, this.#needed());
    while (this.#base + blockBytes <= free) {
      const block = this.#blocks.shift();
      if (block === undefined) break;
      this.#source.give(block);
      this.#base += blockBytes;
    }
  }

  /** @returns bytes copied, 0 at or past the end. @throws RangeError below the floor */
  read(target: Uint8Array, position: number): number {
    if (position < this.#floor) {
      throw new RangeError(`position ${position} was discarded: bytes are held from ${this.#floor} on`);
    }
    let copied = 0;
    for (const part of this.parts(position, position + target.byteLength)) {
      target.set(part, copied);
      copied += part.byteLength;
    }
    return copied;
  }

  /** The bytes from `from`, which is still needed, to `to`: where they are, no copies. */
  *parts(from: number, to = this.#end): Iterable<Uint8Array<SharedArrayBuffer>> {
    const { blockBytes } = this.#source;
    const end = Math.min(to, this.#end);
    for (let position = from; position < end; ) {
      const at = position - this.#base;
      const start = at % blockBytes;
      const part = this.#blocks[Math.floor(at / blockBytes)]?.subarray(start, start + end - position);
      if (part === undefined) throw new RangeError(`position ${position} was freed`);
      yield part;
      position += part.byteLength;
    }
  }

  /** Frees everything, when nobody uses any of it; the position of the end stays. */
  clear(): void {
    for (const block of this.#blocks) this.#source.give(block);
    this.#blocks = [];
    this.#base = this.#end;
    this.#floor = this.#end;
  }
}
