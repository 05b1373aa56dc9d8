import { randomBytes } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { algorithmOf, type Digest, hexOf, isDigest } from '../oci/digest.ts';
import { BOOT_ID_NAME } from './store-format.ts';

/** A file that an unfinished writer left. */
export interface PartialFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly writtenMs: number;
}

/** Told of a file that is not wanted any more, and stays. */
export type CannotDelete = (path: string, error: unknown) => void;

const NAME = /^(sha256|sha512)-([0-9a-f]+)-[0-9a-f]{12}$/;

/**
 * The folder `ingests/`: `<algorithm>-<hex>-<random>`. The names of running writers are never listed here, and no
 * name is ever used twice, so that a deletion that is late cannot hit a newer file.
 */
export class DiskPartials {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #cannotDelete: CannotDelete;
  /** Oldest first. */
  readonly #partials = new Map<Digest, PartialFile>();
  #bytes = 0;

  constructor(folder: string, logger: Logger, cannotDelete: CannotDelete) {
    this.#folder = folder;
    this.#logger = logger;
    this.#cannotDelete = cannotDelete;
  }

  get bytes(): number {
    return this.#bytes;
  }

  newPath(digest: Digest): string {
    const random = randomBytes(6).toString('hex');
    return join(this.#folder, `${algorithmOf(digest)}-${hexOf(digest)}-${random}`);
  }

  /** Finds what an earlier process left. Without `usable` all of it is deleted: the disk may not have the bytes. */
  async scan(usable: boolean): Promise<void> {
    const found: [Digest, PartialFile][] = [];
    for (const entry of await readdir(this.#folder, { withFileTypes: true })) {
      if (entry.name === BOOT_ID_NAME) continue;
      const path = join(this.#folder, entry.name);
      const [, algorithm, hex] = NAME.exec(entry.name) ?? [];
      const digest = `${algorithm}:${hex}`;
      const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0 }));
      if (usable && entry.isFile() && isDigest(digest) && size > 0) {
        found.push([digest, { path, sizeBytes: size, writtenMs: mtimeMs }]);
      } else {
        await this.#unlink(path);
      }
    }
    found.sort(([, a], [, b]) => a.writtenMs - b.writtenMs);
    for (const [digest, partial] of found) {
      const other = this.take(digest);
      const [longer, shorter] =
        other !== undefined && other.sizeBytes > partial.sizeBytes ? [other, partial] : [partial, other];
      this.put(digest, longer);
      if (shorter !== undefined) await this.#unlink(shorter.path);
    }
  }

  put(digest: Digest, partial: PartialFile): void {
    this.#partials.set(digest, partial);
    this.#bytes += partial.sizeBytes;
  }

  peek(digest: Digest): PartialFile | undefined {
    return this.#partials.get(digest);
  }

  /** Hands it over: it is no longer this one's. */
  take(digest: Digest): PartialFile | undefined {
    const partial = this.#partials.get(digest);
    if (partial === undefined) return undefined;
    this.#partials.delete(digest);
    this.#bytes -= partial.sizeBytes;
    return partial;
  }

  /** The oldest ones, so that at least `bytes` go, or all. */
  oldest(bytes: number): { readonly digests: Digest[]; readonly bytes: number } {
    const digests: Digest[] = [];
    let sum = 0;
    for (const [digest, { sizeBytes }] of this.#partials) {
      if (sum >= bytes) break;
      digests.push(digest);
      sum += sizeBytes;
    }
    return { digests, bytes: sum };
  }

  async delete(digest: Digest): Promise<void> {
    const partial = this.take(digest);
    if (partial !== undefined) await this.#unlink(partial.path);
  }

  /** Deletes those last written before that time. */
  async sweep(beforeMs: number): Promise<void> {
    for (const [digest, { writtenMs, sizeBytes }] of [...this.#partials]) {
      if (writtenMs >= beforeMs) continue;
      this.#logger.info({ digest, sizeBytes }, 'unfinished blob is too old: deleted');
      await this.delete(digest);
    }
  }

  async #unlink(path: string): Promise<void> {
    try {
      await rm(path, { force: true, recursive: true });
    } catch (error) {
      this.#cannotDelete(path, error);
    }
  }
}
