import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import type { BlobReader } from './blob-reader.ts';

/** Reads a committed blob. */
export class StoredReader implements BlobReader {
  readonly source = 'store';
  readonly ingestId = undefined;
  readonly promised = true;
  readonly extent: OpenBlob;

  readonly #onCorrupt: () => void;

  /** @param onCorrupt called when the blob turns out to be shorter than it was. */
  constructor(blob: OpenBlob, onCorrupt: () => void) {
    this.extent = blob;
    this.#onCorrupt = onCorrupt;
  }

  get digest(): Digest {
    return this.extent.digest;
  }

  get sizeBytes(): number {
    return this.extent.sizeBytes;
  }

  get available(): number {
    return this.extent.sizeBytes;
  }

  async opened(): Promise<number> {
    return this.extent.sizeBytes;
  }

  async wait(position: number): Promise<boolean> {
    return position < this.extent.sizeBytes;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const count = await this.extent.read(target, position);
    if (count > 0 || target.length === 0) return count;
    this.#onCorrupt();
    throw new WindlassError('STORE_UNUSABLE', `${this.digest} ends at ${position} of ${this.sizeBytes} bytes`);
  }

  close(): void {
    // Its bytes were read: a failure to close concerns nobody.
    this.extent.close().catch(() => {});
  }
}
