import { open } from 'node:fs/promises';
import { systemCode, WindlassError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobIndex } from './blob-index.ts';
import type { OpenBlob } from './blob-store.ts';
import { CountedFile } from './counted-file.ts';
import type { DiskBlob } from './disk-blob.ts';

/** What is found when a file is opened. */
export interface DiskReadersHost {
  readonly pathOf: (digest: Digest) => string;
  readonly vanished: (blob: DiskBlob) => Promise<void>;
  readonly corrupt: (blob: DiskBlob, why: string) => Promise<void>;
}

/** Readers of committed blobs: one descriptor a blob, however many read it, closed when the last one leaves. */
export class DiskReaders {
  readonly #index: BlobIndex<DiskBlob>;
  readonly #host: DiskReadersHost;
  readonly #files = new Set<CountedFile>();
  #stopped = false;

  constructor(index: BlobIndex<DiskBlob>, host: DiskReadersHost) {
    this.#index = index;
    this.#host = host;
  }

  /** Undefined if its file is not there, or not what was committed, or if it was removed meanwhile. */
  async open(blob: DiskBlob): Promise<OpenBlob | undefined> {
    // Before anything is waited for: from now on it is neither evicted nor is its file closed.
    this.#index.pin(blob);
    blob.readers += 1;
    blob.file ??= this.#openFile(blob);
    try {
      const file = await blob.file;
      if (this.#stopped) throw new WindlassError('STOPPING', 'the store is stopped');
      if (file !== undefined && this.#index.holds(blob)) return this.#extentOf(blob, file);
    } catch (error) {
      await this.#leave(blob);
      throw error;
    }
    await this.#leave(blob);
    return undefined;
  }

  /** Closes all files, when the reads in flight have ended; later ones fail. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#files].map((file) => this.#close(file)));
  }

  #extentOf(blob: DiskBlob, file: CountedFile): OpenBlob {
    const { digest, sizeBytes } = blob;
    let closing: Promise<void> | undefined;
    return {
      digest,
      sizeBytes,
      file: file.handle,
      fileBytes: sizeBytes,
      read: async (target, position) => {
        if (closing !== undefined) throw new Error(`the reader of ${digest} is closed`);
        if (position < 0) throw new RangeError(`no position: ${position}`);
        if (position >= sizeBytes) return 0;
        const count = await file.read(target, position, sizeBytes - position).catch(async (error: unknown) => {
          // Fetched again it can be read, here it never will.
          if (systemCode(error) === 'EIO') await this.#host.corrupt(blob, 'its bytes cannot be read');
          throw error;
        });
        if (count === 0 && target.byteLength > 0) {
          // 0 would tell the reader that it has all of it.
          await this.#host.corrupt(blob, `its file ends at or before ${position}`);
          throw new WindlassError('DIGEST_MISMATCH', `the file of ${digest} was cut short`);
        }
        return count;
      },
      close: () => {
        closing ??= this.#leave(blob);
        return closing;
      },
    };
  }

  async #openFile(blob: DiskBlob): Promise<CountedFile | undefined> {
    let file: CountedFile;
    try {
      file = new CountedFile(await open(this.#host.pathOf(blob.digest), 'r'));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      if (this.#index.holds(blob)) await this.#host.vanished(blob);
      return undefined;
    }
    this.#files.add(file);
    let size: number;
    try {
      size = (await file.handle.stat()).size;
    } catch (error) {
      await this.#close(file);
      throw error;
    }
    if (size === blob.sizeBytes) return file;
    await this.#close(file);
    // A name that is another file by now is no sign of rot.
    if (this.#index.holds(blob)) {
      await this.#host.corrupt(blob, `its file has ${size} bytes, not ${blob.sizeBytes}`);
    }
    return undefined;
  }

  async #leave(blob: DiskBlob): Promise<void> {
    blob.readers -= 1;
    if (blob.readers === 0) {
      const opening = blob.file;
      blob.file = undefined;
      const file = await opening?.catch(() => undefined);
      if (file !== undefined) await this.#close(file);
    }
    this.#index.unpin(blob);
  }

  async #close(file: CountedFile): Promise<void> {
    await file.close();
    this.#files.delete(file);
  }
}
