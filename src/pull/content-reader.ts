import { WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Extent } from '../store/blob-store.ts';
import type { BlobReader } from './blob-reader.ts';
import type { ContentFile } from './content-files.ts';
import { untilAborted } from './flights.ts';
import { offeredOf } from './ingest-parts.ts';

export interface ContentReaderOptions {
  readonly digest: Digest;
  readonly file: ContentFile;
  /** Resolves when the bytes have the digest. @throws DIGEST_MISMATCH and others; undefined: they were checked before. */
  readonly checked: Promise<void> | undefined;
  /** The file cannot be read, or is shorter than it was. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Reads a blob straight from containerd's directory. The last piece is held back until the digest holds, as with a blob
 * that arrives: it is hashed while it is read, so a large one begins at once.
 */
export class ContentReader implements BlobReader {
  readonly source = 'content';
  readonly ingestId = undefined;
  readonly promised = true;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly extent: Extent;
  readonly #file: ContentFile;
  readonly #checked: Promise<void> | undefined;
  readonly #onFailure: (error: unknown) => void;
  #verified: boolean;

  constructor({ digest, file, checked, onFailure }: ContentReaderOptions) {
    const { sizeBytes } = file;
    this.digest = digest;
    this.sizeBytes = sizeBytes;
    this.#file = file;
    this.#checked = checked;
    this.#onFailure = onFailure;
    this.#verified = checked === undefined;
    this.extent = {
      digest,
      file: file.file.handle,
      fileBytes: sizeBytes,
      read: (target, position) => (position < sizeBytes ? this.read(target, position) : Promise.resolve(0)),
    };
    checked?.then(
      () => {
        this.#verified = true;
      },
      () => undefined,
    );
  }

  get available(): number {
    return offeredOf({ written: this.sizeBytes, sizeBytes: this.sizeBytes, verified: this.#verified });
  }

  async opened(): Promise<number> {
    return this.sizeBytes;
  }

  async wait(position: number, signal: AbortSignal): Promise<boolean> {
    if (position >= this.available && this.#checked !== undefined) await untilAborted(this.#checked, signal);
    return position < this.sizeBytes;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    try {
      const count = await this.#file.file.read(target, position, this.sizeBytes - position);
      if (count > 0 || target.length === 0) return count;
    } catch (error) {
      this.#onFailure(error);
      throw error;
    }
    const short = new WindlassError(
      'DIGEST_MISMATCH',
      `containerd's content ${this.digest} ends at or before ${position}`,
    );
    this.#onFailure(short);
    throw short;
  }

  close(): void {
    this.#file.close();
  }
}
