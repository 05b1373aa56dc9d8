import type { Digest } from '../oci/digest.ts';
import type { BlobBody } from '../upstream/registry-client.ts';
import type { BlobReader } from './blob-reader.ts';
import { untilAborted } from './flights.ts';

/**
 * Reads a range straight from a source, for one client, from front to back, keeping nothing: for a small range far
 * ahead of the writer, and for what a full disk could not hold. Never verified, so never shared.
 */
export class DirectReader implements BlobReader {
  readonly source = 'upstream';
  readonly ingestId = undefined;
  readonly promised = false;
  readonly extent = undefined;
  readonly digest: Digest;
  readonly sizeBytes: number | undefined;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #onClose: () => void;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Of the first byte of `#chunk` in the blob. */
  #position: number;
  #closed = false;

  /** @param sizeBytes of the whole blob, if anybody said. @param onClose called once. */
  constructor(digest: Digest, body: BlobBody, sizeBytes: number | undefined, onClose: () => void) {
    this.digest = digest;
    this.sizeBytes = sizeBytes;
    this.#position = body.offset;
    this.#chunks = body.body[Symbol.asyncIterator]();
    this.#onClose = onClose;
  }

  get available(): number {
    return this.#position + this.#chunk.length;
  }

  async opened(): Promise<number | undefined> {
    return this.sizeBytes;
  }

  async wait(position: number, signal: AbortSignal): Promise<boolean> {
    if (position < this.#position) throw new RangeError(`position ${position} was read before`);
    while (position >= this.available) {
      signal.throwIfAborted();
      const next = await untilAborted(this.#chunks.next(), signal);
      if (next.done === true) return false;
      this.#position = this.available;
      this.#chunk = next.value;
    }
    return true;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const from = position - this.#position;
    if (from < 0 || from >= this.#chunk.length) throw new RangeError(`position ${position} cannot be read now`);
    const part = this.#chunk.subarray(from, from + target.length);
    target.set(part);
    return part.length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A failure to leave a connection that is given up concerns nobody.
    this.#chunks.return?.().catch(() => {});
    this.#onClose();
  }
}
