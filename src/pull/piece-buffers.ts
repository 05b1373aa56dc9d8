import { PIECE_BYTES } from './piece.ts';

/** More unused ones are left to the collector. */
const MAX_UNUSED = 16;

/** Memory for pieces, used again by whoever needs some next: of many streams, few have a piece in hand. */
export class PieceBuffers {
  readonly #unused: Buffer[] = [];

  /** For small blobs, which are many, a small one. */
  take(lengthBytes: number): Buffer {
    if (lengthBytes < PIECE_BYTES) return Buffer.allocUnsafeSlow(lengthBytes);
    return this.#unused.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  /** Nobody looks at it any more. */
  give(buffer: Buffer): void {
    if (buffer.length === PIECE_BYTES && this.#unused.length < MAX_UNUSED) this.#unused.push(buffer);
  }
}
